"""Temperature, threshold and distance: worked by hand, against scipy, and in simulated worlds."""

import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import mahalanobis
from scipy.stats import binom

from flowercls.evaluate.calibration import (
    FeatureSpace,
    calibrate_scores,
    calibrated,
    choose_threshold,
    class_distances,
    confidences,
    distance_limit,
    fit_feature_space,
    fit_temperature,
)
from flowercls.evaluate.intervals import exact_interval
from flowercls.evaluate.metrics import negative_log_likelihood


def photos(rng, number, num_classes=5, skill=4.0, sharpness=2.0):
    """Scores and labels; the true probabilities have temperature ``sharpness``."""
    logits = 1.5 * rng.standard_normal((number, num_classes))
    logits[:, 0] += skill * rng.random(number)
    order = rng.permuted(np.tile(np.arange(num_classes), (number, 1)), axis=1)
    logits = np.take_along_axis(logits, order, axis=1)
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (truth.cumsum(axis=1) > rng.random((number, 1))).argmax(axis=1)
    scores = np.exp(sharpness * logits) / np.exp(sharpness * logits).sum(axis=1, keepdims=True)
    return scores.astype(np.float32), labels


# ---------------------------------------------------------------- temperature


@pytest.mark.parametrize('number', [18, 98])
def test_a_perfect_record_supports_a_confidence_below_1(number):
    scores = np.tile(np.float32([0.8, 0.2]), (number, 1))
    temperature = fit_temperature(scores, np.zeros(number, int))
    assert temperature == pytest.approx(math.log(4) / math.log(number + 1), rel=1e-4)
    assert confidences(scores, temperature)[0] == pytest.approx((number + 1) / (number + 2))


def test_scores_that_say_80_and_are_right_in_60_get_60():
    labels = np.repeat([0, 1], [6000, 4000])
    temperature = fit_temperature(np.tile(np.float32([0.8, 0.2]), (10000, 1)), labels)
    assert temperature == pytest.approx(math.log(4) / math.log(1.5), rel=1e-3)


@pytest.mark.parametrize('sharpness', [0.4, 1.0, 3.0])
@pytest.mark.parametrize('num_classes', [2, 5, 100])
def test_it_agrees_with_scipy_and_finds_the_true_temperature(sharpness, num_classes):
    scores, labels = photos(np.random.default_rng(0), 2000, num_classes, sharpness=sharpness)
    found = minimize_scalar(
        lambda t: negative_log_likelihood(calibrated(scores, t), labels), bounds=(0.1, 9), method='bounded'
    ).x
    assert fit_temperature(scores, labels) == pytest.approx(found, rel=0.02)
    assert fit_temperature(scores, labels) == pytest.approx(sharpness, rel=0.15)


ZEROS = np.tile(np.float32([1, 0, 0]), (40, 1))
EXTREME = {
    'zeros, all right': (ZEROS, np.zeros(40, int)),
    'zeros, one wrong': (ZEROS, np.repeat([0, 1], [39, 1])),
    'zeros, all wrong': (ZEROS, np.ones(40, int)),
    'equal scores': (np.full((40, 4), 0.25, np.float32), np.arange(40) % 4),
    'nearly equal': (np.tile(np.float32([0.5001, 0.4999]), (40, 1)), np.zeros(40, int)),
    'collapsed': (np.tile(np.float32([0.6, 0.3, 0.1]), (40, 1)), np.arange(40) % 3),
    'one photo': (np.float32([[0.9, 0.1]]), np.array([0])),
    '1000 classes': (np.random.default_rng(0).dirichlet(np.ones(1000), 50).astype(np.float32), np.arange(50)),
}


@pytest.mark.parametrize('case', EXTREME)
def test_extreme_scores_give_a_bounded_temperature_and_finite_confidences(case):
    scores, labels = EXTREME[case]
    temperature = fit_temperature(scores, labels)
    assert 1e-3 <= temperature <= 1e3
    after = calibrated(scores, temperature)
    assert np.isfinite(after).all() and after.sum(axis=1) == pytest.approx(1)
    if 'all right' in case:
        assert after.max(axis=1) == pytest.approx(41 / 42, abs=1e-4)
    if case == 'zeros, one wrong':
        assert after[0, 0] == pytest.approx((39 * 41 + 1) / 42 / 40, abs=1e-4)


def test_the_answer_stays():
    scores, labels = photos(np.random.default_rng(1), 300)
    assert (calibrated(scores, fit_temperature(scores, labels)).argmax(axis=1) == scores.argmax(axis=1)).all()


# ---------------------------------------------------------------- threshold


