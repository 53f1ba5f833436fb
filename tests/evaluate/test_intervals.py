"""Wilson's interval against statsmodels, by its equation and by simulation; the paired interval against its score."""

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from flowercls.evaluate.intervals import paired_interval, wilson_interval


@pytest.mark.parametrize(('hits', 'n'), [(0, 10), (10, 10), (548, 568), (551, 568), (1, 2), (96, 114)])
def test_wilson_interval_agrees_with_statsmodels(hits, n):
    low, high = proportion_confint(hits, n, method='wilson')
    assert wilson_interval(hits, n) == pytest.approx((100 * low, 100 * high), abs=1e-9)


def test_interval_at_96_percent_of_568_photos_is_about_one_and_a_half_points_each_way():
    low, high = wilson_interval(545, 568)
    assert high - low == pytest.approx(3.3, abs=0.2)


@pytest.mark.parametrize('quantile', [1.0, 2.776])
def test_wilson_interval_with_another_quantile_solves_its_equation(quantile):
    for bound in wilson_interval(90.5, 97.2, z=quantile):
        p = bound / 100
        assert abs(90.5 / 97.2 - p) == pytest.approx(quantile * np.sqrt(p * (1 - p) / 97.2))


@pytest.mark.parametrize('p', [0.9, 0.96])
@pytest.mark.parametrize('n', [114, 570, 2848])
def test_wilson_intervals_cover_the_truth(p, n):
    intervals = [wilson_interval(hits, n) for hits in range(n + 1)]
    covers = [low <= 100 * p <= high for low, high in intervals]
    assert 0.93 <= binom.pmf(np.arange(n + 1), n, p)[covers].sum() <= 0.97


@pytest.mark.parametrize(('only_first', 'only_second', 'n'), [(9, 2, 44), (1, 0, 60), (20, 17, 568), (43, 0, 568)])
def test_a_paired_interval_ends_where_the_score_test_rejects(only_first, only_second, n):
    """The score statistic of a true difference, with the likeliest shares found by trying them."""

    def score(difference: float) -> float:
        second = np.linspace(max(0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9, 200_001)
        first, same = second + difference, 1 - 2 * second - difference
        likelihood = only_second * np.log(second) + (n - only_first - only_second) * np.log(same)
        likelihood += only_first * np.log(np.maximum(first, 1e-300))
        best = second[likelihood.argmax()]
        return (only_first - only_second - n * difference) / np.sqrt(n * (2 * best + difference - difference**2))

    low, high = paired_interval(only_first, only_second, n, 1.96)
    assert (score(low), score(high)) == (pytest.approx(1.96, abs=0.01), pytest.approx(-1.96, abs=0.01))


def test_a_paired_interval_where_no_photo_differs_follows_the_rule_of_three():
    low, high = paired_interval(0, 0, 60, 1.96)
    assert high == pytest.approx(-low) == pytest.approx(1.96**2 / (60 + 1.96**2))


@pytest.mark.parametrize('n', [3.3, 5.7, 60.1])
def test_a_paired_interval_where_all_photos_differ_one_way_ends_at_one(n):
    """The root in its equation is 0 there, and rounds to less."""
    assert paired_interval(0, n, n, 3.9)[0] == pytest.approx(-1)
    assert paired_interval(n, 0, n, 3.9)[1] == pytest.approx(1)
