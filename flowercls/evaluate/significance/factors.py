"""The effect of each factor of a grid, averaged over all other factors.

Averaging is fair only if every combination of levels was run. Question, noise and range test are as in
`significance`: a level's accuracy is the mean of its settings', and levels are compared on the same photos. For factors
without effect, all verdicts on all factors together are wrong in at most 5 of 100 grids. Single runs get differences
only, since their seed noise is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from flowercls.evaluate.significance.noise import Noise
from flowercls.evaluate.significance.settings import POINTS, VERDICT_CONFIDENCE, is_tied, range_test


@dataclass(frozen=True)
class Effect:
    """One level of a factor against the factor's best level.

    Attributes:
        factor: Its name.
        level: As reports write it.
        best: The level with the highest mean accuracy.
        top1: Mean over all settings with this level, in percent.
        points: Difference to the best level, in points; 0 for the best level.
        half_width: Of its interval, in points; None with single runs, as the next two.
        p_value: Corrected for the number of levels and of factors.
        tied: Whether the difference may be none.
    """

    factor: str
    level: str
    best: str
    top1: float
    points: float
    half_width: float | None
    p_value: float | None
    tied: bool | None


def is_balanced(levels: Mapping[str, Mapping[str, str]]) -> bool:
    """Return whether there are two factors or more, and each combination of their levels exists exactly once.

    Args:
        levels: By setting: the level of each factor by its name.
    """
    rows = [tuple(factors.values()) for factors in levels.values()]
    counts = [len(set(column)) for column in zip(*rows, strict=True)]
    return sum(count > 1 for count in counts) > 1 and len(set(rows)) == len(rows) == prod(counts)


def factor_effects(
    hits: Mapping[str, np.ndarray], levels: Mapping[str, Mapping[str, str]], confidence: float = VERDICT_CONFIDENCE
) -> list[Effect]:
    """Return the effect of every factor's levels; an empty list if the grid is not balanced.

    Args:
        hits: As in `score_settings`.
        levels: As in `is_balanced`.
        confidence: Of all verdicts together.
    """
    if not is_balanced(levels):
        return []
    factors = [name for name in next(iter(levels.values())) if len({row[name] for row in levels.values()}) > 1]
    noise, effects = Noise.of(hits), []
    for factor in factors:
        settings_of: dict[str, list[str]] = {}
        for setting, row in levels.items():
            settings_of.setdefault(row[factor], []).append(setting)
        top1 = {level: POINTS * float(np.mean([hits[s].mean() for s in names])) for level, names in settings_of.items()}
        best = max(top1, key=top1.get)
        for level in settings_of:
            tested = (0.0, 0.0, 1.0, True)
            if level != best:
                tested = _test_level(hits, settings_of[level], settings_of[best], noise, len(top1), confidence, factors)
            effects.append(Effect(factor, level, best, top1[level], *tested))
    return effects


def _test_level(hits, settings, best_settings, noise: Noise, num_levels: int, confidence: float, factors) -> tuple:
    """Return points, half width, p-value and tie of a level against the best one."""
    weights = {s: 1 / len(settings) for s in settings} | {s: -1 / len(best_settings) for s in best_settings}
    # Bonferroni's correction over the factors; the range serves the levels of one factor.
    share, test = range_test(hits, weights, noise, num_levels, 1 - (1 - confidence) / len(factors))
    if not np.isfinite(noise.dof):
        return POINTS * share, None, None, None
    p_value = min(1.0, len(factors) * test.p_value(share))
    return POINTS * share, POINTS * test.critical_difference(), p_value, is_tied(p_value, confidence)
