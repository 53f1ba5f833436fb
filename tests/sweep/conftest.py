"""Sweep files over tiny configs, and trials that are run by a stand-in."""

import json

import pytest

from flowercls.sweep.trials import Trial


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
    """A trial that no config stands behind."""
    return lambda setting, seed=0: Trial(setting, (setting,), seed, 'a.py', {}, f'{setting}/{seed}', 2, None)


class FakeHandle:
    """A trial that ends at the second look, with the code it was given."""

    def __init__(self, code, folder):
        self.code, self.looks, self.folder, self.asked = code, 0, folder, False

    def poll(self):
        self.looks += 1
        if self.code == 'forever' or self.looks < 2:
            return None
        if self.code == 0:
            (self.folder / 'metrics.json').write_text(json.dumps({'top1': 90.0}))
        return self.code

    def last_words(self):
        return f'exit code {self.code}: DataError: no photos'

    def ask_to_stop(self):
        self.asked = True

    def stop(self):
        assert self.asked


class FakeLauncher:
    """Runs nothing; remembers what it was asked for. ``codes``: exit codes of each setting, one a start; then 0."""

    def __init__(self, codes=None, slots=1):
        self.codes, self.slots, self.started, self.handles = dict(codes or {}), slots, [], []

    def start(self, trial, folder):
        codes = self.codes.get(trial.setting, [])
        self.started.append(trial.name)
        folder.mkdir(parents=True, exist_ok=True)
        self.handles.append(FakeHandle(codes.pop(0) if codes else 0, folder))
        return self.handles[-1]


@pytest.fixture
def fake_launcher():
    return FakeLauncher
