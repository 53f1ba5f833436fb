"""Figures of predictions, on plain arrays: everything that stands in metrics.json.

A new figure of one number is a function and a line in `SCALARS`; any other figure is a line in `all_figures`.

Shapes: N photos, C classes. Scores are probabilities (N, C), rows summing to 1; labels are integers (N,) in [0, C).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from sklearn.metrics import precision_recall_fscore_support

from flowercls.core.layout import SPLIT_TITLES
from flowercls.evaluate.intervals import wilson_interval

DATA_SPLIT = 'data'  # in place of a set: a folder of labelled photos, named under ``data``


def all_figures(scores: np.ndarray, labels: np.ndarray, class_names: list[str]) -> dict:
    """Return the figures of metrics.json; percentages are 0-100, ``confusion`` and ``most_confused`` count photos."""
    per_class, confusion = per_class_scores(scores, labels), confusion_matrix(scores, labels)
    return {
        'top1': top1_accuracy(scores, labels),
        'top1_interval': list(wilson_interval(int(confusion.trace()), len(labels))),
        'n': len(labels),
        **{key: scalar.compute(scores, labels) for key, scalar in SCALARS.items()},
        'per_class': dict(zip(class_names, _rows(per_class), strict=True)),
        'macro': macro_scores(per_class),
        'confusion': confusion.tolist(),
        'most_confused': [
            {'true': class_names[true], 'pred': class_names[pred], 'photos': photos}
            for true, pred, photos in most_confused(confusion)
        ],
        'reliability': _rows(reliability_bins(scores, labels)),
    }


def _rows(columns: dict[str, np.ndarray]) -> list[dict]:
    """Return one dict of plain numbers for each row of a table given by columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]


def predicted_labels(scores: np.ndarray) -> np.ndarray:
    """Return the class with the highest score, shape (N,); of equal scores the first."""
    return scores.argmax(axis=1)


def photos_title(metrics: dict) -> str:
    """Return which photos a metrics.json is of: ``the validation set``, or ``the folder heldout``."""
    split = metrics.get('split') or 'val'
    return f'the folder {metrics.get("data")}' if split == DATA_SPLIT else f'the {SPLIT_TITLES.get(split, split)} set'


def top1_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of photos whose highest score is the true class, in percent (0-100).

    Raises:
        ValueError: if there are no photos.
    """
    if len(labels) == 0:
        raise ValueError('the accuracy of 0 photos is undefined')
    return 100.0 * int((predicted_labels(scores) == labels).sum()) / len(labels)


def log_losses(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return -ln(score of the true class) of each photo, in nats, shape (N,): cross-entropy without label smoothing.

    A score of exactly 0 counts as the smallest positive float32, so that one photo cannot make a mean infinite.
    """
    true_scores = scores[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(true_scores, np.finfo(np.float32).tiny))


def negative_log_likelihood(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean of `log_losses`."""
    return float(log_losses(scores, labels).mean())


def reliability_bins(scores: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> dict[str, np.ndarray]:
    """Return how often the model is right at each level of confidence, which is the highest score of a photo.

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
    filled = np.flatnonzero(photos)
    return {
        'low': 100.0 * filled / num_bins,
        'high': 100.0 * (filled + 1) / num_bins,
        'photos': photos[filled],
        'confidence': 100.0 * np.bincount(bins, confidence, num_bins)[filled] / photos[filled],
        'accuracy': 100.0 * np.bincount(bins, hit, num_bins)[filled] / photos[filled],
    }


def expected_calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean gap between confidence and accuracy over the photos' `reliability_bins`, in percent (0-100).

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3, with their 15 bins.
    """
    bins = reliability_bins(scores, labels)
    return float(np.average(np.abs(bins['accuracy'] - bins['confidence']), weights=bins['photos']))


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return counts, shape (C, C): row = true class, column = predicted class."""
    return sklearn_confusion_matrix(labels, predicted_labels(scores), labels=range(scores.shape[1]))


def most_confused(confusion: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the mistakes by pair of classes, (true, predicted, photos): most photos first, then by class number.

    Args:
        confusion: Counts, shape (C, C): row = true class, column = predicted class.
    """
    pairs = [(int(t), int(p), int(confusion[t, p])) for t, p in np.argwhere(confusion) if t != p]
    return sorted(pairs, key=lambda pair: -pair[2])  # stable: argwhere goes by class number


def per_class_scores(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall and F1 in percent (0-100) and support (photos), each of shape (C,).

    A class that was never predicted has precision 0; a class without photos has recall 0.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted_labels(scores), labels=range(scores.shape[1]), zero_division=0
    )
    return {'precision': 100 * precision, 'recall': 100 * recall, 'f1': 100 * f1, 'support': support.astype(int)}


def macro_scores(per_class: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean of the precision, recall and F1 of `per_class_scores` over the classes that have photos.

    Each of these classes counts the same; the result is in percent. The others have no recall, so nothing to average.
    """
    has_photos = per_class['support'] > 0
    return {key: float(per_class[key][has_photos].mean()) for key in ('precision', 'recall', 'f1')}


class Scalar(NamedTuple):
    """A figure of one number: its title and unit on a page, and its function of (scores, labels)."""

    title: str
    unit: str
    compute: Callable[[np.ndarray, np.ndarray], float]


SCALARS = {
    'nll': Scalar('negative log-likelihood', 'nats', negative_log_likelihood),
    'ece': Scalar('calibration error', '%', expected_calibration_error),
}
