"""Networks: backbones cut into stages, the classifier that freezes and trains them, and their starting weights."""
