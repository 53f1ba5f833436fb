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

import numpy as np
from scipy.stats import norm, studentized_range

from flowercls.evaluation.comparison import Difference, Noise, degrees_of_freedom

POWER = 0.8  # how often the planned comparison is to find the difference
MOST_PHOTOS, MOST_SEEDS = 10_000_000, 1000  # beyond these nobody goes: answered as never


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

    def is_found(self, confidence: float = 0.95, power: float = POWER) -> bool:
        """Whether the comparison calls the setting worse with the probability ``power``."""
        shares = 2 / self.num_seeds
        variance = (self.lasting + self.chance * shares) / self.num_photos + self.seed * shares
        if variance == 0:
            return self.difference > 0
        freedom = self.num_settings * (self.num_seeds - 1)
        noise = Noise(self.seed, self.chance / self.num_photos, freedom if freedom > 0 else np.inf)
        reached = self.difference - norm.ppf(power) * np.sqrt(variance)
        freedom = degrees_of_freedom(variance, shares, noise)
        beyond = studentized_range.sf(max(0.0, reached) / np.sqrt(variance / 2), self.num_settings, freedom)
        return bool(beyond < 1 - confidence)


def plan_more(hits: Mapping[str, np.ndarray], tied: Difference, confidence: float = 0.95) -> Plan:
    """How many photos, or how many seeds, would tell a tied setting from the best one.

    Args:
        hits: As `comparison.score_settings`.
        tied: The setting, as `comparison.differences_to_best` found it.
        confidence: Of all verdicts of the planned comparison together.
    """
    now = _outlook(hits, tied)
    seeds_seen = any(len(runs) > 1 for runs in hits.values())
    if now.difference == 0:
        return Plan(tied.name, None, None, seeds_seen)
    photos = _smallest(lambda n: replace(now, num_photos=n).is_found(confidence), now.num_photos, MOST_PHOTOS)
    first = max(2, int(now.num_seeds))
    seeds = _smallest(lambda r: replace(now, num_seeds=r).is_found(confidence), first, MOST_SEEDS)
    return Plan(tied.name, photos, seeds if seeds_seen else None, seeds_seen)


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


def _smallest(is_enough: Callable[[int], bool], first: int, last: int) -> int | None:
    """The smallest number that is enough, which all above it are as well; None if not even the last is."""
    if not is_enough(last):
        return None
    return bisect_left(range(last), True, lo=first, key=is_enough)