def test_the_smallest_confidence_whose_answers_with_a_further_mistake_are_right():
    confidence = np.linspace(1, 0.01, 100)
    hits = np.ones(100, bool)
    assert choose_threshold(confidence, hits, 0.95) == pytest.approx(confidence[99])
    hits[39] = False  # the 40th: 2 of 41 counted are 4.9 %, 2 of 40 are 5 %
    assert choose_threshold(confidence, hits, 0.95) == pytest.approx(confidence[99])
    hits[[45, 50]] = False
    assert choose_threshold(confidence, hits, 0.95) == pytest.approx(confidence[99])  # 4 of 101
    hits[60:] = False
    assert choose_threshold(confidence, hits, 0.95) == pytest.approx(confidence[44])  # up to the second mistake
    assert choose_threshold(confidence[:18], hits[:18], 0.95) == math.inf  # 1 of 19
    assert choose_threshold(confidence[:19], hits[:19], 0.95) == pytest.approx(confidence[18])  # 1 of 20


def test_equal_confidences_are_answered_together():
    hits = np.repeat([True, False], [30, 10])
    assert choose_threshold(np.full(40, 0.9), hits, 0.9) == math.inf
    assert choose_threshold(np.repeat([0.9, 0.5], [30, 10]), hits, 0.9) == 0.9


@pytest.mark.parametrize(('hits', 'n'), [(0, 30), (30, 30), (118, 120)])
def test_the_exact_interval_is_where_a_binomial_has_its_tails(hits, n):
    low, high = exact_interval(hits, n)
    assert binom.sf(hits - 1, n, low) == pytest.approx(0.025 if hits else 1, abs=1e-6)
    assert binom.cdf(hits, n, high) == pytest.approx(0.025 if hits < n else 1, abs=1e-6)


def test_the_report_of_a_model_that_is_too_sure():
    scores, labels = photos(np.random.default_rng(2), 600, skill=12, sharpness=3)
    report = calibrate_scores(scores, labels, 0.95)
    assert report['ece']['after'] < report['ece']['before'] and report['nll']['after'] < report['nll']['before']
    threshold = report['threshold']
    assert threshold['right_interval'][0] < 0.95 < threshold['right_interval'][1]
    answered = confidences(scores, report['temperature']) >= threshold['confidence']
    assert answered.mean() == threshold['answered'] > 0.5
    json.dumps(report, allow_nan=False)


def test_in_simulated_worlds_the_interval_covers_what_the_threshold_is_worth():
    rng, covered, shares = np.random.default_rng(3), [], []
    others, other_labels = photos(rng, 20000, skill=14)
    other_hits = others.argmax(axis=1) == other_labels
    for _ in range(30):
        report = calibrate_scores(*photos(rng, 300, skill=14), 0.95)
        low, high = report['threshold']['right_interval']
        answered = confidences(others, report['temperature']) >= report['threshold']['confidence']
        shares.append(other_hits[answered].mean())
        covered.append(low <= shares[-1] <= high)
    assert np.mean(covered) >= 0.9
    assert np.mean(shares) == pytest.approx(0.955, abs=0.01)


def test_without_a_threshold_the_reason_is_told():
    rng = np.random.default_rng(4)
    right = photos(rng, 80, skill=30)
    assert 'at least 149' in calibrate_scores(*right, 0.99)['threshold_reason']
    scores, labels = photos(rng, 400, skill=0)
    report = calibrate_scores(scores, rng.permutation(labels), 0.9)
    assert report['threshold'] is None and 'most confident' in report['threshold_reason']
    with pytest.raises(ValueError, match='15 different'):
        calibrate_scores(right[0][:15], right[1][:15], 0.9)


