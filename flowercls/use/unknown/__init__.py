"""When a model should not answer: calibration of its confidence, and photos that show none of its classes."""
