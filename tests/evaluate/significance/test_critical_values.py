import numpy as np
import pytest
from scipy.stats import multivariate_t, studentized_range, t

from flowercls.evaluate.significance.critical_values import lead_of, range_of

DOF = np.array([1, 1.3, 2, 6.6, 100, np.inf])


@pytest.mark.parametrize('num_settings', [2, 4, 12, 50])
@pytest.mark.parametrize('error_rate', [0.05, 0.0165])
def test_the_range_is_scipys_to_three_digits(num_settings, error_rate):
    expected = studentized_range.ppf(1 - error_rate, num_settings, DOF)
    assert range_of(num_settings).critical_values(error_rate, DOF) == pytest.approx(expected, rel=1e-3)
    assert range_of(num_settings).p_values(expected, DOF) == pytest.approx(error_rate, rel=1e-2)


def test_the_lead_of_two_is_the_one_sided_t_test():
    assert lead_of(2).critical_values(0.05, DOF) == pytest.approx(t.isf(0.05, DOF), rel=1e-3)


@pytest.mark.parametrize(('dof', 'expected'), [(10, 2.34), (np.inf, 2.06)])
def test_the_lead_of_four_is_in_dunnetts_table(dof, expected):
    """Dunnett 1955, table 1a: three treatments against a control, one-sided, 95 %."""
    assert lead_of(4).critical_values(0.05, dof) == pytest.approx(expected, abs=0.005)


def test_the_lead_is_a_maximum_of_correlated_t_values():
    below = multivariate_t(shape=np.full((3, 3), 0.5) + 0.5 * np.eye(3), df=7, seed=0).cdf(np.full(3, 2.0))
    assert lead_of(4).p_values(np.array([2.0]), np.array([7.0])) == pytest.approx(1 - below, abs=2e-3)


def test_no_number_gives_no_p_value():
    assert np.isnan(range_of(3).p_values(np.array([np.nan]), np.array([4.0])))
