"""Modules that every room may use; they use no other room."""
