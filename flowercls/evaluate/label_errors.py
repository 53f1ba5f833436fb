"""Which labels are doubtful, told from predictions of models that never saw the photo: confident learning.

A class has a threshold of its own, the mean score it gets on the photos that are labelled with it. So a class that the
model is always a little unsure of is not suspected as a whole, and a photo is doubted only where another class is as
sure of it as it usually is of its own photos. That gives few false alarms rather than a complete list.
"""

from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-6  # of scores that went through a file; a class whose photos all score alike reaches its own mean


@dataclass(frozen=True)
class LabelCheck:
    """The D doubtful labels of a set, the most doubtful first.

    Attributes:
        numbers: Which photos, int64, shape (D,).
        suggested: The class that each may belong to, int64, shape (D,).
        margins: Score of the label minus the largest score of another class, in [-1, 0), ascending, shape (D,).
    """

    numbers: np.ndarray
    suggested: np.ndarray
    margins: np.ndarray


def check_labels(scores: np.ndarray, labels: np.ndarray) -> LabelCheck:
    """Find the photos whose label is doubtful.

    Among the classes whose score reaches their `class_thresholds`, the one with the largest score is the class that
    the photo confidently belongs to; of equal ones the label, else the one with the lowest number. A label is doubtful
    if there is such a class, it is not the label, and the label's own score is not the largest of all either. They are
    ranked by their margins; where those are equal, in the order given.

    Args:
        scores: Out-of-fold probabilities, shape (N, C).
        labels: Given classes, shape (N,), int64 in [0, C).

    Source:
        Northcutt, Jiang, Chuang (2021), Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70:
        thresholds, confident joint, ranking by normalized margin. The last condition is not theirs; without it a class
        would be suggested that scores less than the label.
    """
    scores = np.asarray(scores, np.float64)
    rows = np.arange(len(labels))
    confident = np.where(scores >= class_thresholds(scores, labels) - ROUNDING, scores, -np.inf)
    margins = label_margins(scores, labels)
    is_doubtful = (confident.max(axis=1) > confident[rows, labels]) & (margins < 0)
    found = np.flatnonzero(is_doubtful)
    numbers = found[np.argsort(margins[found], kind='stable')]
    return LabelCheck(numbers, confident[numbers].argmax(axis=1), margins[numbers])


def class_thresholds(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean score of each class over the photos labelled with it, shape (C,); infinite where no photo is."""
    thresholds = np.full(scores.shape[1], np.inf)
    for label in np.unique(labels):
        thresholds[label] = scores[labels == label, label].mean()
    return thresholds


def label_margins(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Score of each photo's label minus the largest score of another class, shape (N,)."""
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return scores[rows, labels] - others.max(axis=1)


def count_pairs(labels: np.ndarray, check: LabelCheck) -> list[tuple[int, int, int]]:
    """(label, suggested class, photos) of each pair among the doubtful labels, the most frequent first."""
    pairs, photos = np.unique(
        np.stack([labels[check.numbers], check.suggested], axis=1), axis=0, return_counts=True
    )  # sorted by pair, so equal counts stay in the order of the classes
    order = np.argsort(-photos, kind='stable')
    return [(int(pairs[i, 0]), int(pairs[i, 1]), int(photos[i])) for i in order]
