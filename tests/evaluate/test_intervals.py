"""Wilson's interval against statsmodels, by its equation, and by simulation."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from flowercls.evaluate.intervals import wilson_interval
from flowercls.evaluate.simulation import wilson_coverage


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
    assert 0.93 <= wilson_coverage(20_000, p, n) <= 0.97
