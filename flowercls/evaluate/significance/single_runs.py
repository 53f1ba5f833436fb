"""Which models get more photos right: single runs, compared as the models that they are.

The question is: *would this model be right more often than that one on other photos like these?* A model trained with
another seed may answer otherwise, so nothing here is about settings.

If two models are equally good, their answers to a photo can be exchanged. So the answers to each photo are shuffled
between all models, again and again. A difference counts if it is larger than the largest difference of any two models
in nearly all shuffles (Westfall and Young 1993). Each difference is counted in its own standard errors: the root of the
number of photos that only one of the two gets right (McNemar's test). Photos of one group are shuffled together.
"""

from dataclasses import dataclass

import numpy as np

from flowercls.evaluate.intervals import paired_interval
from flowercls.evaluate.significance.critical_values import range_of
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import PhotoGroups

NUM_SHUFFLES = 2000
CHUNK = 250  # shuffles at a time
MANY_GROUPS = 300  # that the models answer differently: the range of normal variables gives the same p-values


@dataclass(frozen=True)
class ModelDifference:
    """One model against the best one.

    Attributes:
        name: Of the model's setting.
        p_value: Corrected for all pairs of models.
        is_worse: Whether the model gets fewer photos right than the best one, beyond chance.
        interval: Of the difference on other photos, in points; all intervals hold together.
    """

    name: str
    p_value: float
    is_worse: bool
    interval: tuple[float, float]


def compare_models(hits: Hits, best: str, error_rate: float) -> list[ModelDifference]:
    """Compare every model with the best one, which is left out.

    Args:
        hits: Of settings with one seed each, without folds.
        best: Name of the model with the most photos right.
        error_rate: Of all pairs together, in (0, 1).
    """
    names = list(hits.by_setting)
    right = np.array([runs[0] for runs in hits.by_setting.values()])
    groups = PhotoGroups.of(hits)
    sums = groups.sums(right.astype(float))
    sums = sums[:, np.ptp(sums, axis=0) > 0]  # the others tell nothing
    observed = _standardised(sums)[names.index(best)]
    if sums.shape[1] > MANY_GROUPS:
        p_values = range_of(len(names)).p_values(np.sqrt(2) * observed, np.full(len(names), np.inf))
    else:
        largest = np.append(_largest_when_shuffled(sums), np.inf)  # the observed answers are one of the shuffles
        p_values = (largest[:, None] >= observed * (1 - 1e-6)).mean(axis=0)
    z = float(range_of(len(names)).critical_values(error_rate, np.inf) / np.sqrt(2))
    differences = []
    for i, name in enumerate(names):
        if name != best:
            is_worse = bool(p_values[i] <= error_rate)
            low, high = _interval(right[i], right[names.index(best)], groups, z)
            # On few photos the shuffles are the more careful test: an interval without 0 would contradict it.
            interval = (low, high if is_worse else max(high, 0.0))
            differences.append(ModelDifference(name, float(p_values[i]), is_worse, interval))
    return differences


def _standardised(sums: np.ndarray) -> np.ndarray:
    """Return the difference of each pair of rows in standard errors, shape (..., rows, rows)."""
    products = sums @ np.swapaxes(sums, -1, -2)
    squares = np.diagonal(products, axis1=-2, axis2=-1)
    variances = squares[..., :, None] + squares[..., None, :] - 2 * products
    totals = sums.sum(axis=-1)
    differences = np.abs(totals[..., :, None] - totals[..., None, :])
    return np.divide(differences, np.sqrt(variances), out=np.zeros_like(differences), where=variances > 0.5)


def _largest_when_shuffled(sums: np.ndarray) -> np.ndarray:
    rng, largest = np.random.default_rng(0), []
    for _ in range(NUM_SHUFFLES // CHUNK):
        shuffled = rng.permuted(np.broadcast_to(sums.T, (CHUNK, *sums.T.shape)), axis=2)
        largest.append(_standardised(np.swapaxes(shuffled, 1, 2)).max(axis=(1, 2)))
    return np.concatenate(largest)


def _interval(first: np.ndarray, second: np.ndarray, groups: PhotoGroups, z: float) -> tuple[float, float]:
    """Return the interval of a difference in points, with as many photos as the groups are worth."""
    paired = (first.astype(float) - second)[None]
    by_photo, by_group = paired.var() / paired.size, float(groups.covariance(paired)[0, 0])
    weight = min(1.0, by_photo / by_group) if groups.number < paired.size and by_group > 0 else 1.0
    only_first, only_second = (first & ~second).sum(), (second & ~first).sum()
    low, high = paired_interval(weight * only_first, weight * only_second, weight * paired.size, z)
    return 100 * low, 100 * high
