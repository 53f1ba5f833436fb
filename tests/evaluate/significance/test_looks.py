import numpy as np
import pytest
from scipy.stats import norm, studentized_range

from flowercls.evaluate.significance.looks import error_rate_of_look


def test_one_look_has_the_whole_error_rate():
    assert error_rate_of_look((5,), 4, 0.05) == 0.05


def test_many_seeds_have_pococks_bound():
    """Pocock 1977: three looks at equally many more subjects are held to 2.289 standard deviations."""
    assert norm.isf(error_rate_of_look((100, 200, 300), 2, 0.05) / 2) == pytest.approx(2.289, abs=0.03)


def test_looks_that_share_nearly_no_seeds_are_independent():
    """And a million seeds are not drawn one by one."""
    assert error_rate_of_look((3, 10**6), 2, 0.05) == pytest.approx(1 - 0.95**0.5, abs=0.001)


def test_all_looks_together_are_wrong_in_five_of_100():
    looks, wrong, rng = (3, 5, 8), np.zeros(2000, bool), np.random.default_rng(7)
    bound, seeds = error_rate_of_look(looks, 3, 0.05), rng.standard_normal((2000, 3, 8))
    for look in looks:
        runs = seeds[:, :, :look]
        error = np.sqrt(runs.var(axis=2, ddof=1).mean(axis=1) / look)
        wrong |= np.ptp(runs.mean(axis=2), axis=1) / error > studentized_range.isf(bound, 3, 3 * (look - 1))
    assert wrong.mean() == pytest.approx(0.05, abs=0.015)
