import pytest
from statsmodels.stats.proportion import proportion_confint

from flowercls.evaluation.statistics import wilson_interval


@pytest.mark.parametrize(('hits', 'n'), [(0, 10), (10, 10), (548, 568), (551, 568), (1, 2), (96, 114)])
def test_wilson_interval_agrees_with_statsmodels(hits, n):
    low, high = proportion_confint(hits, n, method='wilson')
    assert wilson_interval(hits, n) == pytest.approx((100 * low, 100 * high), abs=1e-9)


def test_interval_at_96_percent_of_568_photos_is_about_one_and_a_half_points_each_way():
    low, high = wilson_interval(545, 568)
    assert high - low == pytest.approx(3.3, abs=0.2)
