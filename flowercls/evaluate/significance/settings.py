"""The verdict on settings: which may be the best, and which are worse than the best one.

A setting is a matrix of hits (seeds, photos). The question is: *trained again with other seeds, and tested on other
photos like these, would the difference remain?* `noise` holds the variance of a difference. Two answers are given.

- **Which settings may be the best?** A setting is ruled out if another one is too far ahead of it (Hsu's comparison
  with the best). The lead is compared with chance leads over the true best among so many equal settings. The true best
  is ruled out in at most 5 of 100 comparisons. Among equal settings each one may be called best, so one that is ruled
  out need not be worse.
- **Which settings are worse than the best one, and by how much at least?** A difference counts if it exceeds the range
  of so many equal settings (Tukey's studentised range). At most 5 of 100 comparisons of equal settings call any of them
  worse. This answer needs a larger difference.

Single runs show nothing about seeds. Their settings are judged with an assumed scatter of seeds. The models themselves
are compared in `single_runs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri, stdtrit

from flowercls.evaluate.intervals import CONFIDENCE, wilson_interval
from flowercls.evaluate.significance.critical_values import lead_of, range_of
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import Noise
from flowercls.evaluate.significance.single_runs import ModelDifference, compare_models

ERROR_RATE = 0.05  # share of comparisons of equal settings that have any wrong verdict, at most
ASSUMED_SCATTER = 1.0  # points that seeds are assumed to scatter by, where no setting was repeated
POINTS = 100.0  # percentage points of a share


@dataclass(frozen=True)
class SettingScore:
    """Accuracy of one setting, in percent.

    Attributes:
        name: Of the setting.
        top1: Mean over seeds.
        spread: Standard deviation over seeds; None with one seed.
        num_seeds: Number of runs.
        interval: Of the mean, on other photos and with other seeds (with one seed: on other photos). The lower end of
            the best setting's allows for its choice among all settings.
    """

    name: str
    top1: float
    spread: float | None
    num_seeds: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """One setting against the best one, in percentage points; negative is worse.

    Attributes:
        name: Of the setting.
        best: Name of the best setting.
        points: Difference of the means.
        p_value: Corrected for the number of settings; NaN is never a verdict.
        is_worse: Whether the setting is worse than the best one.
        may_be_best: Whether the setting may be the best of all.
        half_width: Of the interval, in points.
        model: The same for the models themselves, if each setting was run once; else None.
    """

    name: str
    best: str
    points: float
    p_value: float
    is_worse: bool
    may_be_best: bool
    half_width: float
    model: ModelDifference | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """Interval for all differences of the comparison together, in points."""
        return self.points - self.half_width, self.points + self.half_width

    @property
    def at_least(self) -> float | None:
        """The least by which the setting is worse, in points; None if it is not worse."""
        return -self.interval[1] if self.is_worse else None


@dataclass(frozen=True)
class Verdict:
    """Everything that is said about settings.

    Attributes:
        best: Name of the setting with the highest mean accuracy, the first of equal ones.
        scores: Of all settings, in their order.
        differences: Of all settings but the best, to the best.
        noise: The variances behind it.
        error_rate: Of all verdicts together.
    """

    best: str
    scores: list[SettingScore]
    differences: list[Difference]
    noise: Noise = field(repr=False)
    error_rate: float = ERROR_RATE


def judge_settings(hits: Hits, error_rate: float = ERROR_RATE, assumed_scatter: float = ASSUMED_SCATTER) -> Verdict:
    """Compare every setting with the best one.

    Args:
        hits: Of all settings, on the same photos.
        error_rate: Of all verdicts together, in (0, 1).
        assumed_scatter: Standard deviation of accuracy that seeds are assumed to cause, in points. It counts only if
            each setting was run once, without folds.
    """
    names = list(hits.by_setting)
    means = np.array([runs.mean() for runs in hits.by_setting.values()])
    best = int(means.argmax())
    noise = Noise.of(hits, assumed_scatter)
    photos_only = Noise.of(hits) if hits.is_single_runs else noise
    scores = [_score(name, number, hits, photos_only, is_selected=number == best) for number, name in enumerate(names)]
    verdict = Verdict(names[best], scores, [], noise, error_rate)
    others = [i for i in range(len(names)) if i != best]
    if not others:
        return verdict

    identity = np.eye(len(names))
    variances, dof = np.array([noise.variance(identity[i] - identity[best]) for i in others]).T
    errors, points = np.sqrt(variances), means[others] - means[best]
    # A range is counted in standard errors of one mean, a lead in those of a difference.
    p_values = range_of(len(names)).p_values(np.abs(points) * np.sqrt(2) / errors, dof)
    lead_p_values = lead_of(len(names)).p_values(np.abs(points) / errors, dof)
    half_widths = range_of(len(names)).critical_values(error_rate, dof) * errors / np.sqrt(2)
    models: Mapping[str, ModelDifference] = {}
    if hits.is_single_runs:
        models = {model.name: model for model in compare_models(hits, names[best], error_rate)}
    for i, number in enumerate(others):
        model = models.get(names[number])
        # A setting is not worse where not even its model is. NaN is no verdict.
        is_worse = bool(p_values[i] <= error_rate) and (model is None or model.is_worse)
        half_width = half_widths[i] if is_worse else np.maximum(half_widths[i], np.abs(points[i]))
        verdict.differences.append(
            Difference(
                name=names[number],
                best=names[best],
                points=float(POINTS * points[i]),
                p_value=float(p_values[i]),
                is_worse=is_worse,
                may_be_best=not lead_p_values[i] <= error_rate,
                half_width=float(POINTS * half_width),
                model=model,
            )
        )
    return verdict


def score_settings(hits: Hits) -> list[SettingScore]:
    """Return the accuracy of every setting with its interval, in the given order, where no figure was selected.

    Args:
        hits: Of all settings, on the same photos.
    """
    noise = Noise.of(hits)
    return [_score(name, number, hits, noise, is_selected=False) for number, name in enumerate(hits.by_setting)]


def _score(name: str, number: int, hits: Hits, noise: Noise, *, is_selected: bool) -> SettingScore:
    runs = np.asarray(hits.by_setting[name])
    (num_seeds, num_photos), share = runs.shape, runs.mean()
    variance, dof = noise.variance(np.eye(len(hits.by_setting))[number])
    error_rate = 1 - CONFIDENCE
    # Each setting could have been the highest by chance (Bonferroni); being the highest makes none look lower.
    too_high = error_rate / 2 / (len(hits.by_setting) if is_selected else 1)
    bounds = []
    for rate, end in ((too_high, 0), (error_rate / 2, 1)):
        z = -float(stdtrit(dof, rate) if np.isfinite(dof) else ndtri(rate))
        # The number of independent photos whose share would be as uncertain: Wilson's interval of it stays in 0-100.
        # Near 0 and 100 %, hits alone would show no noise, so both sides get what z^2 / 2 more misses would add.
        unseen = z**2 / (2 * num_photos)
        effective = num_photos
        if not (hits.is_single_runs and noise.num_groups == num_photos):
            effective = (share * (1 - share) + unseen) / (variance + unseen / num_photos)
        bounds.append(wilson_interval(effective * share, effective, z=z)[end])
    spread = float(POINTS * runs.mean(axis=1).std(ddof=1)) if num_seeds > 1 else None
    return SettingScore(name, float(POINTS * share), spread, num_seeds, (bounds[0], bounds[1]))
