"""How far a measured figure can be trusted."""

from scipy.stats import binomtest


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share, in percent (0-100).

    Args:
        hits: Photos classified correctly, 0 <= hits <= n.
        n: Photos in all, at least 1.
        confidence: Coverage wanted, in (0, 1).
    """
    interval = binomtest(hits, n).proportion_ci(confidence, method='wilson')
    return 100.0 * interval.low, 100.0 * interval.high
