"""Fine-tune an image classifier on your own photos, and know which setting is really better."""

from typing import Any

__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
    """Import ``load`` when it is first used: it needs numpy and Pillow, and torch for a checkpoint."""
    if name == 'load':
        from flowercls.use.load import load

        return load
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
