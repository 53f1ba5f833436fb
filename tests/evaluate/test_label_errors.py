"""Doubtful labels: worked by hand, and planted errors that are found."""

import numpy as np
import pytest

from flowercls.evaluate.label_errors import check_labels, class_thresholds, count_pairs, label_margins


def arrays(*rows):
    """(label, scores) of each photo."""
    return np.array([scores for _, scores in rows], np.float32), np.array([label for label, _ in rows])


@pytest.fixture
def three_classes():
    """Eight photos; the thresholds come to 0.6, 0.5 and 0.5."""
    return arrays(
        (0, [0.9, 0.1, 0.0]),
        (0, [0.8, 0.1, 0.1]),
        (0, [0.1, 0.7, 0.2]),  # 0.7 >= 0.5: perhaps a 1
        (1, [0.2, 0.8, 0.0]),
        (1, [0.58, 0.2, 0.22]),  # 0.58 < 0.6: the model says 0, but is less sure than of its own photos
        (2, [0.0, 0.1, 0.9]),
        (2, [0.0, 0.9, 0.1]),  # 0.9 >= 0.5: perhaps a 1, and more so than the other
        (2, [0.3, 0.2, 0.5]),
    )


def test_doubtful_labels_are_ranked_by_their_margin(three_classes):
    scores, labels = three_classes
    assert class_thresholds(scores, labels) == pytest.approx([0.6, 0.5, 0.5])
    check = check_labels(scores, labels)
    assert check.numbers.tolist() == [6, 2] and check.suggested.tolist() == [1, 1]
    assert check.margins == pytest.approx([0.1 - 0.9, 0.1 - 0.7])


def test_pairs_are_counted_the_most_frequent_first(three_classes):
    scores, labels = three_classes
    assert count_pairs(labels, check_labels(scores, labels)) == [(0, 1, 1), (2, 1, 1)]
    twice = np.concatenate([scores, scores[6:7]]), np.append(labels, 2)
    assert count_pairs(twice[1], check_labels(*twice)) == [(2, 1, 2), (0, 1, 1)]


def test_the_margin_is_to_the_best_other_class():
    scores, labels = arrays((0, [0.5, 0.3, 0.2]), (2, [0.5, 0.3, 0.2]))
    assert label_margins(scores, labels) == pytest.approx([0.2, -0.3])


TIED = [0.3, 0.5, 0.5]
ALIKE = (1, [0.0, 0.1, 0.9])


@pytest.mark.parametrize(
    ('rows', 'doubtful'),
    [
        pytest.param([(0, [0.9, 0.1]), (0, [0.6, 0.4]), (1, [0.2, 0.8])], {}, id='all are right'),
        pytest.param([(0, [1.0]), (0, [1.0])], {}, id='one class alone'),
        pytest.param(
            [(0, [0.3, 0.0, 0.7]), (0, [0.7, 0.0, 0.3]), (1, [0.0, 0.4, 0.6])],
            {},
            id='a class without photos, whose threshold is infinite, is never suggested',
        ),
        # Thresholds 0.66 and 0.2: photo 0 reaches that of class 1 alone, and yet nothing speaks against its label.
        pytest.param(
            [(0, [0.6, 0.4]), (0, [0.72, 0.28]), (1, [0.8, 0.2])], {2: 0}, id='the label has the largest score'
        ),
        # Thresholds 0.3, 0.5 (one photo each) and 0.45 for class 2. Photo 0: classes 1 and 2 are equal, the lower is
        # suggested. Photos 1 to 3: their label is among the best.
        pytest.param([(0, TIED), (1, TIED), (2, [0.2, 0.4, 0.4]), (2, TIED)], {0: 1}, id='equal scores'),
        pytest.param(
            [(0, [0.1, 0.9]), (0, [0.1, 0.9]), (0, [1.0, 0.0]), (1, [0.2, 0.8])],
            {0: 1, 1: 1},
            id='equal margins stay in order',
        ),
        # 0.1 + 0.1 + 0.1 is more than 0.3: without room for rounding, class 1 would miss its own threshold.
        pytest.param([ALIKE, ALIKE, ALIKE, (0, [0.04, 0.1, 0.02])], {3: 1}, id='all score alike and reach their mean'),
    ],
)
def test_doubtful_labels_by_hand(rows, doubtful):
    scores, labels = arrays(*rows)
    check = check_labels(scores, labels)
    assert list(zip(check.numbers.tolist(), check.suggested.tolist(), strict=True)) == list(doubtful.items())
    assert len(check.margins) == len(doubtful) and bool(count_pairs(labels, check)) == bool(doubtful)


# A model that is right in 95 % gives few false alarms, and misses what it is not sure of; a surer one misses little.
@pytest.mark.parametrize(('separation', 'least_found', 'least_right'), [(3, 0.5, 0.9), (6, 0.8, 0.98)])
def test_planted_errors_are_found(separation, least_found, least_right):
    rng = np.random.default_rng(0)
    truth = rng.integers(5, size=2000)
    logits = rng.normal(size=(2000, 5))
    logits[np.arange(2000), truth] += separation
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    planted = rng.choice(2000, size=80, replace=False)
    labels = truth.copy()
    labels[planted] = (truth[planted] + rng.integers(1, 5, size=80)) % 5
    check = check_labels(scores, labels)
    is_planted = np.isin(check.numbers, planted)
    assert is_planted.sum() >= least_found * 80 and is_planted.mean() >= least_right
    assert (check.suggested == truth[check.numbers])[is_planted].mean() >= 0.95
