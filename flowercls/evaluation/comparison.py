"""Which settings are really different: differences on the same photos, with photo noise and seed noise counted.

Every setting is a matrix of hits (seeds, photos). The question answered is: *trained again with other seeds, and tested
on other photos like these, would the difference remain?* With one seed a setting, where seed noise cannot be seen, it
is: *would these very models differ on other photos?* (`SEEDS_UNSEEN`).

The variance of a difference of two mean accuracies is

    V = A + B (1/R_s + 1/R_t)

A, the photo part, is the variance over photos of the difference of the two settings' mean hits, divided by the number
of photos: what both find hard cancels. B, the seed part, is the variance of accuracy over seeds, pooled over settings,
less what photos hit by chance explain of it, which A holds already; R are the numbers of seeds. A difference d counts
if d / sqrt(V) is beyond what the range of that many equal settings reaches (Tukey's studentised range, with
Satterthwaite's degrees of freedom): so in one comparison of any number of equal settings, *any* wrong verdict comes in
at most 5 of 100 comparisons. Between single runs McNemar's exact test, with Holm's correction over all pairs, takes
its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import studentized_range, t

from flowercls.evaluation.statistics import holm, mcnemar_p_value, wilson_interval

SEEDS_UNSEEN = 'one seed a setting: the verdict is about these very models, another seed may turn it'
POINTS = 100.0  # percentage points of a share


@dataclass(frozen=True)
class SettingScore:
    """Accuracy of one setting, in percent.

    Attributes:
        name: Of the setting.
        top1: Mean over seeds.
        spread: Standard deviation over seeds; None with one.
        num_seeds: How many there are.
        interval: 95 % for the mean, on other photos and with other seeds (with one seed: on other photos).
    """

    name: str
    top1: float
    spread: float | None
    num_seeds: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """One setting against the best, in percentage points; negative is worse.

    Attributes:
        name: Of the setting.
        best: Of the best setting.
        points: Difference of the means.
        p_value: Corrected for the number of comparisons.
        tied: Whether the difference may be none.
        yardstick: What it is measured by; None where McNemar's test decides.
    """

    name: str
    best: str
    points: float
    p_value: float
    tied: bool
    yardstick: 'Yardstick | None' = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """For all differences of the comparison together, in points; None where McNemar's test decides."""
        if self.yardstick is None:
            return None
        half = POINTS * self.yardstick.smallest_difference()
        return self.points - half, self.points + half

    @property
    def at_least(self) -> float | None:
        """How much worse the setting is at least, in points; None if it is tied or nothing can be said."""
        return -self.interval[1] if self.yardstick and not self.tied else None


@dataclass(frozen=True)
class Yardstick:
    """What a difference of two mean accuracies, as a share, is measured by.

    Attributes:
        variance: Of the difference.
        freedom: Degrees of freedom of ``variance``.
        num_settings: In the whole comparison.
        confidence: Of all its verdicts together.
    """

    variance: float
    freedom: float
    num_settings: int
    confidence: float

    def p_value(self, difference: float) -> float:
        """How often the range of so many equal settings is at least that large."""
        if self.variance == 0:
            return 1.0 if difference == 0 else 0.0
        return float(studentized_range.sf(abs(difference) / self._unit, self.num_settings, self.freedom))

    def smallest_difference(self) -> float:
        """The smallest one that counts, as a share."""
        return float(self._unit * studentized_range.ppf(self.confidence, self.num_settings, self.freedom))

    @property
    def _unit(self) -> float:
        return float(np.sqrt(self.variance / 2))  # a range is counted in standard errors of one mean


@dataclass(frozen=True)
class Noise:
    """The parts of a difference's variance, in squared shares, and how well the seed part is known."""

    seed: float  # variance of accuracy that seeds alone cause
    chance: float  # variance of accuracy over seeds that hits by chance explain
    freedom: float  # degrees of freedom of the two together

    @classmethod
    def of(cls, hits: Mapping[str, np.ndarray]) -> 'Noise':
        """Pooled over all settings with two seeds or more."""
        several = [runs.astype(float) for runs in hits.values() if len(runs) > 1]
        freedom = sum(len(runs) - 1 for runs in several)
        if not freedom:
            return cls(seed=0.0, chance=0.0, freedom=np.inf)
        num_photos = several[0].shape[1]
        total = sum((len(runs) - 1) * runs.mean(axis=1).var(ddof=1) for runs in several) / freedom
        by_photo = sum((len(runs) - 1) * runs.var(axis=0, ddof=1).mean() for runs in several) / freedom
        # Less the part that all photos of a run share, which is what a seed does.
        chance = max(0.0, (by_photo - total) / (num_photos - 1))
        return cls(seed=max(0.0, total - chance), chance=chance, freedom=freedom)


