"""Run folders and sweeps that were never trained."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from flowercls.compare.comparison import Comparison
from flowercls.compare.grouping import Setting
from flowercls.evaluate.significance.factors import factor_effects
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.settings import judge_settings
from helpers.run_folders import write_run


@pytest.fixture
def run(tmp_path):
    """Write a run folder of that name."""
    return lambda name, misses, **options: write_run(tmp_path / name, misses, **options)


@pytest.fixture
def grid(run):
    """Write runs for two values of frozen_stages, which does nothing, and two learning rates, of which 0.1 is worse."""

    def write(num_seeds):
        return [
            run(f'{frozen}_{lr}_{seed}', range(seed, misses + seed), num_photos=100, frozen=frozen, lr=lr, seed=seed)
            for frozen, (lr, misses), seed in itertools.product((0, 2), ((0.1, 20), (0.01, 5)), range(num_seeds))
        ]

    return write


@pytest.fixture
def sweep(run, tmp_path):
    """A sweep of two settings with two seeds, without a ledger."""
    for frozen, seed in itertools.product((0, 1), (0, 1)):
        run(f'sweep/trials/frozen{frozen}_seed{seed}', range(seed, 20 + seed), frozen=frozen, seed=seed)
    return tmp_path / 'sweep'


@pytest.fixture
def write_ledger(sweep):
    """Write a ledger of the sweep in which all trials are finished, but for changed lines."""

    def write(**changed):
        names = sorted(trial.name for trial in (sweep / 'trials').iterdir())
        lines = [
            {'key': name, 'setting': name[:7], 'run': f'trials/{name}', 'state': 'finished', **changed.get(name, {})}
            for name in names
        ]
        (sweep / 'ledger.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n')

    return write


@pytest.fixture
def runs():
    """Make the hits of one setting: each run misses so many photos, beginning at another one."""

    def make(*num_misses, photos=568, start=0):
        hits = np.ones((len(num_misses), photos), bool)
        for seed, number in enumerate(num_misses):
            hits[seed, start + seed : start + seed + number] = False
        return hits

    return make


@pytest.fixture
def compared():
    """Compare settings by their hits, without any files; run folders are called ``<setting>_seed<k>``."""

    def compare(by_setting, folds=None, groups=None, levels=None, scatter=1.0):
        hits = Hits(by_setting, folds, groups)
        verdict = judge_settings(hits, assumed_scatter=scatter)
        levels = levels or {name: {'setting': name} for name in by_setting}
        settings = [
            Setting(
                name,
                levels[name],
                {},
                {seed: {None: SimpleNamespace(name=f'{name}_seed{seed}')} for seed in range(10, 10 + len(rows))},
            )
            for name, rows in by_setting.items()
        ]
        return Comparison(
            settings=settings,
            hits=hits,
            verdict=verdict,
            factors=factor_effects(hits, levels),
            sample_sizes=[],
            test_scores=[],
            num_test_photos=0,
            num_folds=0 if folds is None else len(set(folds)),
            left_out=[],
            assumed_scatter=scatter,
        )

    return compare
