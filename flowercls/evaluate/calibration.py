"""When to believe an answer: calibrated confidences, a threshold for "unknown", and the distance to the classes.

Shapes: N photos, C classes, D features. Scores are probabilities (N, C), rows summing to 1; labels are integers (N,) in
[0, C); groups are numbers (N,), equal for photos that look alike. Photos of one group are in one fold.
"""

import base64
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import beta
from sklearn.utils.extmath import randomized_svd

from flowercls.evaluate.intervals import CONFIDENCE, exact_interval
from flowercls.evaluate.metrics import expected_calibration_error, negative_log_likelihood, predicted_labels

NUM_FOLDS = 10
MIN_GROUPS = 20  # of a calibration
# Times the photos that support a threshold if all are right. With fewer, hardly any but lucky sets of photos give one:
# with 120 for 99 % one in eight, and of those the threshold was worth 97.7 % where 99.5 % were measured.
SUPPORT = 1.5
MAX_PHOTOS = 10_000  # more change no digit that is printed
TEMPERATURES = 1e-3, 1e3  # limits of the search; trained networks are far inside
FALSE_ALARMS = 0.02  # of photos of the classes, at most this share is beyond the limit of the distance
BASIS_SIZES = 16, 64  # directions with a variance of their own: as many as separate the classes, within these bounds


# ---------------------------------------------------------------- confidence


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T that makes ``softmax(log(scores) / T)`` most likely.

    N photos that are all right support a confidence of (N + 1) / (N + 2) and not of 1. So each photo counts with the
    share 1 / (N + 2) as one of the likeliest wrong class.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2; for the shares Platt,
        "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2.
    """
    logs, rows, share = _logs(scores), np.arange(len(labels)), 1 / (len(labels) + 2)
    if np.ptp(logs, axis=1).max() < 1e-6:  # no photo has an answer
        return 1.0
    targets, others = np.zeros_like(logs), logs.copy()
    others[rows, labels] = -np.inf
    targets[rows, others.argmax(axis=1)] = share
    targets[rows, labels] = 1 - share

    def slope(log_temperature: float) -> float:
        """Return the derivative of the negative log-likelihood by 1 / T; it is convex in 1 / T."""
        return float(((softmax(logs / np.exp(log_temperature), axis=1) - targets) * logs).sum(axis=1).mean())

    coldest, hottest = np.log(TEMPERATURES)
    if slope(coldest) <= 0:
        return TEMPERATURES[0]
    if slope(hottest) >= 0:
        return TEMPERATURES[1]
    return float(np.exp(brentq(slope, coldest, hottest, xtol=1e-6)))


def calibrated(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Return ``softmax(log(scores) / temperature)``, float64 (N, C); the best class of a photo stays the best."""
    return softmax(_logs(scores) / temperature, axis=1)


def confidences(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Return the confidence of each photo's answer: its highest calibrated score, shape (N,), 0-1."""
    return calibrated(scores, temperature).max(axis=1)


def _logs(scores: np.ndarray) -> np.ndarray:
    """Return logarithms; a score of 0 counts as in `negative_log_likelihood`."""
    return np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float32).tiny))


def choose_threshold(confidence: np.ndarray, hits: np.ndarray, precision: float, group_size: float = 1.0) -> float:
    """Return the smallest confidence from which on ``precision`` of the answers are right; infinite if there is none.

    The answer just below a threshold is a wrong one, since otherwise the threshold were lower. One further mistake
    therefore counts: n answers with m mistakes pass if (m + 1) / (n + 1) is at most 1 - ``precision``.

    Args:
        confidence: Of each answer, shape (N,).
        hits: Whether each answer is right, shape (N,).
        precision: Between 0 and 1.
        group_size: Photos that count as one.

    Source:
        The further mistake is that of Angelopoulos et al., "Conformal Risk Control", ICLR 2024, equation 4.
    """
    order = np.argsort(-confidence, kind='stable')
    values, mistakes = confidence[order], np.cumsum(~hits[order])
    passes = mistakes + group_size <= (1 - precision) * (np.arange(len(values)) + 1 + group_size) + 1e-9
    passes[:-1] &= values[:-1] > values[1:]  # equal confidences are answered together
    return float(values[passes][-1]) if passes.any() else np.inf


