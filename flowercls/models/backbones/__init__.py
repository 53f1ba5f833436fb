"""Adapters to other libraries' networks."""
