"""How far a measured figure can be trusted."""

import numpy as np
from scipy.stats import binomtest, norm


def wilson_interval(hits: float, n: float, confidence: float = 0.95, z: float | None = None) -> tuple[float, float]:
    """Wilson score interval of a share, in percent (0-100).

    Args:
        hits: Photos classified correctly, 0 <= hits <= n. Both may be fractions: an effective number of photos.
        n: Photos in all, above 0.
        confidence: Coverage wanted, in (0, 1).
        z: The quantile itself, where it is not the normal distribution's.

    Source:
        Wilson 1927; Brown, Cai and DasGupta 2001, equation 4.
    """
    share = hits / n
    z = norm.ppf(0.5 + confidence / 2) if z is None else z
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return 100.0 * max(0.0, float(centre - half)), 100.0 * min(1.0, float(centre + half))


def mcnemar_p_value(one: np.ndarray, other: np.ndarray) -> float:
    """Exact two-sided p-value of McNemar's test: are two models right equally often?

    Answers for these very models on other photos like these; that another seed would have given other models is not
    in it.

    Args:
        one: Whether the first model is right, bool, shape (N,).
        other: The same of the second on the same photos, shape (N,).

    Source:
        McNemar 1947, in its exact form: only photos that one model alone gets right count, as tosses of a coin.
    """
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    return binomtest(only_one, only_one + only_other).pvalue if only_one + only_other else 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """P-values corrected for their number, so that all verdicts together are wrong as rarely as one was meant to be.

    Args:
        p_values: Shape (M,).

    Source:
        Holm 1979.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values)[order]))
    return corrected
