"""The rows of a comparison's tables, of each setting and of each level of a factor, and the words of their verdicts."""

import math
from dataclasses import dataclass

from flowercls.compare.comparison import Comparison
from flowercls.evaluate.significance.settings import Difference

# The verdict on a setting, in tables, files, pictures and pages. One that is ruled out as best need not be worse.
BEST, MAY_BE_BEST, RULED_OUT, WORSE = 'best', 'may be best', 'ruled out', 'worse'
# On a level of a factor: `BEST`, `WORSE` or this one.
NOT_TOLD_APART = 'not told apart'
# On the model of a single run: this one, `NOT_TOLD_APART`, or the last.
MOST_RIGHT, FEWER_RIGHT = 'most right', 'fewer right'


@dataclass(frozen=True)
class SettingRow:
    """A row of ``comparison.csv``: percentages are 0-100, differences are in points, None is an empty cell.

    Differences and verdicts are on settings, with single runs under an assumed scatter of seeds. ``model_`` are those
    on the models themselves, if each setting was run once. ``top1`` is of the last epoch; ``best_epoch_top1`` is
    expected to be too high by ``best_epoch_optimism``.
    """

    setting: str
    seeds: int
    photos: int
    top1: float
    top1_spread: float | None
    top1_low: float
    top1_high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    verdict: str | None
    test_top1: float | None
    test_top1_low: float | None
    test_top1_high: float | None
    model_low: float | None = None
    model_high: float | None = None
    model_p_value: float | None = None
    model_verdict: str | None = None
    best_epoch_top1: float | None = None
    best_epoch_optimism: float | None = None


@dataclass(frozen=True)
class EffectRow:
    """A row of ``comparison_effects.csv``: the best level has no difference; verdicts may be withheld."""

    factor: str
    level: str
    photos: int
    top1: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    verdict: str | None


# Difference, both ends of its interval, p-value and verdict.
NO_VERDICT, IS_BEST = (None,) * 5, (None, None, None, None, BEST)


def verdict_on(difference: Difference) -> str | None:
    """Return the verdict on a setting that is not the best one; None where nothing can be computed."""
    if math.isnan(difference.p_value):
        return None
    if difference.is_worse:
        return WORSE
    return MAY_BE_BEST if difference.may_be_best else RULED_OUT


def setting_rows(comparison: Comparison) -> list[SettingRow]:
    """Return a row for each setting."""
    differences = {difference.name: difference for difference in comparison.verdict.differences}
    test_scores = {score.name: score for score in comparison.test_scores}
    is_single_runs = comparison.hits.is_single_runs
    rows = []
    for score in comparison.verdict.scores:
        compared, model = NO_VERDICT, NO_VERDICT[1:]
        if d := differences.get(score.name):
            compared = d.points, *NO_VERDICT[1:]
            if verdict := verdict_on(d):
                low, high = d.interval
                compared = (d.points, max(low, -100.0), min(high, 100.0), d.p_value, verdict)
            if d.model:
                told = FEWER_RIGHT if d.model.is_worse else NOT_TOLD_APART
                model = (*d.model.interval, d.model.p_value, told)
        elif differences:
            compared = IS_BEST
            if is_single_runs:
                model = (None, None, None, MOST_RIGHT)
                if any(verdict_on(d) != WORSE for d in differences.values()):  # then no setting is called better
                    compared = (*NO_VERDICT[:4], MAY_BE_BEST)
        test, best_epochs = test_scores.get(score.name), comparison.best_epochs.get(score.name)
        rows.append(
            SettingRow(
                *(score.name, score.num_seeds, comparison.num_photos, score.top1, score.spread, *score.interval),
                *compared,
                *((test.top1, *test.interval) if test else (None, None, None)),
                *model,
                *((best_epochs.top1, best_epochs.optimism) if best_epochs else (None, None)),
            )
        )
    return rows


def effect_rows(comparison: Comparison) -> list[EffectRow]:
    """Return a row for each level of each factor."""
    rows, effects = [], comparison.factors.effects if comparison.factors else []
    has_verdicts = any(effect.is_worse is not None for effect in effects)  # not with single runs or an interaction
    for e in effects:
        compared = e.points, *NO_VERDICT[1:]
        if e.level == e.best:
            compared = IS_BEST if has_verdicts else NO_VERDICT
        elif e.is_worse is not None and not math.isnan(e.p_value):
            interval = e.points - e.half_width, e.points + e.half_width
            compared = e.points, *interval, e.p_value, WORSE if e.is_worse else NOT_TOLD_APART
        rows.append(EffectRow(e.factor, e.level, comparison.num_photos, e.top1, *compared))
    return rows
