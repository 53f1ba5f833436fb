"""Outputs of frozen stages: computed once, cached on disk, and trained on instead of photos."""
