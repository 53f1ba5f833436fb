"""Fine-tune an image classifier on your own photos, and know which setting is really better."""

__version__ = '0.1.0'
