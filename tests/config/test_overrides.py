"""Overrides: how they are read and checked, and how a child or an override is laid over its base."""

from pathlib import Path

import pytest

from flowercls.config import load_config, parse_overrides
from flowercls.config.overrides import as_options
from flowercls.config.schema import at_path
from flowercls.core.errors import ConfigError

RESNET = Path(__file__).parents[2] / 'configs' / 'resnet50_flower.py'

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


CHILDREN = {
    'optim_wrapper.optimizer': 'optim_wrapper = dict(optimizer={})',
    'model.head.loss': 'model = dict(head=dict(loss={}))',
    'model.backbone': 'model = dict(backbone={})',
    'model.neck': 'model = dict(neck={})',
    'train_dataloader.sampler': 'train_dataloader = dict(sampler={})',
}
COSINE = dict(type='CosineAnnealingLR', begin=1, eta_min=0.1)


@pytest.mark.parametrize(
    ('part', 'child', 'overrides', 'expected'),
    [
        ('optim_wrapper.optimizer', "dict(type='AdamW', lr=0.001)", '', dict(type='AdamW', lr=0.001)),
        ('optim_wrapper.optimizer', "dict(type='SGD', lr=0.01)", '', dict(type='SGD', lr=0.01, momentum=0.9)),
        ('model.head.loss', "dict(type='FocalLoss', gamma=2.0)", '', dict(type='FocalLoss', gamma=2.0)),
        ('train_dataloader.sampler', "dict(type='CounterSampler')", '', dict(type='CounterSampler')),
        ('model.backbone', "dict(type='SEResNet')", '', dict(type='SEResNet', depth=50)),  # as in mmengine
        ('model.backbone', "dict(_delete_=True, type='VGG')", '', dict(type='VGG')),
        ('model.neck', "dict(_delete_=True, type='GAP')", '', dict(type='GAP')),  # leaves nothing behind
        ('optim_wrapper.optimizer', '', 'type=AdamW weight_decay=0.05', dict(type='AdamW', weight_decay=0.05)),
        ('param_scheduler', '', '0.type=StepLR 0.step_size=3', [dict(type='StepLR', step_size=3), COSINE]),
    ],
)
def test_a_new_type_drops_the_arguments_of_the_old_one(load, part, child, overrides, expected):
    child = child and CHILDREN[part].format(child)
    assert at_path(load(child, *[f'{part}.{option}' for option in overrides.split()]), part) == expected


def test_the_base_is_read_again_unchanged(load):
    load('', 'param_scheduler.0.type=StepLR', 'param_scheduler.0.step_size=3')
    assert load().param_scheduler[0] == dict(type='LinearLR', begin=0, end=1)


# ---------------------------------------------------------------- keys and values on the command line


@pytest.mark.parametrize(
    'override, answer',
    [
        ('optim_wraper.lr=3', "unknown key 'optim_wraper.lr' (did you mean 'optim_wrapper.optimizer.lr'?)"),
        ('lr=3', "unknown key 'lr' (did you mean 'optim_wrapper.optimizer.lr'?)"),
        ('model.frozen_stage=3', "unknown key 'frozen_stage' in model (did you mean 'frozen_stages'?)"),
        ('randomness.sed=3', "unknown key 'sed' in randomness (did you mean 'seed'?)"),
        (
            'optim_wrapper.paramwise_cfg.stage_lr_mult.stag1=0.1',
            "unknown key 'stag1' in optim_wrapper.paramwise_cfg.stage_lr_mult (did you mean 'stage1'?)",
        ),
        (
            'train_pipeline.0.type=A',
            "'train_pipeline.0.type' names a variable of the file, whose value is already used. "
            'Fix: set train_dataloader.dataset.pipeline.',
        ),
    ],
)
def test_an_override_of_an_unknown_key_is_a_mistake(mistakes, override, answer):
    assert mistakes(load_config, RESNET, [override]) == [f'--cfg-options: {answer}']


@pytest.mark.parametrize(
    'override',
    [
        'work_dir=x',
        'optim_wrapper.clip_grad.max_norm=1.0',
        'optim_wrapper.paramwise_cfg.norm_decay_mult=0.0',
        'optim_wrapper.paramwise_cfg.stage_lr_mult.stage1=0.1',
        'optim_wrapper.optimizer.nesterov=True',  # judged by the class itself, after imports
        'model.backbone.stem_channels=32',
        'default_hooks.progress=None',
        'default_hooks.early=None',
        'test_dataloader.batch_size=3',
        'param_scheduler.0.end=3',
        'test_cfg.fp16=False',
        'env_cfg.dist_cfg.timeout=3',
    ],
)
def test_overrides_of_known_keys_pass_although_the_config_does_not_set_them(override):
    key, _, value = override.partition('=')
    assert str(at_path(load_config(RESNET, [override]), key)) == value


