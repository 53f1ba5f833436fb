"""Drawn flowers: photos for the demo and for tests."""
