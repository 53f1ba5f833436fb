"""A child over its base: a new type starts afresh, everything else merges as in mmengine."""

import pytest

from flowercls.config import load_config

BASE = """
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='LinearLR', begin=0, end=1), dict(type='CosineAnnealingLR', begin=1, eta_min=0.1)]
model = dict(head=dict(loss=dict(type='CrossEntropyLoss', loss_weight=1.0)), backbone=dict(type='ResNet', depth=50))
train_dataloader = dict(sampler=dict(type='DefaultSampler', shuffle=True, round_up=False))
"""


@pytest.fixture
def load(write):
    write(BASE, 'base.py')
    return lambda child='', *overrides: load_config(write(f"_base_ = 'base.py'\n{child}\n"), overrides)


def test_a_new_optimizer_does_not_keep_the_old_ones_arguments(load):
    cfg = load("optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.001))")
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', lr=0.001)


def test_the_same_type_keeps_them(load):
    cfg = load("optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))")
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.01, momentum=0.9)


def test_a_new_loss_and_a_new_sampler_start_afresh(load):
    cfg = load(
        "model = dict(head=dict(loss=dict(type='FocalLoss', gamma=2.0)))\n"
        "train_dataloader = dict(sampler=dict(type='CounterSampler'))"
    )
    assert cfg.model.head.loss == dict(type='FocalLoss', gamma=2.0)
    assert cfg.train_dataloader.sampler == dict(type='CounterSampler')


def test_other_parts_keep_their_arguments_as_in_mmengine(load):
    assert load("model = dict(backbone=dict(type='SEResNet'))").model.backbone == dict(type='SEResNet', depth=50)


def test_an_explicit_delete_still_works_and_leaves_nothing_behind(load):
    cfg = load("model = dict(backbone=dict(_delete_=True, type='VGG'), neck=dict(_delete_=True, type='GAP'))")
    assert cfg.model.backbone == dict(type='VGG')
    assert cfg.model.neck == dict(type='GAP')


def test_on_the_command_line_a_new_type_arrives_with_its_arguments(load):
    cfg = load('', 'optim_wrapper.optimizer.type=AdamW', 'optim_wrapper.optimizer.weight_decay=0.05')
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', weight_decay=0.05)


def test_on_the_command_line_one_scheduler_of_a_list_is_exchanged(load):
    cfg = load('', 'param_scheduler.0.type=StepLR', 'param_scheduler.0.step_size=3')
    assert cfg.param_scheduler == [
        dict(type='StepLR', step_size=3),
        dict(type='CosineAnnealingLR', begin=1, eta_min=0.1),
    ]


def test_the_base_is_read_again_unchanged(load):
    load('', 'param_scheduler.0.type=StepLR', 'param_scheduler.0.step_size=3')
    assert load().param_scheduler[0] == dict(type='LinearLR', begin=0, end=1)
