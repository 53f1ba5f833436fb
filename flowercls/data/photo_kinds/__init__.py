"""Kinds of files and of pixels that need a rule of their own."""
