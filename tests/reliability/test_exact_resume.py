"""A run that is stopped by a signal, anywhere, and resumed ends with the bits of one that never was."""

import contextlib
import itertools
import json
import os
import signal
from unittest import mock

import pytest

from flowercls.train.checkpoint import WholeCheckpointHook
from flowercls.train.loop import ResumableTrainLoop

OPTIMIZERS = {
    'sgd': "dict(_delete_=True, type='SGD', lr=0.05, momentum=0.9)",
    'adamw': "dict(_delete_=True, type='AdamW', lr=0.001)",
}
# Steps of 6 an epoch, in two epochs; photos are mixed, dropout and the classes' share are drawn.
CONFIG = """
optim_wrapper = dict(optimizer={optimizer}, accumulative_counts={accumulate})
train_dataloader = dict(batch_size=8, num_workers={workers})
model['backbone']['drop_path_rate'] = 0.2
model['train_cfg'] = {mixup}
custom_hooks = [dict(type='EarlyStoppingHook', monitor='accuracy/top1', rule='greater', patience=9), *{ema}]
"""
MIXUP = "dict(augments=dict(type='Mixup', alpha=0.8))"
EMA = "[dict(type='EMAHook', momentum=0.3)]"
PLACES = {
    'mid-epoch': (ResumableTrainLoop, 'run_iter', 3),
    'in the middle of the second': (ResumableTrainLoop, 'run_iter', 9),
    'last step of an epoch': (ResumableTrainLoop, 'run_iter', 6),
    'last step of all': (ResumableTrainLoop, 'run_iter', 12),
    'validation': (ResumableTrainLoop, '_validate', 1),
    'saving': (WholeCheckpointHook, 'finish_epoch', 1),
}
ALL = list(itertools.product(OPTIMIZERS, (False, True), (1, 2, 5), (0, 2), (False, True)))
# Every pair of settings is among these; the first is tried in the default run.
FEW = [
    ('sgd', False, 1, 0, False),
    ('sgd', True, 5, 2, True),
    ('adamw', True, 1, 2, False),
    ('sgd', True, 2, 0, False),
    ('adamw', False, 1, 0, False),
    ('adamw', False, 2, 0, True),
]


def config_text(optimizer, ema, accumulate, workers, mixup):
    return CONFIG.format(
        optimizer=OPTIMIZERS[optimizer],
        accumulate=accumulate,
        workers=workers,
        mixup=MIXUP if mixup else None,
        ema=EMA if ema else '[]',
    )


@pytest.fixture
def check_stopped(write_config, tool, tmp_path, capsys, differences):
    """Train through, and train, stop at a place and resume: both runs have the same bits. Returns the second folder."""

    def check(extra, place):
        config, through, stopped = write_config(tmp_path, extra), tmp_path / 'through', tmp_path / 'stopped'
        assert tool('train', config, '--work-dir', through) == 0
        with signal_at(*place):
            assert tool('train', config, '--work-dir', stopped) == 143
        assert 'add --resume' in capsys.readouterr().err and not (stopped / 'epoch_2.pth').exists()
        assert tool('train', config, '--work-dir', stopped, '--resume') == 0
        assert differences(through, stopped) == []
        assert not [*stopped.glob('iter_*'), *stopped.glob('*.damaged*')]
        return stopped

    return check


@contextlib.contextmanager
def signal_at(owner, name, number):
    """Send this process a signal at the n-th call of a method."""
    original, calls = getattr(owner, name), itertools.count(1)

    def call(*args, **kwargs):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    with mock.patch.object(owner, name, call):
        yield


@pytest.mark.parametrize(
    ('settings', 'place'),
    [pytest.param(settings, place, marks=[pytest.mark.slow] * (number > 0))
     for number, (settings, place) in enumerate(zip(FEW, PLACES, strict=True))],
    ids=str,
)  # fmt: skip
def test_a_stopped_run_ends_with_the_same_bits(settings, place, check_stopped):
    check_stopped(config_text(*settings), PLACES[place])


@pytest.mark.exhaustive
@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('settings', ALL, ids=str)
def test_so_it_does_with_all_settings_everywhere(settings, place, check_stopped):
    check_stopped(config_text(*settings), PLACES[place])


@pytest.mark.parametrize('step', [7, pytest.param(9, marks=pytest.mark.slow)])
def test_the_best_epoch_stays_what_it_was_where_the_next_one_is_stopped(step, check_stopped):
    run = check_stopped('optim_wrapper = dict(optimizer=dict(lr=1e-12))\n', (ResumableTrainLoop, 'run_iter', step))
    assert json.loads((run / 'metrics.json').read_text())['epoch'] == 1  # nothing is learned after it


def test_the_comparison_sees_a_difference(trained_run, tmp_path, write_config, tool, differences):
    config = write_config(tmp_path, 'randomness = dict(seed=1)\n')
    assert tool('train', config, '--work-dir', tmp_path / 'other') == 0
    assert any(key.startswith('epoch_2.pth.state_dict') for key in differences(trained_run[1], tmp_path / 'other'))