@pytest.mark.parametrize(
    'override, reason',
    [
        ('param_scheduler.3.begin=2', "'param_scheduler' is a list of 1, numbered from 0"),
        ('param_scheduler.last.begin=2', "'param_scheduler' is a list of 1, numbered from 0"),
        ('model.backbone.depth.x=2', "'model.backbone.depth' is 50 and has no keys"),
    ],
)
def test_an_override_that_does_not_fit_is_named_with_the_reason(mistakes, override, reason):
    (mistake,) = mistakes(load_config, RESNET, [override, 'model.frozen_stages=1', 'param_scheduler.0.end=3'])
    key = override.partition('=')[0]
    assert mistake == f'--cfg-options: {key} does not fit the config: {reason}'


def test_mistakes_in_several_overrides_and_in_the_file_are_told_at_once(write, mistakes):
    name = write('randomness = dict(sed=1)\nmodel = dict(backbone=dict(depth=50))')
    overrides = ['lr=3', 'train_cfg.max_epoch=3', 'model.backbone.depth.x=2', 'log_level=LOUD']
    assert len(mistakes(load_config, name, overrides)) == 5


def test_overrides_are_read_as_mmengine_reads_them():
    texts = ['a.b=1e-3', 'c=[1,2]', 'd=(1,)', 'e=None', 'f=True', 'g=all', 'h=x,y', 'i=3', 'j=k=v']
    expected = {
        'a.b': 0.001, 'c': [1, 2], 'd': (1,), 'e': None, 'f': True, 'g': 'all', 'h': ['x', 'y'], 'i': 3, 'j': 'k=v'
    }  # fmt: skip
    values = parse_overrides(texts)
    assert values == expected
    assert type(values['i']) is int and type(values['d']) is tuple


def test_overrides_that_are_not_key_and_value_are_all_named():
    with pytest.raises(ConfigError) as caught:
        parse_overrides(['lr', 'a.=3', 'b=[1,2', 'work_dir=x'])
    message = str(caught.value)
    assert message.startswith('3 mistakes in the command line:')
    assert "'lr' is not KEY=VALUE" in message and "'a.=3' is not" in message and "'b=[1,2': brackets" in message


@pytest.mark.parametrize('path', ['data/my photos', '/w/a,b.pth', '2024', 'a [1]/(b', "it's"])
def test_paths_are_kept_as_they_are_written(path):
    keys = ('data_root', 'load_from', 'work_dir', 'val_dataloader.dataset.data_root', 'a.ann_file', 'a.data_prefix')
    assert parse_overrides(f'{key}={path}' for key in keys) == dict.fromkeys(keys, path)
    assert parse_overrides(['load_from=None']) == dict(load_from=None)


@pytest.mark.parametrize('value', ["[dict(type='EMAHook',momentum=3)]", "[dict(type='EMAHook')]", '{a:1}', 'f(1,2)'])
def test_a_value_that_cannot_be_read_is_answered_with_the_way_out(value):
    with pytest.raises(ConfigError) as caught:
        parse_overrides([f'custom_hooks={value}'])
    message = str(caught.value)
    assert f"'custom_hooks={value}': cannot be read" in message
    assert 'Fix: write it into a config file' in message and 'custom_hooks.0.momentum=0.001' in message


@pytest.mark.parametrize('overrides', [['model.frozen_stages=all'], {'model.frozen_stages': 'all'}])
def test_overrides_come_as_texts_or_as_a_dict(overrides):
    assert load_config(RESNET, overrides).model.frozen_stages == 'all'


def test_a_list_entry_is_overridden_by_its_number():
    cfg = load_config(RESNET, ['val_evaluator.0.topk=(1,3)'])
    assert cfg.val_evaluator == [dict(type='Accuracy', topk=(1, 3)), dict(type='ClassificationReport')]


def test_options_come_back_as_they_were():
    values = {'a.b': [0.08, (1, 2)], 'a.c': None, 'a.d': True, 'a.e': 1e-5, 'data_root': 'my photos/x', 'a.f': 'all'}
    assert parse_overrides(as_options(values)) == values
