"""Confidence intervals of shares, and of the difference of two runs."""

import numpy as np
from scipy.stats import norm

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
    z = norm.ppf(0.5 + confidence / 2) if z is None else z
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return 100.0 * max(0.0, float(centre - half)), 100.0 * min(1.0, float(centre + half))


def paired_half_width(first: np.ndarray, second: np.ndarray, confidence: float) -> float:
    """Return the half width of Wald's interval for the difference of two runs' accuracies, in points.

    Args:
        first: Whether the first run is right, bool, shape (N,).
        second: The same for the second run, on the same photos, shape (N,).
        confidence: Coverage, in (0, 1).

    Source:
        Edwards 1948 for the correction by one photo.
    """
    paired = first.astype(float) - second
    num_photos = len(paired)
    z = norm.ppf(0.5 + confidence / 2)
    return float(100.0 * (z * np.sqrt(paired.var() / num_photos) + 1 / num_photos))
