"""The rows of a comparison's tables: of each setting, and of each level of a factor."""

from dataclasses import dataclass

from flowercls.compare.comparison import Comparison


@dataclass(frozen=True)
class SettingRow:
    """A row of ``comparison.csv``: percentages are 0-100, differences are in points, None is an empty cell."""

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


@dataclass(frozen=True)
class EffectRow:
    """A row of ``comparison_effects.csv``: the best level has no difference, and single runs have no verdict."""

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
NO_VERDICT, IS_BEST = (None,) * 5, (None, None, None, None, 'best')


def setting_rows(comparison: Comparison) -> list[SettingRow]:
    """Return a row for each setting."""
    differences = {difference.name: difference for difference in comparison.differences}
    test_scores = {score.name: score for score in comparison.test_scores}
    rows = []
    for score in comparison.scores:
        accuracy = (score.top1, score.spread, *score.interval)
        compared = IS_BEST if differences else NO_VERDICT
        if d := differences.get(score.name):
            compared = (d.points, *d.interval, d.p_value, 'tied' if d.tied else 'worse')
        test = test_scores.get(score.name)
        tested = (test.top1, *test.interval) if test else (None, None, None)
        rows.append(SettingRow(score.name, score.num_seeds, comparison.num_photos, *accuracy, *compared, *tested))
    return rows


def effect_rows(comparison: Comparison) -> list[EffectRow]:
    """Return a row for each level of each factor."""
    rows = []
    for e in comparison.effects:
        compared = (e.points, *NO_VERDICT[1:])  # of single runs
        if e.level == e.best:
            compared = IS_BEST
        elif e.half_width is not None:
            interval = (e.points - e.half_width, e.points + e.half_width)
            compared = (e.points, *interval, e.p_value, 'tied' if e.tied else 'worse')
        rows.append(EffectRow(e.factor, e.level, comparison.num_photos, e.top1, *compared))
    return rows
