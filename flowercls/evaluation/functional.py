"""The maths of evaluation on plain arrays: no model, no files.

Shapes: N photos, C classes. Scores are probabilities (N, C), rows summing to 1; labels are integers (N,) in [0, C).
"""

import numpy as np
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from sklearn.metrics import precision_recall_fscore_support


def predicted_labels(scores: np.ndarray) -> np.ndarray:
    """The class with the highest score, shape (N,); of equal ones the first."""
    return scores.argmax(axis=1)


def top1_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of photos whose highest score is the true class, in percent (0-100).

    Raises:
        ValueError: if there are no photos.
    """
    if len(labels) == 0:
        raise ValueError('the accuracy of 0 photos is undefined')
    return 100.0 * int((predicted_labels(scores) == labels).sum()) / len(labels)


def negative_log_likelihood(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean of -ln(score of the true class), in nats: the cross-entropy without label smoothing.

    A score of exactly 0 counts as the smallest positive float32, so that one photo cannot make the mean infinite.
    """
    true_scores = scores[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true_scores, np.finfo(np.float32).tiny)).mean())


def expected_calibration_error(scores: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins of confidence, in percent (0-100).

    Args:
        scores: Probabilities, shape (N, C).
        labels: True classes, shape (N,).
        num_bins: Bins over (0, 1]; a confidence on an edge belongs to the bin below it.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3, with their 15 bins.
    """
    confidence = scores.max(axis=1).astype(np.float64)
    hit = predicted_labels(scores) == labels
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = [abs(hit[bins == b].sum() - confidence[bins == b].sum()) for b in np.unique(bins)]
    return 100.0 * float(sum(gaps)) / len(labels)


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts, shape (C, C): row = true class, column = predicted class."""
    return sklearn_confusion_matrix(labels, predicted_labels(scores), labels=range(scores.shape[1]))


def per_class_scores(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 in percent (0-100) and support (photos), each of shape (C,).

    A class that was never predicted has precision 0; one without photos has recall 0.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted_labels(scores), labels=range(scores.shape[1]), zero_division=0
    )
    return {'precision': 100 * precision, 'recall': 100 * recall, 'f1': 100 * f1, 'support': support}
