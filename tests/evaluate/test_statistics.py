import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from flowercls.evaluate.intervals import holm, mcnemar_p_value, wilson_interval


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


@pytest.mark.parametrize('seed', range(20))
def test_mcnemars_test_agrees_with_statsmodels(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.random(200) < 0.9, rng.random(200) < 0.8 + 0.01 * seed
    table = [[(one & other).sum(), (one & ~other).sum()], [(~one & other).sum(), (~one & ~other).sum()]]
    assert mcnemar_p_value(one, other) == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_mcnemars_test_by_hand():
    hits = np.ones(10, bool)
    other = hits.copy()
    other[:6] = False  # six tosses, all to one side: 2 / 2**6
    assert mcnemar_p_value(hits, other) == mcnemar_p_value(other, hits) == pytest.approx(2 / 64)
    assert mcnemar_p_value(hits, hits) == 1.0


@pytest.mark.parametrize('seed', range(10))
def test_holms_correction_agrees_with_statsmodels(seed):
    p_values = np.random.default_rng(seed).random(7) ** 3
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method='holm')[1])


def test_holms_correction_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
