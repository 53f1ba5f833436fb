"""Photos → training, validation and test set, and folds."""