def calibrate_scores(
    scores: np.ndarray, labels: np.ndarray, precision: float, groups: np.ndarray | None = None
) -> dict[str, Any]:
    """Return temperature and threshold with their figures, as in calibration.json.

    Every figure is out of sample: each fold of photos is judged by the temperature and the threshold of the other
    folds. The temperature and the threshold that are kept are those of all photos. Only the share answered is counted
    with the kept threshold.

    Args:
        scores: Of photos that the model was not trained on.
        labels: Their classes.
        precision: Share of the answers that shall be right, between 0 and 1.
        groups: Of look-alikes; None: each photo is one.

    Returns:
        ``n``, ``temperature``, ``nll`` and ``ece`` (each with ``before`` and ``after``), ``threshold`` with shares
        from 0 to 1, or None with a ``threshold_reason``.

    Raises:
        ValueError: if there are too few photos, saying so.
    """
    kept = np.linspace(0, len(labels) - 1, min(len(labels), MAX_PHOTOS)).astype(int)
    scores, labels = scores[kept], labels[kept]
    groups = np.unique(kept if groups is None else groups[kept], return_inverse=True)[1]
    num_groups, n = groups.max(initial=-1) + 1, len(labels)
    if num_groups < MIN_GROUPS:
        raise ValueError(f'{num_groups} different photos were validated, and {MIN_GROUPS} are needed')
    group_size = float((np.bincount(groups) ** 2).sum() / n)  # of the group that a photo is in, on average
    folds = (np.random.default_rng(0).permutation(num_groups) % NUM_FOLDS)[groups]
    hits = predicted_labels(scores) == labels

    after, answered, thresholds = np.empty(scores.shape), np.zeros(n, bool), []
    for fold in range(NUM_FOLDS):
        inside = folds == fold
        temperature = fit_temperature(scores[~inside], labels[~inside])
        confidence = confidences(scores[~inside], temperature)
        after[inside] = calibrated(scores[inside], temperature)
        thresholds.append(choose_threshold(confidence, hits[~inside], precision, group_size))
        answered[inside] = after[inside].max(axis=1) >= thresholds[-1]

    temperature = fit_temperature(scores, labels)
    confidence = confidences(scores, temperature)
    threshold, reason = choose_threshold(confidence, hits, precision, group_size), ''
    right, num_answered = int(hits[answered].sum()), int(answered.sum())
    interval = exact_interval(right / group_size, num_answered / group_size) if num_answered else (0.0, 1.0)
    least = np.ceil(SUPPORT * group_size * precision / (1 - precision) - 1e-9)
    if n < least:
        reason = f'a precision of {precision:.4g} takes at least {least:.0f} validation photos, and {n} were validated'
    elif not np.isfinite(threshold) or interval[1] < precision:
        reason = f'of the most confident answers to {n} validation photos, less than {100 * precision:.4g} % are right'
    elif not np.isfinite(thresholds).all():
        reason = (
            f'too few of {n} validation photos support {100 * precision:.4g} %: without a tenth of them none is found'
        )
    share = float((confidence >= threshold).mean())
    return {
        'n': n,
        'temperature': temperature,
        'nll': {'before': negative_log_likelihood(scores, labels), 'after': negative_log_likelihood(after, labels)},
        'ece': {
            'before': expected_calibration_error(scores, labels),
            'after': expected_calibration_error(after, labels),
        },
        'threshold': None
        if reason
        else {
            'precision': precision,
            'confidence': threshold,
            'right': right / num_answered,
            'right_interval': list(interval),
            'answered': share,
            'answered_interval': list(exact_interval(share * n / group_size, n / group_size)),
        },
        'threshold_reason': reason,
    }


# ---------------------------------------------------------------- none of these


class FeatureSpace(NamedTuple):
    """Where the classes lie among features of length 1: means, and a covariance that all classes share.

    The covariance is free in R directions and the same in all others (probabilistic PCA). Arrays are float32, of numpy
    or torch.
    """

    mean: Any  # (D,), of all features
    basis: Any  # (R, D), orthonormal; the covariance inside is diagonal
    centres: Any  # (C, R), class means less `mean`, in the basis
    variances: Any  # (R,), of features around their class mean
    noise: Any  # (), variance in every other direction

    def to_json(self) -> dict[str, dict]:
        """Return shape and base64 text (float32, little-endian) of each array."""
        return {
            name: {'shape': list(np.shape(array)), 'base64': base64.b64encode(_as_bytes(array)).decode('ascii')}
            for name, array in self._asdict().items()
        }

    @classmethod
    def from_json(cls, content: dict) -> 'FeatureSpace':
        """Return what `to_json` wrote.

        Raises:
            ValueError: if an array is missing or damaged, or the shapes do not fit together.
        """
        try:
            arrays = [
                np.frombuffer(base64.b64decode(content[name]['base64'], validate=True), '<f4').reshape(
                    content[name]['shape']
                )
                for name in cls._fields
            ]
        except (LookupError, TypeError) as error:
            raise ValueError(f'an array is missing ({error})') from error
        (num_features,), (size, _), (num_classes, _) = (array.shape for array in arrays[:3])
        shapes = [(num_features,), (size, num_features), (num_classes, size), (size,), ()]
        if [array.shape for array in arrays] != shapes or not all(np.isfinite(array).all() for array in arrays):
            raise ValueError('its arrays do not fit together')
        return cls(*arrays)


