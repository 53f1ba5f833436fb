"""Sweep files over tiny configs, and a fake launcher."""

import json

import pytest
from mmengine.config import Config

from flowercls.sweep.trials import Setting, Trial


@pytest.fixture
def write_sweep(write_config):
    """Write a tiny config and a sweep file over it into a folder."""

    def write(folder, grid="{'model.frozen_stages': [0, 'all']}", seeds='[0]', extra=''):
        base = write_config(folder)
        path = folder / 'my_sweep.py'
        path.write_text(f"base = '{base}'\ngrid = {grid}\nseeds = {seeds}\n{extra}", encoding='utf-8')
        return path

    return write


@pytest.fixture
def make_trial():
    """Make a trial without a config file."""

    def make(name, seed=0, *, levels=None, overrides=(), cfg=None, max_epochs=2, key=None):
        setting = Setting(name, (name,) if levels is None else levels, 'a.py', dict(overrides))
        return Trial(setting, seed, cfg or Config({'train_cfg': {'max_epochs': max_epochs}}), key or f'{name}/{seed}')

    return make


class FakeHandle:
    """A trial that ends at the second poll with the given exit code."""

    def __init__(self, code, folder):
        self.code, self.num_polls, self.folder, self.was_asked = code, 0, folder, False

    def poll(self):
        self.num_polls += 1
        if self.code == 'forever' or self.num_polls < 2:
            return None
        if self.code == 0:
            (self.folder / 'metrics.json').write_text(json.dumps({'top1': 90.0}))
        return self.code

    def failure_summary(self):
        return f'exit code {self.code}: DataError: no photos'

    def request_stop(self):
        self.was_asked = True

    def wait_stopped(self):
        assert self.was_asked


class FakeLauncher:
    """Runs nothing and records starts. ``codes``: exit codes of each setting's starts; later starts exit 0."""

    def __init__(self, codes=None, slots=1):
        self.codes, self.slots, self.started, self.handles = dict(codes or {}), slots, [], []

    def start(self, trial, folder):
        codes = self.codes.get(trial.setting.name, [])
        self.started.append(trial.name)
        folder.mkdir(parents=True, exist_ok=True)
        self.handles.append(FakeHandle(codes.pop(0) if codes else 0, folder))
        return self.handles[-1]


@pytest.fixture
def fake_launcher():
    return FakeLauncher
