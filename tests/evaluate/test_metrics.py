import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, classification_report, log_loss

from flowercls.evaluate import metrics

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1]], np.float32)
LABELS = np.array([0, 1, 1, 1])


def random_case(seed, n=500, classes=5):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), n).astype(np.float32), rng.integers(classes, size=n)


def test_top1_is_the_share_of_best_scores_that_are_the_true_class():
    assert metrics.top1_accuracy(SCORES, LABELS) == 50.0
    with pytest.raises(ValueError, match='0 photos'):
        metrics.top1_accuracy(np.zeros((0, 3)), np.zeros(0, int))


@pytest.mark.parametrize('seed', range(5))
def test_accuracy_and_likelihood_agree_with_scikit_learn(seed):
    scores, labels = random_case(seed)
    assert metrics.top1_accuracy(scores, labels) == pytest.approx(100 * accuracy_score(labels, scores.argmax(1)))
    normalised = scores / scores.sum(axis=1, keepdims=True, dtype=np.float64)
    expected = log_loss(labels, normalised, labels=range(5))
    assert metrics.negative_log_likelihood(scores, labels) == pytest.approx(expected, rel=1e-5)


def test_likelihood_of_a_score_of_zero_is_large_but_finite():
    value = metrics.negative_log_likelihood(np.array([[1.0, 0.0]], np.float32), np.array([1]))
    assert value == pytest.approx(-np.log(np.finfo(np.float32).tiny))


@pytest.mark.parametrize(
    ('number', 'error'),
    [
        (2, 10.0),  # 0.9 x 2, both right: gap 0.1; 0.6 x 2, one right: gap 0.1
        (3, 22.5),  # 0.9 x 3, all right: gap 0.1; 0.6 x 1, wrong: gap 0.6; (3 * 0.1 + 0.6) / 4
    ],
)
def test_calibration_error_is_the_gap_between_confidence_and_accuracy_of_bins_weighed_by_their_photos(number, error):
    scores = np.array([[0.9, 0.1]] * number + [[0.6, 0.4]] * (4 - number))
    assert metrics.expected_calibration_error(scores, np.array([0, 0, 0, 1])) == pytest.approx(error)


def test_per_class_scores_and_confusion_are_worked_out_by_hand():
    assert metrics.confusion_matrix(SCORES, LABELS).tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]  # rows: true classes
    scores = metrics.per_class_scores(SCORES, LABELS)
    assert scores['precision'].tolist() == [50.0, 100.0, 0.0]
    assert scores['recall'].tolist() == pytest.approx([100.0, 100 / 3, 0.0])
    assert scores['f1'].tolist() == pytest.approx([200 / 3, 50.0, 0.0])
    assert scores['support'].tolist() == [1, 3, 0]


@pytest.mark.parametrize('seed', range(5))
def test_reliability_bins_agree_with_scikit_learn(seed):
    scores, labels = random_case(seed)
    bins = metrics.reliability_bins(scores, labels)
    right, confidence = scores.argmax(1) == labels, scores.max(1).astype(np.float64)
    accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=15)
    assert bins['accuracy'] == pytest.approx(100 * accuracy)
    assert bins['confidence'] == pytest.approx(100 * mean_confidence)
    counts, edges = np.histogram(confidence, np.linspace(0, 1, 16))
    assert bins['photos'].tolist() == counts[counts > 0].tolist()
    assert bins['low'] == pytest.approx(100 * edges[:-1][counts > 0])
    assert bins['high'] == pytest.approx(100 * edges[1:][counts > 0])


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    scores = np.array([[0.5, 0.5], [1.0, 0.0], [0.2, 0.8]])
    bins = metrics.reliability_bins(scores, np.array([0, 0, 0]), num_bins=4)
    assert (bins['low'].tolist(), bins['high'].tolist()) == ([25.0, 75.0], [50.0, 100.0])
    assert (bins['photos'].tolist(), bins['accuracy'].tolist()) == ([1, 2], [100.0, 50.0])
    assert bins['confidence'] == pytest.approx([50.0, 90.0])


@pytest.mark.parametrize('seed', range(5))
def test_macro_averages_agree_with_scikit_learn(seed):
    scores, labels = random_case(seed, n=40, classes=7)
    labels[labels == 6] = 0  # a class without photos does not count
    report = classification_report(labels, scores.argmax(1), labels=range(6), output_dict=True, zero_division=0)
    macro = metrics.macro_scores(metrics.per_class_scores(scores, labels))
    for ours, theirs in (('precision', 'precision'), ('recall', 'recall'), ('f1', 'f1-score')):
        assert macro[ours] == pytest.approx(100 * report['macro avg'][theirs])


def test_a_class_without_photos_does_not_pull_averages_down():
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0]])
    figures = metrics.all_figures(scores, np.array([0, 0, 1]), ['a', 'b', 'c'])
    assert figures['macro'] == {'precision': 100.0, 'recall': 100.0, 'f1': 100.0}
    assert [row['support'] for row in figures['per_class'].values()] == [2, 1, 0]


def test_supports_are_whole_numbers_where_all_photos_are_of_one_class():
    supports = metrics.per_class_scores(np.eye(3)[[0, 1]], np.array([2, 2]))['support']
    assert supports.tolist() == [0, 0, 2] and supports.dtype.kind == 'i'


@pytest.mark.parametrize(
    ('origin', 'title'),
    [
        ({}, 'the validation set'),
        ({'split': 'test'}, 'the test set'),
        ({'split': 'fold_0_val'}, 'the fold_0_val set'),
        ({'split': 'data', 'data': 'heldout'}, 'the folder heldout'),
    ],
)
def test_photos_have_a_title(origin, title):
    assert metrics.photos_title(origin) == title


def test_the_most_confused_pairs_come_first_and_hits_are_none():
    confusion = np.array([[9, 1, 0], [2, 9, 1], [0, 5, 9]])
    assert metrics.most_confused(confusion) == [(2, 1, 5), (1, 0, 2), (0, 1, 1), (1, 2, 1)]
    assert metrics.most_confused(np.diag([3, 4])) == []
