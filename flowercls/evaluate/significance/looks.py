"""The error rate of each of several looks at a growing number of seeds, so that all looks together keep one rate.

Settings that are compared again and again while seeds are added get a wrong verdict sooner or later. If the numbers of
seeds are declared before, all looks are given one smaller error rate (Pocock 1977). Pocock's bounds are for known
variances. Few seeds show their variance roughly, and differently at each look. So the looks are simulated: equal
settings whose seeds scatter normally are judged at each look by the range with a pooled variance. The rate is the one
that as many simulated sweeps stay above at every look as should. Photos change only slightly whether a verdict is wrong
at several looks, since the same photos are looked at each time.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from flowercls.evaluate.significance.critical_values import range_of

NUM_SWEEPS = 40_000  # so that the error rate of all looks is right to 0.1 points


@cache
def error_rate_of_look(looks: Sequence[int], num_settings: int, error_rate: float) -> float:
    """Return the error rate of each look, at which all looks together have ``error_rate``.

    Args:
        looks: Numbers of seeds at which the settings are compared, ascending, at least 2.
        num_settings: That are compared.
        error_rate: Of all looks together, in (0, 1).
    """
    if len(looks) == 1:
        return error_rate
    rng = np.random.default_rng(0)
    sums, squares = np.zeros((2, NUM_SWEEPS, num_settings))
    smallest, seeds = np.ones(NUM_SWEEPS), 0
    for look in looks:
        added = look - seeds
        new = rng.normal(0, np.sqrt(added), sums.shape)  # sum of the accuracies of the seeds that are added
        sums += new
        squares += new**2 / added
        if added > 1:
            squares += rng.chisquare(added - 1, sums.shape)  # about their mean
        seeds, dof = look, num_settings * (look - 1)
        variances = (squares - sums**2 / seeds).sum(axis=1) / dof
        ranges = np.ptp(sums / seeds, axis=1) / np.sqrt(variances / seeds)
        smallest = np.minimum(smallest, range_of(num_settings).p_values(ranges, dof))
    return float(np.quantile(smallest, error_rate))
