"""Photos that are the same, or look the same."""
