"""Run folders and sweeps that were never trained."""

import itertools
import json

import pytest

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
