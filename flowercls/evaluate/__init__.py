"""Predictions → figures."""
