"""The Runner of a tiny config, and what a checkpoint holds."""

import pytest
import torch

from flowercls.config.resolve import Flags
from flowercls.train.run_config import resolve_for_run
from flowercls.train.runner import build_runner


@pytest.fixture
def build(write_config, tmp_path):
    """Build the Runner of the tiny config with extra text and ``--cfg-options``; its run folder is ``run``."""

    def make(extra='', overrides=(), flags=None, **options):
        cfg = resolve_for_run(write_config(tmp_path, extra, **options), overrides, flags or Flags())
        cfg.work_dir = str(tmp_path / 'run')
        return build_runner(cfg)

    return make


@pytest.fixture(scope='session')
def weights():
    """Return the weights in a checkpoint."""
    return lambda path: torch.load(path, weights_only=True)['state_dict']


@pytest.fixture(scope='session')
def same_weights(weights):
    """Return whether two checkpoints hold the same weights, bit for bit."""

    def compare(path, expected):
        state, other = weights(path), weights(expected)
        return state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in state)

    return compare