def test_photos_of_a_group_count_as_one():
    scores, labels = photos(np.random.default_rng(5), 150, skill=14)
    one = calibrate_scores(scores, labels, 0.9)
    many = calibrate_scores(scores.repeat(4, axis=0), labels.repeat(4), 0.9, np.arange(150).repeat(4))
    assert many['ece']['before'] == pytest.approx(one['ece']['before'])
    width = np.ptp(one['threshold']['right_interval'])
    assert np.ptp(many['threshold']['right_interval']) == pytest.approx(width, rel=0.3)
    with pytest.raises(ValueError, match='15 different'):
        calibrate_scores(scores, labels, 0.9, np.arange(150) // 10)


# ---------------------------------------------------------------- none of these


def clouds(rng, number, num_features=30, num_classes=3):
    """Features around class means, wide in three directions."""
    means = 3 + rng.random((num_classes, num_features))
    labels = np.arange(number) % num_classes
    wide = rng.standard_normal((number, 3)) @ rng.standard_normal((3, num_features))
    return (means[labels] + 0.2 * wide + 0.1 * rng.standard_normal((number, num_features))).astype(np.float32), labels


def test_with_every_direction_free_it_is_mahalanobis_distance():
    features, labels = clouds(np.random.default_rng(6), 600, num_features=10)
    space = fit_feature_space(features, labels)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    means = np.stack([unit[labels == c].mean(axis=0) for c in range(3)])
    within = unit - means[labels]
    inside = space.basis.astype(float)  # 9 of 10 directions; the last one hardly varies in vectors of length 1
    covariance = inside @ (within.T @ within / (len(within) - 3)) @ inside.T
    for photo, found in zip(unit[:5], class_distances(features[:5], space), strict=True):
        outside = ((photo - unit.mean(axis=0)) ** 2).sum() - ((inside @ (photo - unit.mean(axis=0))) ** 2).sum()
        for mean, distance in zip(means, found, strict=True):
            expected = mahalanobis(inside @ photo, inside @ mean, np.linalg.inv(covariance))
            assert distance == pytest.approx(math.sqrt((expected**2 + outside / space.noise) / 10), rel=0.02)


def test_what_is_like_a_class_is_near_1_and_other_things_are_far():
    rng = np.random.default_rng(7)
    features, labels = clouds(rng, 900)
    space = fit_feature_space(features[:600], labels[:600])
    near = class_distances(features[600:], space)
    assert (near.argmin(axis=1) == labels[600:]).mean() > 0.9
    assert np.median(near.min(axis=1)) == pytest.approx(1, abs=0.1)
    assert class_distances(5 * rng.random((50, 30), np.float32), space).min() > near.min(axis=1).max()


def test_torch_tensors_give_the_same_distances_also_for_zeros():
    torch = pytest.importorskip('torch')
    features, labels = clouds(np.random.default_rng(8), 200)
    features[0] = 0
    space = fit_feature_space(features, labels)
    tensors = FeatureSpace(*(torch.tensor(array) for array in space))
    expected = class_distances(features, space)
    assert np.isfinite(expected).all()
    assert class_distances(torch.tensor(features), tensors).numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(('num_features', 'num_classes'), [(2048, 5), (2048, 1000)])
def test_the_space_is_small_and_survives_json(num_features, num_classes):
    rng = np.random.default_rng(9)
    labels = np.arange(2 * num_classes + 60) % num_classes
    space = fit_feature_space(rng.random((len(labels), num_features), np.float32), labels)
    text = json.dumps(space.to_json())
    assert len(text) < 2**20 + 2**17
    again = FeatureSpace.from_json(json.loads(text))
    assert all((first == second).all() for first, second in zip(space, again, strict=True))


@pytest.mark.parametrize('damage', ['missing', 'shape', 'base64', 'nan', 'fit'])
def test_a_damaged_space_is_refused(damage):
    features, labels = clouds(np.random.default_rng(10), 60)
    content = fit_feature_space(features, labels).to_json()
    if damage == 'missing':
        del content['noise']
    elif damage == 'shape':
        content['mean']['shape'] = [7]
    elif damage == 'base64':
        content['mean']['base64'] = '?'
    elif damage == 'nan':
        content['noise'] = FeatureSpace(*[np.float32(np.nan)] * 5).to_json()['noise']
    else:
        content['variances'] = content['mean']
    with pytest.raises(ValueError):
        FeatureSpace.from_json(content)


def test_features_that_never_change_give_finite_distances():
    space = fit_feature_space(np.ones((40, 6), np.float32), np.arange(40) % 2)
    assert np.isfinite(class_distances(np.eye(6, dtype=np.float32), space)).all()


def test_the_limit_has_the_false_alarms_that_it_promises():
    limit = distance_limit(np.arange(1, 1000) / 1000)
    assert limit['limit'] == pytest.approx(0.98) and limit['false_alarms'] == pytest.approx(0.02)
    rng, covered = np.random.default_rng(11), []
    for _ in range(300):
        limit = distance_limit(rng.random(200))
        low, high = limit['false_alarms_interval']
        covered.append(low <= 1 - limit['limit'] <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)
    grouped = distance_limit(rng.random(200), np.arange(200) // 2)
    assert grouped['false_alarms'] == pytest.approx(2 / 101)
    with pytest.raises(ValueError, match='49 can'):
        distance_limit(rng.random(48))
    assert distance_limit(rng.random(49))['false_alarms'] == pytest.approx(0.02)
