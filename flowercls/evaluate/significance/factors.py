"""The effect of each factor of a grid, averaged over all other factors, where that is fair.

A level's accuracy is the mean of its settings'. Levels of one factor are compared by the range of so many equal levels,
with the noise of `noise`. For factors without effect, all verdicts on all factors together are wrong in at most 5 of
100 grids (Bonferroni's correction over the factors). No verdict is given in four cases:

- **Combinations are missing.** Then levels are not averaged over the same settings, and there are no effects at all.
- **The factors interact**: the effect of one depends on the level of another. The mean of a level then describes none
  of its settings. The test is an ANOVA-type statistic: the sum of squares of everything beyond the main effects, over
  its expectation under noise alone. Box's approximation makes it an F variable although the means are correlated and
  scatter differently (Brunner, Dette and Munk 1997).
- **A setting scatters far more than the others**, as with a collapsed run. It hides what its levels do elsewhere.
- **Each setting was run once.** Nothing shows the noise of seeds, so neither effects nor interactions can be tested.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

import numpy as np
from scipy.linalg import null_space
from scipy.stats import f as f_distribution

from flowercls.evaluate.significance.critical_values import MAX_DOF, range_of
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import SPOILS_POOL, Noise
from flowercls.evaluate.significance.settings import ERROR_RATE, POINTS

INTERACTION_LEVEL = 0.05  # share of grids without interaction that are said to have one


@dataclass(frozen=True)
class Effect:
    """One level of a factor against the factor's best level.

    Attributes:
        factor: Its name.
        level: As reports write it.
        best: The level with the highest mean accuracy, the first of equal ones.
        top1: Mean over all settings with this level, in percent.
        points: Difference to the best level, in points; 0 for the best level.
        half_width: Of its interval, in points; None without a verdict and for the best level, as the next two.
        p_value: Corrected for the number of levels and of factors.
        is_worse: Whether the level is worse than the best one, averaged over the other factors.
    """

    factor: str
    level: str
    best: str
    top1: float
    points: float
    half_width: float | None = None
    p_value: float | None = None
    is_worse: bool | None = None


@dataclass(frozen=True)
class Factors:
    """What a grid shows about its factors.

    Attributes:
        names: Of the factors with two levels or more.
        effects: Of every level; empty if combinations are missing.
        missing: The combinations of levels that no setting has.
        interaction_p: Of the test of additivity of all factors together; None if it was not tested.
        spoiled_by: Names of the settings that scatter far more than the others.
    """

    names: list[str]
    effects: list[Effect]
    missing: list[dict[str, str]]
    interaction_p: float | None
    spoiled_by: list[str] = field(default_factory=list)

    @property
    def has_interaction(self) -> bool:
        """Whether the effect of a factor depends on the others, beyond chance."""
        return self.interaction_p is not None and self.interaction_p <= INTERACTION_LEVEL


def factor_effects(
    hits: Hits, levels: Mapping[str, Mapping[str, str]], error_rate: float = ERROR_RATE
) -> Factors | None:
    """Return the effects of a grid's factors; None if the settings are no grid.

    A grid has two factors or more, and more than half of the combinations of their levels.

    Args:
        hits: Of all settings, on the same photos.
        levels: By setting: the level of each factor by its name.
        error_rate: Of all verdicts on levels together, in (0, 1).
    """
    rows = [levels[setting] for setting in hits.by_setting]
    values = {name: list(dict.fromkeys(row[name] for row in rows)) for name in rows[0]}
    values = {name: values[name] for name in values if len(values[name]) > 1}
    cells = {tuple(row[name] for name in values) for row in rows}
    if len(values) < 2 or len(cells) < len(rows) or 2 * len(cells) <= prod(map(len, values.values())):
        return None
    if missing := [dict(zip(values, cell, strict=True)) for cell in product(*values.values()) if cell not in cells]:
        return Factors(list(values), [], missing, None)

    means, noise = np.array([runs.mean() for runs in hits.by_setting.values()]), Noise.of(hits)
    has_level = {
        name: np.array([[row[name] == level for row in rows] for level in values[name]], float) for name in values
    }
    spoiled_by = [odd.name for odd in noise.odd if odd.p_value < SPOILS_POOL]
    interaction_p = (
        None if hits.is_single_runs or spoiled_by else _interaction_p(means, noise, list(has_level.values()))
    )
    is_additive = interaction_p is not None and interaction_p > INTERACTION_LEVEL  # False if it is NaN
    effects = []
    for name, members in has_level.items():
        averages = members / members.sum(axis=1, keepdims=True)
        top1 = averages @ means
        best = int(top1.argmax())
        for i, level in enumerate(values[name]):
            effect = Effect(
                name, level, values[name][best], float(POINTS * top1[i]), float(POINTS * (top1[i] - top1[best]))
            )
            if is_additive and i != best:
                variance, dof = noise.variance(averages[i] - averages[best])
                # A range is counted in standard errors of one mean.
                unit, chance = np.sqrt(variance / 2), range_of(len(top1))
                p_value = len(values) * float(chance.p_values((top1[best] - top1[i]) / unit, dof))
                half_width = float(POINTS * unit * chance.critical_values(error_rate / len(values), dof))
                effect = replace(
                    effect, half_width=half_width, p_value=min(1.0, p_value), is_worse=p_value <= error_rate
                )
            effects.append(effect)
    return Factors(list(values), effects, [], interaction_p, spoiled_by)


def _interaction_p(means: np.ndarray, noise: Noise, has_level: list[np.ndarray]) -> float:
    """Return how often noise alone makes the means deviate as much from a sum of the factors' effects.

    Args:
        means: Of the settings, shape (k,).
        noise: Of the same settings.
        has_level: For each factor, which settings have each level, shape (levels, k).
    """
    beyond = null_space(np.concatenate(has_level)).T  # orthonormal contrasts that all main effects leave at 0
    variance, dof = noise.variance(beyond)
    squares = np.linalg.eigvalsh(beyond @ noise.covariance @ beyond.T)
    squares = np.maximum(squares, 1 / noise.num_photos**2)  # at least one photo
    return float(
        f_distribution.sf(
            ((beyond @ means) ** 2).sum() / variance, squares.sum() ** 2 / (squares**2).sum(), min(dof, MAX_DOF)
        )
    )