def score_settings(hits: Mapping[str, np.ndarray], confidence: float = 0.95) -> list[SettingScore]:
    """The accuracy of every setting with its interval, in the order given.

    Args:
        hits: By setting: whether each run was right, bool, shape (seeds, N), on the same N photos in one order.
        confidence: Coverage of the intervals.
    """
    noise = Noise.of(hits)
    return [_score(name, np.asarray(runs), noise, confidence) for name, runs in hits.items()]


def differences_to_best(hits: Mapping[str, np.ndarray], confidence: float = 0.95) -> list[Difference]:
    """Every setting against the one with the highest mean accuracy (of equal ones the first), the best left out.

    Args:
        hits: As `score_settings`.
        confidence: Of all verdicts together.
    """
    best = max(hits, key=lambda name: hits[name].mean())
    if all(len(runs) == 1 for runs in hits.values()):
        return _by_mcnemar(hits, best, confidence)
    noise = Noise.of(hits)
    return [_by_range(hits, name, best, noise, confidence) for name in hits if name != best]


def _score(name: str, runs: np.ndarray, noise: Noise, confidence: float) -> SettingScore:
    num_seeds, num_photos = runs.shape
    top1 = runs.mean()
    if num_seeds == 1:
        interval = wilson_interval(int(runs.sum()), num_photos, confidence)
        return SettingScore(name, float(POINTS * top1), None, 1, interval)
    variance = runs.mean(axis=0).var(ddof=1) / num_photos + noise.seed / num_seeds
    # The share of that many independent photos would be as uncertain; Wilson's interval stays within 0-100.
    effective = top1 * (1 - top1) / variance if variance > 0 else num_photos
    quantile = t.ppf(0.5 + confidence / 2, _freedom(variance, 1 / num_seeds, noise))
    interval = wilson_interval(effective * top1, effective, z=quantile)
    spread = float(POINTS * runs.mean(axis=1).std(ddof=1))
    return SettingScore(name, float(POINTS * top1), spread, num_seeds, interval)


def _by_range(hits: Mapping[str, np.ndarray], name: str, best: str, noise: Noise, confidence: float) -> Difference:
    ours, theirs = hits[name], hits[best]
    paired = ours.mean(axis=0) - theirs.mean(axis=0)
    shares = 1 / len(ours) + 1 / len(theirs)
    variance = float(paired.var(ddof=1) / len(paired) + noise.seed * shares)
    yardstick = Yardstick(variance, _freedom(variance, shares, noise), len(hits), confidence)
    p_value = yardstick.p_value(paired.mean())
    return Difference(name, best, float(POINTS * paired.mean()), p_value, p_value > 1 - confidence, yardstick)


def _by_mcnemar(hits: Mapping[str, np.ndarray], best: str, confidence: float) -> list[Difference]:
    pairs = list(combinations(hits, 2))
    p_values = holm(np.array([mcnemar_p_value(hits[a][0], hits[b][0]) for a, b in pairs]))
    found = {frozenset(pair): float(p_value) for pair, p_value in zip(pairs, p_values, strict=True)}
    return [
        Difference(
            name=name,
            best=best,
            points=float(POINTS * (runs.mean() - hits[best].mean())),
            p_value=found[frozenset((name, best))],
            tied=found[frozenset((name, best))] > 1 - confidence,
        )
        for name, runs in hits.items()
        if name != best
    ]


def _freedom(variance: float, shares: float, noise: Noise) -> float:
    """Degrees of freedom of a variance of which only the part from runs is uncertain (Satterthwaite 1946)."""
    uncertain = shares * (noise.seed + noise.chance)
    return max(noise.freedom, noise.freedom * (variance / uncertain) ** 2) if uncertain > 0 else np.inf
