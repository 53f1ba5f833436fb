"""Doubtful labels, found by confident learning from predictions of models that never saw the photo.

Each class has its own threshold: its mean score on the photos labelled with it. So a class about which the model is
always a little unsure is not suspected as a whole. A photo is doubted only if another class scores as high on it as
that class usually does on its own photos. This gives few false alarms rather than a complete list.
"""

from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-6  # of scores read from a file: a class whose photos all score alike must reach its own mean


@dataclass(frozen=True)
class LabelCheck:
    """The D doubtful labels of a set, the most doubtful first.

    Attributes:
        numbers: Photos, int64, shape (D,).
        suggested: Class that each photo may belong to, int64, shape (D,).
        margins: Score of the label minus the largest score of another class, in [-1, 0), ascending, shape (D,).
    """

    numbers: np.ndarray
    suggested: np.ndarray
    margins: np.ndarray


def check_labels(scores: np.ndarray, labels: np.ndarray) -> LabelCheck:
    """Find the photos whose label is doubtful.

    The suggested class is the one with the largest score among the classes that reach their `class_thresholds`; of
    equal scores the label, else the lowest number. A label is doubtful if a class is suggested, the suggestion is not
    the label, and the label's score is not the largest of all. Doubtful labels are ranked by margin, equal margins in
    the given order.

    Args:
        scores: Out-of-fold probabilities, shape (N, C).
        labels: Labels to check, shape (N,), int64 in [0, C).

    Source:
        Northcutt, Jiang, Chuang (2021), Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70:
        thresholds, confident joint, ranking by normalized margin. The last condition is ours: without it a class could
        be suggested that scores less than the label.
    """
    scores = np.asarray(scores, np.float64)
    rows = np.arange(len(labels))
    confident = np.where(scores >= class_thresholds(scores, labels) - ROUNDING, scores, -np.inf)
    margins = label_margins(scores, labels)
    is_doubtful = (confident.max(axis=1) > confident[rows, labels]) & (margins < 0)
    doubtful = np.flatnonzero(is_doubtful)
    numbers = doubtful[np.argsort(margins[doubtful], kind='stable')]
    return LabelCheck(numbers, confident[numbers].argmax(axis=1), margins[numbers])


def class_thresholds(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean score of each class over the photos labelled with it, shape (C,); infinite without photos."""
    thresholds = np.full(scores.shape[1], np.inf)
    for label in np.unique(labels):
        thresholds[label] = scores[labels == label, label].mean()
    return thresholds


def label_margins(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the score of each photo's label minus the largest score of another class, shape (N,)."""
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return scores[rows, labels] - others.max(axis=1)


def count_pairs(labels: np.ndarray, check: LabelCheck) -> list[tuple[int, int, int]]:
    """Return (label, suggested class, photos) for each pair among the doubtful labels, the most frequent first."""
    pairs, photos = np.unique(
        np.stack([labels[check.numbers], check.suggested], axis=1), axis=0, return_counts=True
    )  # sorted by pair, so equal counts stay in the order of the classes
    order = np.argsort(-photos, kind='stable')
    return [(int(pairs[i, 0]), int(pairs[i, 1]), int(photos[i])) for i in order]
