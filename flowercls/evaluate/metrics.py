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


def reliability_bins(scores: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> dict[str, np.ndarray]:
    """How often the model is right at each level of confidence, the highest score of a photo.

    Args:
        scores: Probabilities, shape (N, C).
        labels: True classes, shape (N,).
        num_bins: Equal-width bins over (0, 1]; a confidence on an edge belongs to the bin below it.

    Returns:
        For the B <= ``num_bins`` bins that hold photos, ascending, arrays of shape (B,): the edges ``low`` and
        ``high``, mean ``confidence`` and ``accuracy`` in percent (0-100), and the number of ``photos``.
    """
    confidence = scores.max(axis=1).astype(np.float64)
    hit = predicted_labels(scores) == labels
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    photos = np.bincount(bins, minlength=num_bins)
    held = np.flatnonzero(photos)
    return {
        'low': 100.0 * held / num_bins,
        'high': 100.0 * (held + 1) / num_bins,
        'photos': photos[held],
        'confidence': 100.0 * np.bincount(bins, confidence, num_bins)[held] / photos[held],
        'accuracy': 100.0 * np.bincount(bins, hit, num_bins)[held] / photos[held],
    }


def expected_calibration_error(scores: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over the photos' `reliability_bins`, in percent (0-100).

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3, with their 15 bins.
    """
    bins = reliability_bins(scores, labels, num_bins)
    return float(np.average(np.abs(bins['accuracy'] - bins['confidence']), weights=bins['photos']))


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts, shape (C, C): row = true class, column = predicted class."""
    return sklearn_confusion_matrix(labels, predicted_labels(scores), labels=range(scores.shape[1]))


def most_confused(confusion: np.ndarray) -> list[tuple[int, int, int]]:
    """The mistakes by pair of classes: (true, predicted, photos), most photos first, of equal ones by class number.

    Args:
        confusion: Counts, shape (C, C): row = true class, column = predicted class.
    """
    pairs = [(int(t), int(p), int(confusion[t, p])) for t, p in np.argwhere(confusion) if t != p]
    return sorted(pairs, key=lambda pair: -pair[2])  # stable: argwhere goes by class number


def per_class_scores(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 in percent (0-100) and support (photos), each of shape (C,).

    A class that was never predicted has precision 0; one without photos has recall 0.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted_labels(scores), labels=range(scores.shape[1]), zero_division=0
    )
    return {'precision': 100 * precision, 'recall': 100 * recall, 'f1': 100 * f1, 'support': support}


def macro_scores(per_class: dict[str, np.ndarray]) -> dict[str, float]:
    """Precision, recall and F1 of `per_class_scores` averaged over all classes, each counting alike, in percent."""
    return {key: float(per_class[key].mean()) for key in ('precision', 'recall', 'f1')}
