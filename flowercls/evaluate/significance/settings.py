"""The test of whether settings differ on the same photos, with photo noise and seed noise counted.

A setting is a matrix of hits (seeds, photos). The question is: *trained again with other seeds, and tested on other
photos like these, would the difference remain?* With one seed a setting, seed noise cannot be seen. The question is
then: *would these very models differ on other photos?*

The variance of a difference of two mean accuracies is

    V = A + B (1/R_s + 1/R_t)

- A, the photo part: the variance over photos of the difference of the two settings' mean hits, divided by the number
  of photos. Photos that both find hard cancel. A is at least the variance of one photo.
- B, the seed part: the variance of accuracy over seeds, pooled over settings, less the part that photos hit by chance
  explain, which A holds already.
- R: the numbers of seeds.

A difference d counts if d / sqrt(V) exceeds the range of that many equal settings (Tukey's studentised range, with
Satterthwaite's degrees of freedom). So any number of equal settings whose seeds scatter alike get *any* wrong verdict
in at most 5 of 100 comparisons. Three seeds cannot show how much a single setting scatters: one setting that scatters
ten times more than four others raises the 5 to 11.

Single runs are compared by McNemar's exact test with Holm's correction over all pairs. The interval beside it is
Wald's, for all pairs together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations

import numpy as np
from scipy.stats import binomtest, studentized_range, t

from flowercls.evaluate.intervals import CONFIDENCE, paired_half_width, wilson_interval
from flowercls.evaluate.significance.noise import Noise, satterthwaite_dof

ERROR_RATE = 0.05  # share of comparisons of equal settings that have any wrong verdict, at most
VERDICT_CONFIDENCE = 1 - ERROR_RATE
POINTS = 100.0  # percentage points of a share
MIN_PHOTOS_KNOWN = 100  # from here on, the variance over photos is taken as known


def is_tied(p_value: float, confidence: float) -> bool:
    """Decide whether a difference may be none: the one rule for settings, factors and single runs.

    Args:
        p_value: Corrected for the number of comparisons.
        confidence: Of all verdicts of the comparison together, in (0, 1).
    """
    return p_value > 1 - confidence


@dataclass(frozen=True)
class SettingScore:
    """Accuracy of one setting, in percent.

    Attributes:
        name: Of the setting.
        top1: Mean over seeds.
        spread: Standard deviation over seeds; None with one seed.
        num_seeds: Number of runs.
        interval: Of the mean, on other photos and with other seeds (with one seed: on other photos).
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
        best: Name of the best setting.
        points: Difference of the means.
        p_value: Corrected for the number of comparisons.
        tied: Whether the difference may be none.
        compute_half_width: Returns the half width of the interval in points; slow, so called only when needed.
    """

    name: str
    best: str
    points: float
    p_value: float
    tied: bool
    compute_half_width: Callable[[], float] = field(repr=False)

    @cached_property
    def half_width(self) -> float:
        """Half width of the interval, in points."""
        return self.compute_half_width()

    @property
    def interval(self) -> tuple[float, float]:
        """Interval for all differences of the comparison together, in points."""
        return self.points - self.half_width, self.points + self.half_width

    @property
    def at_least(self) -> float | None:
        """The least by which the setting is worse, in points; None if it is tied or its interval reaches 0."""
        # McNemar's test decides alone, and can call a difference significant whose interval reaches 0.
        return -self.interval[1] if not self.tied and self.interval[1] < 0 else None


@dataclass(frozen=True)
class RangeTest:
    """Tukey's studentised range as the test of a difference of mean accuracies, as shares.

    Attributes:
        variance: Of the difference.
        dof: Degrees of freedom of ``variance``.
        num_settings: In the whole comparison.
        confidence: Of all its verdicts together.
    """

    variance: float
    dof: float
    num_settings: int
    confidence: float

    def p_value(self, difference: float) -> float:
        """Return how often the range of so many equal settings is at least ``difference``."""
        return float(studentized_range.sf(abs(difference) / self._unit, self.num_settings, self.dof))

    def critical_difference(self, quantile: Callable[[float], float] | None = None) -> float:
        """Return the smallest difference that is not tied.

        Args:
            quantile: The range's quantile by degrees of freedom, where a fast approximation exists.
        """
        if quantile is None:
            return float(self._unit * studentized_range.ppf(self.confidence, self.num_settings, self.dof))
        return float(self._unit * quantile(self.dof))

    @property
    def _unit(self) -> float:
        return float(np.sqrt(self.variance / 2))  # a range is counted in standard errors of one mean


def score_settings(hits: Mapping[str, np.ndarray], confidence: float = CONFIDENCE) -> list[SettingScore]:
    """Return the accuracy of every setting with its interval, in the given order.

    Args:
        hits: By setting: whether each run was right, bool, shape (seeds, N), on the same N photos in one order.
        confidence: Coverage of the intervals.
    """
    noise = Noise.of(hits)
    return [_score(name, np.asarray(runs), noise, confidence) for name, runs in hits.items()]


def _score(name: str, runs: np.ndarray, noise: Noise, confidence: float) -> SettingScore:
    (num_seeds, num_photos), share = runs.shape, runs.mean()
    if not np.isfinite(noise.dof):  # single runs everywhere
        interval = wilson_interval(int(runs.sum()), num_photos, confidence)
        return SettingScore(name, float(POINTS * share), None, num_seeds, interval)
    variance = runs.mean(axis=0).var(ddof=1) / num_photos + noise.seed / num_seeds
    z = t.ppf(0.5 + confidence / 2, satterthwaite_dof(variance, [(noise.total / num_seeds, noise.dof)]))
    # The number of independent photos whose share would be as uncertain: Wilson's interval of it stays in 0-100.
    # Near 0 and 100 %, hits alone would show no noise, so both sides get what z^2 / 2 more misses would add.
    unseen = z**2 / (2 * num_photos)
    effective = (share * (1 - share) + unseen) / (variance + unseen / num_photos)
    interval = wilson_interval(effective * share, effective, z=z)
    spread = float(POINTS * runs.mean(axis=1).std(ddof=1)) if num_seeds > 1 else None
    return SettingScore(name, float(POINTS * share), spread, num_seeds, interval)


def best_setting(hits: Mapping[str, np.ndarray]) -> str:
    """Return the setting with the highest mean accuracy, the first of equal ones; ``hits`` as in `score_settings`."""
    return max(hits, key=lambda name: hits[name].mean())


def differences_to_best(hits: Mapping[str, np.ndarray], confidence: float = VERDICT_CONFIDENCE) -> list[Difference]:
    """Compare every setting with the `best_setting`, which is left out.

    Args:
        hits: As in `score_settings`.
        confidence: Of all verdicts together.
    """
    best = best_setting(hits)
    if all(len(runs) == 1 for runs in hits.values()):
        return _compare_single_runs(hits, best, confidence)
    noise = Noise.of(hits)
    return [_compare_with_seeds(hits, name, best, noise, confidence) for name in hits if name != best]


def _compare_with_seeds(hits, name: str, best: str, noise: Noise, confidence: float) -> Difference:
    share, test = range_test(hits, {name: 1, best: -1}, noise, len(hits), confidence)
    p_value = test.p_value(share)
    tied = is_tied(p_value, confidence)
    return Difference(name, best, POINTS * share, p_value, tied, lambda: POINTS * test.critical_difference())


def range_test(
    hits: Mapping[str, np.ndarray], weights: Mapping[str, float], noise: Noise, num_compared: int, confidence: float
) -> tuple[float, RangeTest]:
    """Return a weighted sum of settings' mean accuracies, as a share, and the test of it.

    Args:
        hits: As in `score_settings`.
        weights: By setting; they sum to 0. The difference of two settings is 1 and -1.
        noise: Of ``hits``.
        num_compared: Number of such means that are compared with each other.
        confidence: Of all those comparisons together.
    """
    paired = sum(weight * hits[name].mean(axis=0) for name, weight in weights.items())
    num_photos = len(paired)
    photo_part = max(paired.var(ddof=1) / num_photos, 1 / num_photos**2)
    per_seed = sum(weight**2 / len(hits[name]) for name, weight in weights.items())
    variance = float(photo_part + noise.seed * per_seed)
    estimates = [(noise.total * per_seed, noise.dof)]
    if num_photos < MIN_PHOTOS_KNOWN:
        estimates.append((photo_part, num_photos - 1))
    dof = satterthwaite_dof(variance, estimates)
    return float(paired.mean()), RangeTest(variance, dof, num_compared, confidence)


def _compare_single_runs(hits: Mapping[str, np.ndarray], best: str, confidence: float) -> list[Difference]:
    pairs = list(combinations(hits, 2))
    corrected = holm(np.array([mcnemar_p_value(hits[a][0], hits[b][0]) for a, b in pairs]))
    p_values = {frozenset(pair): float(p_value) for pair, p_value in zip(pairs, corrected, strict=True)}
    differences = []
    for name, runs in hits.items():
        if name != best:
            p_value = p_values[frozenset((name, best))]
            points = float(POINTS * (runs.mean() - hits[best].mean()))
            half_width = partial(paired_half_width, runs[0], hits[best][0], 1 - (1 - confidence) / len(pairs))
            differences.append(Difference(name, best, points, p_value, is_tied(p_value, confidence), half_width))
    return differences


def mcnemar_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Return the exact two-sided p-value of McNemar's test: are two models right equally often?

    It answers for these very models on other photos like these, not for models trained with other seeds.

    Args:
        first: Whether the first model is right, bool, shape (N,).
        second: The same for the second model, on the same photos, shape (N,).

    Source:
        McNemar 1947, in its exact form: photos that only one model gets right count as tosses of a coin.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    num_tosses = only_first + only_second
    return binomtest(only_first, num_tosses).pvalue if num_tosses else 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values, shape (M,), for their number: all verdicts together keep the error rate of one.

    Source:
        Holm 1979.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values)[order]))
    return corrected
