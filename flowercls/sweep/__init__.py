"""Sweeps: every setting with every seed, run, recorded and resumed."""
