"""How much more would tell two settings apart: the variance of `comparison`, turned round.

If the difference measured is the true one, and photos and seeds are like those at hand, then with N photos and R seeds
of every setting its variance is

    V = (A - 2 C / R_now + 2 C / R) N_now / N + 2 B / R

with A, B as in `comparison`, both for N_now and R_now, and C the part of a run's variance that photos hit by chance
cause: more seeds average it away, and more photos do. What the bracket keeps without C is no less than 0.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.polynomial import Chebyshev
from scipy.stats import norm, studentized_range

from flowercls.evaluate.noise import Noise, degrees_of_freedom
from flowercls.evaluate.significance import POINTS, Difference

POWER = 0.8  # how often the planned comparison is to find the difference
MOST_PHOTOS, MOST_SEEDS = 10_000_000, 1000  # beyond these nobody goes: answered as never
ROUNDING = 1e-9  # of sums of hits, in points: settings that are right equally often
DEGREE = 3  # of the polynomial for the range's quantile

Quantile = Callable[[float], float]  # of the range in standard errors, by degrees of freedom


@dataclass(frozen=True)
class Plan:
    """What would tell a setting from the best one, each with the other number left as it is.

    Attributes:
        name: Of the setting.
        photos: So many to validate on; None if no number would.
        seeds: So many of each setting; None if no number would, or if seed noise is unknown.
        seeds_seen: Whether there is a setting with two seeds or more, so that seed noise is known.
    """

    name: str
    photos: int | None
    seeds: int | None
    seeds_seen: bool


@dataclass(frozen=True)
class Outlook:
    """What decides whether a difference is found, as shares.

    Attributes:
        difference: The true one, above 0.
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
    def freedom(self) -> float:
        """Degrees of freedom of the seed noise; infinite where it is unknown, with single runs."""
        return self.num_settings * (self.num_seeds - 1) if self.num_seeds > 1 else np.inf

    def is_found(self, quantile: Quantile, power: float = POWER) -> bool:
        """Whether the comparison calls the setting worse with the probability ``power``.

        Args:
            quantile: Of the range of ``num_settings`` equal settings, at the confidence wanted.
            power: The share of such comparisons.
        """
        shares = 2 / self.num_seeds
        variance = (self.lasting + self.chance * shares) / self.num_photos + self.seed * shares
        noise = Noise(self.seed, self.chance / self.num_photos, self.freedom)
        counts = quantile(degrees_of_freedom(variance, shares, noise)) * np.sqrt(variance / 2)
        return bool(self.difference > counts + norm.ppf(power) * np.sqrt(variance))


def plan_more(hits: Mapping[str, np.ndarray], tied: Difference, confidence: float = 0.95) -> Plan:
    """How many photos, or how many seeds, would tell a tied setting from the best one.

    Args:
        hits: As `comparison.score_settings`.
        tied: The setting, as `comparison.differences_to_best` found it.
        confidence: Of all verdicts of the planned comparison together.
    """
    now = _outlook(hits, tied)
    seeds_seen = any(len(runs) > 1 for runs in hits.values())
    if POINTS * now.difference < ROUNDING:
        return Plan(tied.name, None, None, seeds_seen)
    photos = _smallest_found('num_photos', now, MOST_PHOTOS, confidence)
    few = replace(now, num_seeds=max(2, int(now.num_seeds)))
    seeds = _smallest_found('num_seeds', few, MOST_SEEDS, confidence) if seeds_seen else None
    return Plan(tied.name, photos, seeds, seeds_seen)


def _outlook(hits: Mapping[str, np.ndarray], tied: Difference) -> Outlook:
    ours, theirs, noise = hits[tied.name], hits[tied.best], Noise.of(hits)
    paired = ours.mean(axis=0) - theirs.mean(axis=0)
    shares = 1 / len(ours) + 1 / len(theirs)
    chance = noise.chance * len(paired)
    return Outlook(
        difference=abs(float(paired.mean())),
        lasting=max(0.0, float(paired.var(ddof=1)) - chance * shares),
        chance=chance,
        seed=noise.seed,
        num_settings=len(hits),
        num_photos=len(paired),
        num_seeds=2 / shares,
    )


def _smallest_found(key: str, now: Outlook, last: int, confidence: float) -> int | None:
    """The smallest number with which the difference is found, as it is with all above; None if not even with the last.

    Args:
        key: The number to raise from what it is.
        now: What is known.
        last: The largest number tried.
        confidence: Of all verdicts together.
    """
    quantile = range_quantile(confidence, now.num_settings, now.freedom)

    def is_enough(number: int) -> bool:
        return replace(now, **{key: number}).is_found(quantile)

    return bisect_left(range(last), True, lo=getattr(now, key), key=is_enough) if is_enough(last) else None


@cache
def range_quantile(confidence: float, num_settings: int, fewest: float) -> Quantile:
    """The quantile of the range of equal settings at ``fewest`` degrees of freedom or more.

    It is integrated at a few of them only, as each takes a tenth of a second and a search asks for dozens. Between them
    its logarithm is a polynomial in 1 / freedom: five digits, where a plan deserves two.
    """
    if np.isinf(fewest):
        exact = float(studentized_range.ppf(confidence, num_settings, np.inf))
        return lambda freedom: exact
    logarithm = Chebyshev.interpolate(
        lambda inverse: np.log(studentized_range.ppf(confidence, num_settings, 1 / inverse)), DEGREE, [0, 1 / fewest]
    )
    return lambda freedom: float(np.exp(logarithm(1 / freedom)))
