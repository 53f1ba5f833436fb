"""The number of photos or seeds that would tell two settings apart.

If the measured difference is the true one, and more photos and seeds are like those at hand, then with N photos and R
seeds of every setting the variance of `significance` is

    V = (A - 2 C / R_now + 2 C / R) N_now / N + 2 B / R

with A and B as there, both for N_now and R_now, and C the part of a run's variance that photos hit by chance cause:
more seeds average C away, and so do more photos. The bracket without C is at least 0.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.polynomial import Chebyshev
from scipy.stats import norm, studentized_range

from flowercls.evaluate.significance.noise import Noise, satterthwaite_dof
from flowercls.evaluate.significance.settings import POINTS, VERDICT_CONFIDENCE, Difference, RangeTest

POWER = 0.8  # share of the planned comparisons that find the difference
MAX_PHOTOS, MAX_SEEDS = 10_000_000, 1000  # more than these is answered as never
ROUNDING = 1e-9  # of sums of hits, in points: below it, settings are right equally often
POLYNOMIAL_DEGREE = 3

Quantile = Callable[[float], float]  # of the range in standard errors, by degrees of freedom


@dataclass(frozen=True)
class SampleSize:
    """What would tell a setting from the best one; each number holds while the other stays as it is.

    Attributes:
        name: Of the setting.
        photos: Photos to validate on; None if no number would do.
        seeds: Seeds of each setting; None if no number would do, or if seed noise is unknown.
        seeds_seen: Whether any setting has two seeds or more, so that seed noise is known.
    """

    name: str
    photos: int | None
    seeds: int | None
    seeds_seen: bool


@dataclass(frozen=True)
class Scenario:
    """A comparison that could be run, with variances as squared shares.

    Attributes:
        difference: The true one, above 0, as a share.
        lasting: Variance over photos, of one photo, that no number of seeds lowers.
        chance: Variance of one photo of one run, by chance.
        seed: Variance of accuracy that seeds alone cause.
        num_settings: In the comparison.
        num_photos: To validate on.
        num_seeds: Of each setting.
    """

    difference: float
    lasting: float
    chance: float
    seed: float
    num_settings: int
    num_photos: int
    num_seeds: float

    @property
    def dof(self) -> float:
        """Degrees of freedom of the seed noise; infinite with single runs, where seed noise is unknown."""
        return self.num_settings * (self.num_seeds - 1) if self.num_seeds > 1 else np.inf

    def finds_difference(self, quantile: Quantile, confidence: float = VERDICT_CONFIDENCE) -> bool:
        """Return whether the comparison calls the setting worse with the probability `POWER`.

        Args:
            quantile: Of the range of ``num_settings`` equal settings, at ``confidence``.
            confidence: Of all verdicts together.
        """
        per_seed = 2 / self.num_seeds
        variance = (self.lasting + self.chance * per_seed) / self.num_photos + self.seed * per_seed
        noise = Noise(self.seed, self.chance / self.num_photos, self.dof)
        dof = satterthwaite_dof(variance, [(per_seed * noise.total, noise.dof)])
        critical = RangeTest(variance, dof, self.num_settings, confidence).critical_difference(quantile)
        return bool(self.difference > critical + norm.ppf(POWER) * np.sqrt(variance))


def required_samples(
    hits: Mapping[str, np.ndarray], tied: Difference, confidence: float = VERDICT_CONFIDENCE
) -> SampleSize:
    """Return how many photos, or how many seeds, would tell a tied setting from the best one.

    Args:
        hits: As in `score_settings`.
        tied: The setting, as `differences_to_best` found it.
        confidence: Of all verdicts of the planned comparison together.
    """
    now = current_scenario(hits, tied)
    seeds_seen = any(len(runs) > 1 for runs in hits.values())
    if POINTS * now.difference < ROUNDING:
        return SampleSize(tied.name, None, None, seeds_seen)
    photos = _smallest_number('num_photos', now, MAX_PHOTOS, confidence)
    few = replace(now, num_seeds=max(2, int(now.num_seeds)))
    seeds = _smallest_number('num_seeds', few, MAX_SEEDS, confidence) if seeds_seen else None
    return SampleSize(tied.name, photos, seeds, seeds_seen)


def current_scenario(hits: Mapping[str, np.ndarray], tied: Difference) -> Scenario:
    """Return the comparison as it was run; arguments as in `required_samples`."""
    runs, best_runs, noise = hits[tied.name], hits[tied.best], Noise.of(hits)
    paired = runs.mean(axis=0) - best_runs.mean(axis=0)
    per_seed = 1 / len(runs) + 1 / len(best_runs)
    chance = noise.chance * len(paired)
    return Scenario(
        difference=abs(float(paired.mean())),
        lasting=max(0.0, float(paired.var(ddof=1)) - chance * per_seed),
        chance=chance,
        seed=noise.seed,
        num_settings=len(hits),
        num_photos=len(paired),
        num_seeds=2 / per_seed,
    )


def _smallest_number(key: str, now: Scenario, maximum: int, confidence: float) -> int | None:
    """Return the smallest value of ``key`` from now on that finds the difference; None if ``maximum`` does not."""
    quantile = range_quantile(confidence, now.num_settings, now.dof)

    def is_enough(number: int) -> bool:
        return replace(now, **{key: number}).finds_difference(quantile, confidence)

    return bisect_left(range(maximum), True, lo=getattr(now, key), key=is_enough) if is_enough(maximum) else None


@cache
def range_quantile(confidence: float, num_settings: int, min_dof: float) -> Quantile:
    """Return the quantile of the range of equal settings, as a function of ``min_dof`` degrees of freedom or more.

    An exact quantile takes a tenth of a second and a search asks for dozens, so a few are computed. Between them the
    logarithm is a polynomial in 1 / dof: five digits, where a plan deserves two.
    """
    if np.isinf(min_dof):
        exact = float(studentized_range.ppf(confidence, num_settings, np.inf))
        return lambda dof: exact
    logarithm = Chebyshev.interpolate(
        lambda inverse: np.log(studentized_range.ppf(confidence, num_settings, 1 / inverse)),
        POLYNOMIAL_DEGREE,
        [0, 1 / min_dof],
    )
    return lambda dof: float(np.exp(logarithm(1 / dof)))
