"""Confidence intervals of shares, and of the difference of two runs."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import beta

CONFIDENCE = 0.95  # of every interval that is shown; a verdict has its own error rate
INTERVAL = f'{100 * CONFIDENCE:g} % interval'  # as tables, pictures and pages call it


def wilson_interval(
    hits: float, n: float, confidence: float = CONFIDENCE, z: float | None = None
) -> tuple[float, float]:
    """Return the Wilson score interval of a share, in percent (0-100).

    Args:
        hits: Photos classified correctly, 0 <= hits <= n. Both may be fractions: an effective number of photos.
        n: All photos, above 0.
        confidence: Coverage, in (0, 1).
        z: Quantile to use in place of the normal distribution's.

    Source:
        Wilson 1927; Brown, Cai and DasGupta 2001, equation 4.
    """
    share = hits / n
    z = ndtri(0.5 + confidence / 2) if z is None else z
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return 100.0 * max(0.0, float(centre - half)), 100.0 * min(1.0, float(centre + half))


def share_text(hits: int, n: int) -> str:
    """Return an accuracy with its interval: ``top-1 96.32 % (549 of 570, 95 % interval 94.4-97.6)``."""
    low, high = wilson_interval(hits, n)
    return f'top-1 {100 * hits / n:.2f} % ({hits} of {n}, {INTERVAL} {low:.1f}-{high:.1f})'


def exact_interval(hits: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a share, 0-1: it covers in at least ``confidence`` of cases.

    Args:
        hits: 0 <= hits <= n; both may be fractions, as in `wilson_interval`.
        n: Above 0.
        confidence: Coverage, in (0, 1).
    """
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, hits, n - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def paired_interval(only_first: float, only_second: float, n: float, z: float) -> tuple[float, float]:
    """Return the score interval for the difference of two shares on the same photos, first less second, in -1 to 1.

    Args:
        only_first: Photos that only the first model gets right; like the others it may be a fraction.
        only_second: Photos that only the second model gets right.
        n: All photos, above 0.
        z: Quantile of the normal distribution.

    Source:
        Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design", equations 3 and 4.
    """

    def excess(difference: float) -> float:
        """Return the squared score of a true ``difference``, less ``z`` squared, times its variance."""
        linear = (2 * n - only_first + only_second) * difference - only_first - only_second
        constant = -only_second * difference * (1 - difference)
        root = np.sqrt(max(0.0, linear**2 - 8 * n * constant))  # 0, but for rounding, if all photos differ
        share = (root - linear) / (4 * n)  # of photos that only the second gets right
        variance = n * (2 * share + difference * (1 - difference))
        return (only_first - only_second - n * difference) ** 2 - z**2 * variance

    observed = (only_first - only_second) / n
    inside = observed - 1e-9, observed + 1e-9  # beside it, as the variance is 0 where no photo differs
    low = brentq(excess, -1, inside[0]) if excess(-1) > 0 > excess(inside[0]) else -1.0
    high = brentq(excess, inside[1], 1) if excess(1) > 0 > excess(inside[1]) else 1.0
    return float(low), float(high)
