"""Finished runs, grouped into settings and compared."""
