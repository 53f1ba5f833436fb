"""Schedules: their lengths follow the run's, what has no effect is told, and each base gives the rates it promises."""

import copy
from math import cos, pi
from pathlib import Path

import mmengine.optim  # noqa: F401  registers the schedulers
import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

from flowercls.config import load_config
from flowercls.config.schedule import derive_schedules

CONFIGS = Path(__file__).parents[2] / 'configs'
STEPS = 4  # of an epoch


# ---------------------------------------------------------------- lengths


def test_schedules_follow_max_epochs(resolve):
    cfg, notes = resolve('mobilenet_v2_flower.py', **{'train_cfg.max_epochs': 7})
    linear, cosine = cfg.param_scheduler
    assert (linear.begin, linear.end) == (0, 1)
    assert (cosine.begin, cosine.end, cosine.T_max) == (1, 7, 6)
    assert notes == []


def test_a_run_of_one_epoch_keeps_the_warm_up_only(resolve):
    cfg, notes = resolve('mobilenet_v2_flower.py', **{'train_cfg.max_epochs': 1})
    assert [scheduler.type for scheduler in cfg.param_scheduler] == ['LinearLR']
    assert len(notes) == 1
    assert notes[0].startswith('param_scheduler.1 (CosineAnnealingLR) is left out: it begins at epoch 1 of 1. Fix:')


@pytest.mark.parametrize(
    'schedulers, derived, note',
    [
        ([dict(type='ConstantLR')], [dict(type='ConstantLR', end=10)], ''),
        (dict(type='StepLR', step_size=3), [dict(type='StepLR', step_size=3, end=10)], ''),
        ([dict(type='CosineAnnealingLR')], [dict(type='CosineAnnealingLR', end=10, T_max=10)], ''),
        ([dict(type='CosineAnnealingLR', end=6)], [dict(type='CosineAnnealingLR', end=6, T_max=6)], 'continues to 10'),
        ([dict(type='PolyLR', by_epoch=False)], [dict(type='PolyLR', by_epoch=False)], ''),
        (
            [dict(type='CosineAnnealingLR', end=100)],
            [dict(type='CosineAnnealingLR', end=100, T_max=100)],
            'cuts it',
        ),
        ([dict(type='CosineAnnealingLR', T_max=95)], [dict(type='CosineAnnealingLR', T_max=95, end=10)], 'never reach'),
        ([dict(type='CosineAnnealingLR', T_max=4)], [dict(type='CosineAnnealingLR', T_max=4, end=10)], 'rises again'),
        (
            [dict(type='MultiStepLR', milestones=[30, 60])],
            [dict(type='MultiStepLR', milestones=[30, 60], end=10)],
            'the rate never changes',
        ),
        (
            [dict(type='LinearLR', start_factor=0.1, end=20), dict(type='CosineAnnealingLR', begin=20)],
            [dict(type='LinearLR', start_factor=0.1, end=10)],
            'ends at epoch 10 instead of 20',
        ),
    ],
)
def test_lengths_of_ten_epochs(schedulers, derived, note):
    result, notes = derive_schedules(copy.deepcopy(schedulers), max_epochs=10)
    assert result == derived
    assert bool(notes) == bool(note) and note in ' '.join(notes)
    assert all(' Fix: ' in sentence for sentence in notes)


# ---------------------------------------------------------------- what has no effect

IN_STEPS = dict(convert_to_iter_based=True)
EFFECTS = [  # of one scheduler in ten epochs: the reason why it never changes the rate, or nothing
    (dict(type='StepLR', step_size=10), 'the first drop is due at epoch 10'),
    (dict(type='StepLR', step_size=9), ''),
    (dict(type='StepLR', step_size=7, end=7), 'at epoch 7, the end is at 7'),
    (dict(type='StepLR', step_size=7, begin=3), 'at epoch 10'),
    (dict(type='StepLR', step_size=6, begin=3), ''),
    (dict(type='StepLR', step_size=10, **IN_STEPS), 'at epoch 10'),
    (dict(type='MultiStepLR', milestones=[10, 20]), 'at epoch 10'),
    (dict(type='MultiStepLR', milestones=[9]), ''),
    (dict(type='MultiStepLR', milestones=[6], begin=5), 'at epoch 11'),
    (dict(type='MultiStepLR', milestones=[6], begin=3), ''),
    (dict(type='ExponentialLR', gamma=0.5, begin=9), 'lasts one epoch'),
    (dict(type='ExponentialLR', gamma=0.5, begin=8), ''),
    (dict(type='PolyLR', begin=9), 'lasts one epoch'),
    (dict(type='PolyLR', begin=9, **IN_STEPS), ''),
    (dict(type='CosineAnnealingLR', begin=9, eta_min=0.0), 'lasts one epoch'),
    (dict(type='CosineAnnealingLR', begin=9, eta_min=0.0, **IN_STEPS), ''),
    (dict(type='LinearLR', start_factor=0.25, end=1), 'the rate stays at 0.25 of its value'),
    (dict(type='LinearLR', start_factor=0.25, end=1, **IN_STEPS), ''),
]


