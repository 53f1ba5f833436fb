"""How far equal settings spread by chance: the distributions that differences are judged by.

Both statistics are the maximum of independent standard normal means, divided by an estimated standard error:

- the *range*: the largest of k means less the smallest (Tukey's studentised range);
- the *lead*: the largest of k - 1 means less one chosen mean, over the standard error of a difference (Dunnett's
  one-sided test). It decides whether the chosen setting may be the best (Hsu 1984).

The distribution at known variance is integrated once for each k on a grid. An estimated variance is a chi-square
variable; its average is taken by Gauss-Legendre quadrature over its quantiles. scipy's `studentized_range` has the same
values to three digits and takes a thousand times longer.

Source:
    Tukey 1953; Dunnett 1955; Hsu 1984, "Constrained simultaneous confidence intervals for multiple comparisons with
    the best".
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import Chebyshev
from scipy.special import gammaincinv, ndtr

STATISTICS = np.linspace(0, 12, 2401)  # of the grid at known variance
NORMAL_STEP = 0.02
NORMALS = np.arange(-8.5, 8.5, NORMAL_STEP)
DENSITY = np.exp(-(NORMALS**2) / 2) / np.sqrt(2 * np.pi) * NORMAL_STEP
NODES, WEIGHTS = np.polynomial.legendre.leggauss(96)
PROBABILITIES = (NODES + 1) / 2
MAX_DOF = 1e5  # more is as good as a known variance
BISECTIONS, LARGEST = 40, 1e3
POLYNOMIAL_DEGREE = 12


@dataclass(frozen=True, eq=False)
class ChanceDistribution:
    """The distribution of a statistic of equal settings.

    Attributes:
        at_known_variance: How often the statistic is at least each of `STATISTICS`.
    """

    at_known_variance: np.ndarray

    def p_values(self, statistics: np.ndarray, dof: np.ndarray) -> np.ndarray:
        """Return how often equal settings reach each statistic, shape (M,).

        Args:
            statistics: Shape (M,), at least 0.
            dof: Degrees of freedom of their standard errors, shape (M,), at least 1; infinite if known.
        """
        half = np.clip(np.asarray(dof, float), 1, MAX_DOF)[..., None] / 2
        spreads = np.sqrt(gammaincinv(half, PROBABILITIES) / half)
        values = np.asarray(statistics, float)[..., None] * spreads
        return np.interp(values, STATISTICS, self.at_known_variance) @ (WEIGHTS / 2)

    def critical_values(self, error_rate: float, dof: np.ndarray) -> np.ndarray:
        """Return the statistics that equal settings reach at ``error_rate``; arguments as in `p_values`.

        The logarithm is a polynomial in 1 / dof, with four digits.
        """
        return np.exp(_critical_curve(self, error_rate)(1 / np.clip(np.asarray(dof, float), 1, np.inf)))


@cache
def range_of(num_settings: int) -> ChanceDistribution:
    """Return the distribution of the range of equal settings."""
    below = ndtr(NORMALS)
    inside = [DENSITY @ (ndtr(NORMALS + value) - below) ** (num_settings - 1) for value in STATISTICS]
    return ChanceDistribution(np.clip(1 - num_settings * np.array(inside), 0, 1))


@cache
def lead_of(num_settings: int) -> ChanceDistribution:
    """Return the distribution of the lead that the best of equal settings has on a chosen one."""
    no_lead = [DENSITY @ ndtr(NORMALS + np.sqrt(2) * value) ** (num_settings - 1) for value in STATISTICS]
    return ChanceDistribution(np.clip(1 - np.array(no_lead), 0, 1))


@cache
def _critical_curve(distribution: ChanceDistribution, error_rate: float) -> Chebyshev:
    def logarithm(inverse_dof: np.ndarray) -> np.ndarray:
        dof = 1 / np.maximum(inverse_dof, 1 / MAX_DOF)
        low, high = np.zeros_like(dof), np.full_like(dof, LARGEST)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            is_below = distribution.p_values(middle, dof) > error_rate
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        return np.log(high)

    return Chebyshev.interpolate(logarithm, POLYNOMIAL_DEGREE, [0, 1])
