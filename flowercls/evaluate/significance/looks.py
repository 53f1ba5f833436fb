"""The error rate of each of several looks at a growing number of seeds, so that all looks together keep one rate.

Settings that are compared again and again while seeds are added get a wrong verdict sooner or later. If the numbers of
seeds are declared before, each look can be given the same smaller error rate (Pocock 1977). The results of two looks
with r and R seeds are correlated by sqrt(r / R), as the later one contains the earlier one. The density of results that
were inside the bound at all looks so far is integrated from look to look (Armitage, McPherson and Rowe 1969).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

NODES, WEIGHTS = np.polynomial.legendre.leggauss(100)


@cache
def error_rate_of_look(looks: Sequence[int], error_rate: float) -> float:
    """Return the error rate of each look, at which all looks together have ``error_rate``.

    Args:
        looks: Numbers of seeds at which the settings are compared, ascending.
        error_rate: Of all looks together, in (0, 1).
    """
    if len(looks) == 1:
        return error_rate
    bound = brentq(lambda bound: 1 - _share_inside(looks, bound) - error_rate, 1.0, 8.0)
    return float(2 * norm.sf(bound))


def _share_inside(looks: Sequence[int], bound: float) -> float:
    """Return how often a sum of standard normal seeds stays within ``bound`` standard deviations at every look."""
    points, weights = np.sqrt(looks[0]) * bound * NODES, np.sqrt(looks[0]) * bound * WEIGHTS
    density = norm.pdf(points, scale=np.sqrt(looks[0]))
    for before, now in zip(looks, looks[1:], strict=False):
        reached = np.sqrt(now) * bound * NODES
        steps = norm.pdf(reached[:, None] - points, scale=np.sqrt(now - before))
        density = steps @ (weights * density)
        points, weights = reached, np.sqrt(now) * bound * WEIGHTS
    return float(weights @ density)
