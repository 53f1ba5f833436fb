"""Which settings are really different: differences on the same photos, with photo noise and seed noise counted.

Every setting is a matrix of hits (seeds, photos). The question answered is: *trained again with other seeds, and tested
on other photos like these, would the difference remain?* With one seed a setting, where seed noise cannot be seen, it
is: *would these very models differ on other photos?* (`SEEDS_UNSEEN`).

The variance of a difference of two mean accuracies is

    V = A + B (1/R_s + 1/R_t)

A, the photo part, is the variance over photos of the difference of the two settings' mean hits, divided by the number
of photos: what both find hard cancels; it is no less than that of one photo. B, the seed part, is the variance of
accuracy over seeds, pooled over settings, less what photos hit by chance explain of it, which A holds already; R are
the numbers of seeds. A difference d counts if d / sqrt(V) is beyond what the range of that many equal settings reaches
(Tukey's studentised range, with Satterthwaite's degrees of freedom): so in one comparison of any number of equal
settings whose seeds scatter alike, *any* wrong verdict comes in at most 5 of 100 comparisons. (Three seeds cannot tell
how much one setting's scatter: one that scatters ten times more than four others raises that to 11.) Between single
runs McNemar's exact test, with Holm's correction over all pairs, takes its place; the interval beside it is the normal
distribution's, for all pairs together, widened by one photo.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy.stats import norm, studentized_range, t

from flowercls.evaluate.intervals import holm, mcnemar_p_value, wilson_interval
from flowercls.evaluate.noise import Noise, degrees_of_freedom, freedom_of

SEEDS_UNSEEN = 'one seed a setting: the verdict is about these very models, another seed may turn it'
POINTS = 100.0  # percentage points of a share
MANY_PHOTOS = 100  # from here on the variance over photos is taken as known


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
        measure: The half width of its interval, or what that comes from: it takes longer than all the rest.
    """

    name: str
    best: str
    points: float
    p_value: float
    tied: bool
    measure: 'float | Yardstick'

    @cached_property
    def half_width(self) -> float:
        """Of its interval, in points."""
        return POINTS * self.measure.smallest_difference() if isinstance(self.measure, Yardstick) else self.measure

    @property
    def interval(self) -> tuple[float, float]:
        """For all differences of the comparison together, in points."""
        return self.points - self.half_width, self.points + self.half_width

    @property
    def at_least(self) -> float | None:
        """How much worse the setting is at least, in points; None if it is tied or nothing can be said."""
        # McNemar's test decides by itself, and can find a difference that its interval does not.
        return -self.interval[1] if not self.tied and self.interval[1] < 0 else None


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
        return float(studentized_range.sf(abs(difference) / self._unit, self.num_settings, self.freedom))

    def smallest_difference(self) -> float:
        """The smallest one that counts, as a share."""
        return float(self._unit * studentized_range.ppf(self.confidence, self.num_settings, self.freedom))

    @property
    def _unit(self) -> float:
        return float(np.sqrt(self.variance / 2))  # a range is counted in standard errors of one mean


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
    top1 = float(POINTS * runs.mean())
    if not np.isfinite(noise.freedom):  # single runs everywhere: of other photos alone
        return SettingScore(name, top1, None, num_seeds, wilson_interval(int(runs.sum()), num_photos, confidence))
    variance = runs.mean(axis=0).var(ddof=1) / num_photos + noise.seed / num_seeds
    quantile = t.ppf(0.5 + confidence / 2, degrees_of_freedom(variance, 1 / num_seeds, noise))
    effective = _effective_photos(runs.mean(), variance, num_photos, quantile)
    interval = wilson_interval(effective * runs.mean(), effective, z=quantile)
    spread = float(POINTS * runs.mean(axis=1).std(ddof=1)) if num_seeds > 1 else None
    return SettingScore(name, top1, spread, num_seeds, interval)


def _effective_photos(share: float, variance: float, num_photos: int, quantile: float) -> float:
    """The number of independent photos whose share would be as uncertain; Wilson's interval of it stays in 0-100."""
    # Near 0 and 100 % hits alone would say that there is no noise: both get what quantile^2 / 2 more misses would add.
    unseen = quantile**2 / (2 * num_photos)
    return (share * (1 - share) + unseen) / (variance + unseen / num_photos)


def measure_contrast(
    hits: Mapping[str, np.ndarray], weights: Mapping[str, float], noise: Noise, num_compared: int, confidence: float
) -> tuple[float, Yardstick]:
    """A weighted sum of settings' mean accuracies, as a share, and what it is measured by.

    Args:
        hits: As `score_settings`.
        weights: By setting; they sum to 0. The difference of two settings is 1 and -1.
        noise: Of ``hits``.
        num_compared: How many such means are compared with each other.
        confidence: Of all those comparisons together.
    """
    paired = sum(weight * hits[name].mean(axis=0) for name, weight in weights.items())
    num_photos = len(paired)
    of_photos = max(paired.var(ddof=1) / num_photos, 1 / num_photos**2)
    shares = sum(weight**2 / len(hits[name]) for name, weight in weights.items())
    variance = float(of_photos + noise.seed * shares)
    uncertain = [(noise.total * shares, noise.freedom)]
    if num_photos < MANY_PHOTOS:
        uncertain.append((of_photos, num_photos - 1))
    return float(paired.mean()), Yardstick(variance, freedom_of(variance, uncertain), num_compared, confidence)


def _by_range(hits: Mapping[str, np.ndarray], name: str, best: str, noise: Noise, confidence: float) -> Difference:
    share, yardstick = measure_contrast(hits, {name: 1, best: -1}, noise, len(hits), confidence)
    p_value = yardstick.p_value(share)
    return Difference(name, best, POINTS * share, p_value, p_value > 1 - confidence, yardstick)


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
            measure=_half_width_of_pair(runs[0], hits[best][0], (1 - confidence) / len(pairs)),
        )
        for name, runs in hits.items()
        if name != best
    ]


def _half_width_of_pair(one: np.ndarray, other: np.ndarray, error: float) -> float:
    """Of the difference of two runs, in points: Wald's with Edwards' (1948) correction for whole photos."""
    paired = one.astype(float) - other
    num_photos = len(paired)
    return float(POINTS * (norm.ppf(1 - error / 2) * np.sqrt(paired.var() / num_photos) + 1 / num_photos))