def rates_of(schedulers, max_epochs, lr=1.0):
    """The rate of every step, STEPS an epoch, as mmengine's schedulers set it."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    shared = dict(optimizer=optimizer, epoch_length=STEPS)
    built = [PARAM_SCHEDULERS.build(dict(scheduler), default_args=shared) for scheduler in schedulers]
    rates = []
    for step in range(1, max_epochs * STEPS + 1):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in built:
            if not scheduler.by_epoch or step % STEPS == 0:
                scheduler.step()
    return rates


@pytest.mark.parametrize('scheduler, reason', EFFECTS)
def test_a_scheduler_that_never_changes_the_rate_is_told(scheduler, reason):
    derived, notes = derive_schedules([dict(scheduler)], max_epochs=10)
    assert (len(set(rates_of(derived, 10))) == 1) == bool(reason)
    assert [reason in note and 'the rate ' in note and ' Fix: ' in note for note in notes] == [True] * bool(reason)


def test_only_the_milestones_that_are_never_reached_are_told():
    _, (note,) = derive_schedules([dict(type='MultiStepLR', milestones=[3, 10, 30])], max_epochs=10)
    assert 'no drop at 10, 30' in note and 'Fix: smaller milestones' in note


def test_a_drop_that_its_own_end_prevents_wants_a_larger_end():
    _, (note,) = derive_schedules([dict(type='StepLR', step_size=7, end=5)], max_epochs=20)
    assert 'at epoch 7, the end is at 5' in note and note.endswith('Fix: a smaller step_size, or a larger end.')


def test_what_counts_steps_is_left_as_it_is():
    schedulers = dict(type='StepLR', step_size=1000, by_epoch=False)
    assert derive_schedules([schedulers], max_epochs=2) == ([schedulers], [])


# ---------------------------------------------------------------- the bases


def rates_of_base(name, max_epochs=None):
    """(rate of every step, notes) of a base of ours, as it is or for a run of another length."""
    cfg = load_config(CONFIGS / '_base_' / 'schedules' / f'{name}.py')
    max_epochs = max_epochs or cfg.train_cfg.max_epochs
    schedulers, notes = derive_schedules(copy.deepcopy(cfg.param_scheduler), max_epochs)
    return rates_of(schedulers, max_epochs, lr=cfg.optim_wrapper.optimizer.lr), notes


def epochs_of(rates):
    assert all(len(set(rates[i : i + STEPS])) == 1 for i in range(0, len(rates), STEPS))  # changes between epochs only
    return rates[::STEPS]


@pytest.mark.parametrize(
    'name, expected',
    [
        ('sgd_constant_30e', [0.01] * 30),
        ('adam_constant_50e', [1e-4] * 50),
        ('sgd_step_25e', [1e-3] * 7 + [1e-4] * 7 + [1e-5] * 7 + [1e-6] * 4),
        ('sgd_multistep_30e', [1e-2] * 15 + [1e-3] * 10 + [1e-4] * 5),
        ('adam_warmup_exponential_cosine', [1e-5 * (1 + epoch) for epoch in range(10)]),  # report B's ten-epoch cells
    ],
)
def test_the_rate_of_every_epoch(name, expected):
    rates, notes = rates_of_base(name)
    assert epochs_of(rates) == pytest.approx(expected)
    assert len(notes) == (2 if name.startswith('adam_warmup') else 0)


def test_report_b_warms_up_decays_and_falls_along_a_cosine():
    rates, notes = rates_of_base('adam_warmup_exponential_cosine', max_epochs=40)
    rates = [rate / 1e-4 for rate in epochs_of(rates)]
    top, low = 0.9**9, 0.01
    expected = {0: 0.1, 5: 0.6, 9: 1.0, 10: 1.0, 15: 0.9**5, 19: top, 20: top}
    expected |= {30: low + (top - low) / 2, 39: low + (top - low) * (1 + cos(pi * 19 / 20)) / 2}
    assert {epoch: rates[epoch] for epoch in expected} == pytest.approx(expected)
    assert notes == []


@pytest.mark.parametrize('name, lr, max_epochs', [('adamw_warmup_cosine', 3e-4, 8), ('sgd_warmup_cosine', 3e-3, 6)])
def test_warm_up_and_cosine_change_with_every_step(name, lr, max_epochs):
    rates, notes = rates_of_base(name)
    assert len(rates) == max_epochs * STEPS and notes == []
    steps = (max_epochs - 1) * STEPS  # of the cosine
    expected = [lr * (0.1 + 0.9 * step / (STEPS - 1)) for step in range(STEPS)]
    expected += [lr * (0.01 + 0.99 * (1 + cos(pi * step / steps)) / 2) for step in range(steps)]
    assert rates == pytest.approx(expected)
