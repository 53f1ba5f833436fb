"""A trained model as files that others use: ONNX, package, page, model card, weights."""
