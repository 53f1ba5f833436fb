"""Finished runs → settings → which of them is really better, in words, tables and a plot."""
