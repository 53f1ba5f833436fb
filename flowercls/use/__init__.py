"""A trained model in use: load it, predict, explain, export, show."""
