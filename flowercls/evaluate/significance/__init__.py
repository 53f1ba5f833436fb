"""Which differences between settings, or between models, are more than chance."""
