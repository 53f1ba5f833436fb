"""A run that is stopped by a signal, anywhere, and resumed ends with the bits of one that never was."""

import itertools
import json
import os
import signal

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
    'mid-epoch': ('train', 3),
    'in the middle of the second': ('train', 9),
    'last step of an epoch': ('train', 6),
    'last step of all': ('train', 12),
    'validation': ('val', 1),
    'saving': ('save', 1),
}
ALL = list(itertools.product(OPTIMIZERS, (False, True), (1, 2, 5), (0, 2), (False, True)))
# Every pair of settings is among these; the first two are tried in the default run.
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
def stop_at(monkeypatch):
    """Send this process a signal at the n-th training step, validation or save."""

    def arrange(patch, place, number, signum=signal.SIGTERM):
        owner, name = {
            'train': (ResumableTrainLoop, 'run_iter'),
            'val': (ResumableTrainLoop, '_validate'),
            'save': (WholeCheckpointHook, 'finish_epoch'),
        }[place]
        original, calls = getattr(owner, name), itertools.count(1)

        def and_stop(*args, **kwargs):
            if next(calls) == number:
                os.kill(os.getpid(), signum)
            return original(*args, **kwargs)

        patch.setattr(owner, name, and_stop)

    return arrange


def check(settings, place, number, write_config, tool, tmp_path, monkeypatch, stop_at, capsys, differences):
    config = write_config(tmp_path, config_text(*settings))
    assert tool('train', config, '--work-dir', tmp_path / 'through') == 0
    with monkeypatch.context() as patch:
        stop_at(patch, place, number)
        assert tool('train', config, '--work-dir', tmp_path / 'stopped') == 143
    assert 'add --resume' in capsys.readouterr().err
    assert not (tmp_path / 'stopped' / 'epoch_2.pth').exists()
    assert tool('train', config, '--work-dir', tmp_path / 'stopped', '--resume') == 0
    assert differences(tmp_path / 'through', tmp_path / 'stopped') == []
    assert not list((tmp_path / 'stopped').glob('iter_*')) and not list((tmp_path / 'stopped').glob('*.damaged*'))


@pytest.mark.parametrize(
    ('settings', 'place'),
    [pytest.param(settings, place, marks=[pytest.mark.slow] * (number > 1))
     for number, (settings, place) in enumerate(zip(FEW, PLACES, strict=True))],
    ids=str,
)  # fmt: skip
def test_a_stopped_run_ends_with_the_same_bits(
    settings, place, write_config, tool, tmp_path, monkeypatch, stop_at, capsys, differences
):
    check(settings, *PLACES[place], write_config, tool, tmp_path, monkeypatch, stop_at, capsys, differences)


@pytest.mark.parametrize('step', [7, pytest.param(9, marks=pytest.mark.slow)])
def test_the_best_epoch_stays_what_it_was_where_the_next_one_is_stopped(
    step, write_config, tool, tmp_path, monkeypatch, stop_at, differences
):
    config = write_config(
        tmp_path, 'optim_wrapper = dict(optimizer=dict(lr=1e-12))\n'
    )  # its first epoch stays the best
    assert tool('train', config, '--work-dir', tmp_path / 'through') == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 'train', step)
        assert tool('train', config, '--work-dir', tmp_path / 'stopped') == 143
    assert tool('train', config, '--work-dir', tmp_path / 'stopped', '--resume') == 0
    assert json.loads((tmp_path / 'stopped' / 'metrics.json').read_text())['epoch'] == 1
    assert differences(tmp_path / 'through', tmp_path / 'stopped') == []


@pytest.mark.exhaustive
@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('settings', ALL, ids=str)
def test_so_it_does_with_all_settings_everywhere(
    settings, place, write_config, tool, tmp_path, monkeypatch, stop_at, capsys, differences
):
    check(settings, *PLACES[place], write_config, tool, tmp_path, monkeypatch, stop_at, capsys, differences)


def test_the_comparison_sees_a_difference(trained_run, tmp_path, write_config, tool, differences):
    _, folder = trained_run
    config = write_config(tmp_path, 'randomness = dict(seed=1)\n')
    assert tool('train', config, '--work-dir', tmp_path / 'other') == 0
    assert any(key.startswith('epoch_2.pth.state_dict') for key in differences(folder, tmp_path / 'other'))