def _as_bytes(array: np.ndarray) -> bytes:
    return np.asarray(array, '<f4').tobytes()


def fit_feature_space(features: np.ndarray, labels: np.ndarray) -> FeatureSpace:
    """Return the space of training features, (N, D): every class must have one, and N must exceed C by 3 at least.

    Source:
        Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
        NeurIPS 2018, section 2.1; features of length 1 from Müller and Hein, "Mahalanobis++", ICML 2025; noise from
        Tipping and Bishop, "Probabilistic Principal Component Analysis", 1999, equation 8.
    """
    num_classes, num_features = int(labels.max()) + 1, features.shape[1]
    unit = _unit(features.astype(np.float64))
    mean = unit.mean(axis=0)
    centred = unit - mean
    class_means = np.stack([centred[labels == number].mean(axis=0) for number in range(num_classes)])
    low, high = BASIS_SIZES
    size = min(max(low, num_classes - 1), high, len(labels) - num_classes - 1, num_features - 1)
    _, spreads, directions = randomized_svd(centred, size, random_state=0)
    within = (centred - class_means[labels]) @ directions.T
    variances, turn = np.linalg.eigh(within.T @ within / (len(labels) - num_classes))
    basis = turn.T @ directions
    noise = ((centred**2).sum() - (spreads**2).sum()) / len(labels) / (num_features - size)
    floor = 1e-12 + 1e-6 * variances.max()  # features that never change would put every other photo infinitely far
    arrays = mean, basis, class_means @ basis.T, np.maximum(variances, floor), max(noise, floor)
    return FeatureSpace(*(np.asarray(array, np.float32) for array in arrays))


def class_distances(features: Any, space: FeatureSpace) -> Any:
    """Return the distance of each photo to each class, (N, C): about 1 for photos like those of the class.

    It is Mahalanobis' distance divided by the square root of D. Numpy arrays and torch tensors work alike.

    Args:
        features: Shape (N, D).
        space: With arrays of the same library.
    """
    centred = _unit(features) - space.mean
    inside = centred @ space.basis.T
    outside = abs((centred * centred).sum(-1) - (inside * inside).sum(-1)) / space.noise
    between = ((inside[:, None, :] - space.centres) ** 2 / space.variances).sum(-1)
    return ((between + outside[:, None]) / features.shape[1]) ** 0.5


def _unit(features: Any) -> Any:
    """Return features divided by their length; where all are 0 they stay 0."""
    return features / ((features * features).sum(-1)[:, None] + 1e-12) ** 0.5


def distance_limit(distances: np.ndarray, groups: np.ndarray | None = None) -> dict[str, Any]:
    """Return the distance that at most `FALSE_ALARMS` of the photos of the classes exceed.

    Args:
        distances: To the nearest class, of photos that neither the model nor the space was fitted on, shape (N,).
        groups: Of look-alikes; None: each photo is one.

    Returns:
        ``limit``; ``false_alarms``, the expected share (0-1) of new photos beyond it, and its
        ``false_alarms_interval``: both hold for every distribution of distances.

    Raises:
        ValueError: if there are too few photos, saying so.

    Source:
        Order statistics: of N photos, the share beyond the k-th smallest distance has the distribution
        Beta(N + 1 - k, k); Vovk, "Conditional Validity of Inductive Conformal Predictors", 2012, proposition 2a.
    """
    n = len(distances)
    group_size = float((np.unique(groups, return_counts=True)[1] ** 2).sum() / n) if groups is not None else 1.0
    effective = n / group_size
    beyond = int(np.floor(FALSE_ALARMS * (effective + 1) + 1e-9))  # photos beyond the limit, and one more
    if beyond < 1:
        raise ValueError(
            f'{effective:.0f} different validation photos cannot tell a false-alarm rate of {FALSE_ALARMS:g}; '
            f'{np.ceil(1 / FALSE_ALARMS) - 1:.0f} can'
        )
    k = effective + 1 - beyond
    tail = (1 - CONFIDENCE) / 2
    rank = min(n, int(np.ceil(k * group_size)))
    return {
        'limit': float(np.sort(distances)[rank - 1]),
        'false_alarms': beyond / (effective + 1),
        'false_alarms_interval': beta.ppf([tail, 1 - tail], beyond, k).tolist(),
    }
