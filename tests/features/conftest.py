"""Runs of a tiny network with cached features, and a count of the photos whose features are computed."""

import pytest

from flowercls.config.resolve import Flags
from flowercls.features.hook import use_cached_features
from flowercls.features.store import FeatureStore
from flowercls.train.resume import FromCheckpoint, RandomInit
from flowercls.train.run_config import resolve_for_run
from flowercls.train.runner import build_runner

CACHED = """
model = dict(frozen_stages={frozen!r}, precision='{precision}')
feature_cache = {cache}
cache_dir = '{folder}/cache'
"""


@pytest.fixture
def build(tmp_path, write_config):
    """Build the Runner of a config with frozen stages and a feature cache."""

    def make(cache, frozen=2, precision='fp32', extra='', work_dir='run'):
        text = CACHED.format(frozen=frozen, precision=precision, cache=cache, folder=tmp_path)
        cfg = resolve_for_run(write_config(tmp_path, text + extra), [], Flags())
        cfg.work_dir = str(tmp_path / work_dir)
        return build_runner(cfg)

    return make


@pytest.fixture
def train(build):
    """Train such a config; returns the final weights."""

    def run(*args, resume_from=None, **kwargs):
        runner = build(*args, **kwargs)
        start = FromCheckpoint(resume_from) if resume_from else RandomInit()
        runner.prepare(start)
        use_cached_features(runner, runner.cfg.feature_cache, was_cached=start.features_cached)
        runner.train()
        return runner.model.state_dict()

    return run


@pytest.fixture
def computed(monkeypatch):
    """Number of photos of each set of features that is computed."""
    counts = []
    original = FeatureStore._fill

    def fill(self, building, batches, num_photos):
        counts.append(num_photos)
        return original(self, building, batches, num_photos)

    monkeypatch.setattr(FeatureStore, '_fill', fill)
    return counts
