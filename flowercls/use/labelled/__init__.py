"""A labelled folder that is tested as it is: the true class of each photo, and photos that the model has seen."""
