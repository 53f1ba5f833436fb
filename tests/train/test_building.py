"""A refusal by another library is the config's mistake; an error of ours keeps its traceback."""

import pytest
from torch import nn

from flowercls.core.errors import ConfigError
from flowercls.evaluate import metrics
from flowercls.train.runner import config_error_for


def test_what_another_library_refuses_names_the_section_and_the_remedy():
    with (
        pytest.raises(ConfigError, match=r'model.head: cannot be built .* Fix: other channels\.'),
        config_error_for('model.head', fix='other channels'),
    ):
        nn.Conv2d(3, 4, 1, groups=2)


def test_only_named_errors_are_refusals():
    with pytest.raises(RuntimeError, match='shapes'), config_error_for('model'):
        raise RuntimeError('shapes')


def test_an_error_in_a_line_of_ours_is_a_bug():
    with pytest.raises(AttributeError), config_error_for('model'):
        metrics.expected_calibration_error(None, None)
