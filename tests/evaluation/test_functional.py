import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from flowercls.evaluation import functional

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1]], np.float32)
LABELS = np.array([0, 1, 1, 1])


def random_case(seed, n=500, classes=5):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), n).astype(np.float32), rng.integers(classes, size=n)


def test_top1_is_the_share_of_best_scores_that_are_the_true_class():
    assert functional.top1_accuracy(SCORES, LABELS) == 50.0


def test_top1_of_no_photos_is_an_error():
    with pytest.raises(ValueError, match='0 photos'):
        functional.top1_accuracy(np.zeros((0, 3)), np.zeros(0, int))


@pytest.mark.parametrize('seed', range(5))
def test_accuracy_and_likelihood_agree_with_scikit_learn(seed):
    scores, labels = random_case(seed)
    assert functional.top1_accuracy(scores, labels) == pytest.approx(100 * accuracy_score(labels, scores.argmax(1)))
    expected = log_loss(labels, scores.astype(np.float64), labels=range(5))
    assert functional.negative_log_likelihood(scores, labels) == pytest.approx(expected, rel=1e-5)


def test_likelihood_of_a_score_of_zero_is_large_but_finite():
    value = functional.negative_log_likelihood(np.array([[1.0, 0.0]], np.float32), np.array([1]))
    assert value == pytest.approx(-np.log(np.finfo(np.float32).tiny))


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    # One bin holds 0.9, 0.9 (both right: gap 0.1 each), another 0.6, 0.6 (one right: gap 0.1 each): 10 % in all.
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert functional.expected_calibration_error(scores, np.array([0, 0, 0, 1])) == pytest.approx(10.0)


def test_calibration_error_weighs_bins_by_their_photos():
    # 0.9 x 3, all right: gap 0.1; 0.6 x 1, wrong: gap 0.6. (3 * 0.1 + 0.6) / 4 = 22.5 %.
    scores = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    assert functional.expected_calibration_error(scores, np.array([0, 0, 0, 1])) == pytest.approx(22.5)


def test_confusion_matrix_has_true_classes_as_rows():
    assert functional.confusion_matrix(SCORES, LABELS).tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]


def test_per_class_scores_are_worked_out_by_hand():
    scores = functional.per_class_scores(SCORES, LABELS)
    assert scores['precision'].tolist() == [50.0, 100.0, 0.0]
    assert scores['recall'].tolist() == pytest.approx([100.0, 100 / 3, 0.0])
    assert scores['f1'].tolist() == pytest.approx([200 / 3, 50.0, 0.0])
    assert scores['support'].tolist() == [1, 3, 0]
