"""What each factor of a grid does by itself, averaged over all others.

Only where every combination of levels was run is an average over the others fair. The question, the noise and the
range are those of `comparison`: a level's accuracy is the mean of its settings', and levels are compared on the same
photos. All verdicts on all factors together are wrong in at most 5 of 100 grids of factors without effect. Of single
runs only the differences are told: seeds nobody has seen cannot be counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from flowercls.evaluate.noise import Noise
from flowercls.evaluate.significance import POINTS, measure_contrast


@dataclass(frozen=True)
class Effect:
    """One level of a factor against the factor's best level.

    Attributes:
        factor: Its name.
        level: As reports write it.
        best: The level with the highest mean accuracy.
        top1: Mean over all settings with this level, in percent.
        points: Difference to the best level, in points; 0 for itself.
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
    """Whether there are two factors or more, and each combination of their levels is there exactly once.

    Args:
        levels: By setting: the level of each factor by its name.
    """
    rows = [tuple(factors.values()) for factors in levels.values()]
    counts = [len(set(column)) for column in zip(*rows, strict=True)]
    return sum(count > 1 for count in counts) > 1 and len(set(rows)) == len(rows) == prod(counts)


def factor_effects(
    hits: Mapping[str, np.ndarray], levels: Mapping[str, Mapping[str, str]], confidence: float = 0.95
) -> list[Effect]:
    """The effect of every factor's levels; nothing if the grid is not balanced.

    Args:
        hits: As `comparison.score_settings`.
        levels: As `is_balanced`.
        confidence: Of all verdicts together.
    """
    if not is_balanced(levels):
        return []
    names = [name for name in next(iter(levels.values())) if len({row[name] for row in levels.values()}) > 1]
    each = 1 - (1 - confidence) / len(names)  # Bonferroni over factors; the range serves the levels of one
    noise = Noise.of(hits)
    return [effect for name in names for effect in _effects(hits, name, levels, noise, each, len(names))]


def _effects(hits, factor: str, levels, noise: Noise, confidence: float, num_factors: int) -> list[Effect]:
    members: dict[str, list[str]] = {}
    for setting, row in levels.items():
        members.setdefault(row[factor], []).append(setting)
    top1 = {level: POINTS * float(np.mean([hits[name].mean() for name in names])) for level, names in members.items()}
    best = max(top1, key=top1.get)
    found = []
    for level, names in members.items():
        if level == best:
            measured = (0.0, 0.0, 1.0, True)
        else:
            weights = {name: 1 / len(names) for name in names} | {n: -1 / len(members[best]) for n in members[best]}
            measured = _measured(hits, weights, noise, len(members), confidence, num_factors)
        found.append(Effect(factor, level, best, top1[level], *measured))
    return found


def _measured(hits, weights, noise, num_levels: int, confidence: float, num_factors: int) -> tuple:
    """Points, half width, p-value, tied."""
    share, yardstick = measure_contrast(hits, weights, noise, num_levels, confidence)
    if not np.isfinite(noise.freedom):
        return POINTS * share, None, None, None
    p_value = yardstick.p_value(share)
    half = POINTS * yardstick.smallest_difference()
    return POINTS * share, half, min(1.0, num_factors * p_value), p_value > 1 - confidence
