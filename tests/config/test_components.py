"""Every class that a config names exists where it is looked up, and takes the arguments it is given."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from flowercls.config import check_components, resolve_config
from flowercls.config.components import Arguments, arguments_of, fits
from flowercls.core.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture
def check(data_root):
    """The mistakes in a config of ours with overrides, without headline and file name."""

    def mistakes_of(*overrides):
        path = CONFIGS / 'mobilenet_v2_flower.py'
        cfg, _ = resolve_config(path, [f'data_root={data_root}', *overrides])
        try:
            check_components(cfg)
        except ConfigError as error:
            return [line.removeprefix(f'{path}: ') for line in str(error).split('\n  ')[1:]]
        return []

    return mistakes_of


@pytest.mark.parametrize(
    'base',
    [
        'resnet/resnet50_8xb32_in1k.py',
        'convnext/convnext-tiny_32xb128_in1k.py',  # Mixup, CutMix, RandAugment, EMA
        'vision_transformer/vit-base-p16_32xb128-mae_in1k.py',  # layer-wise learning rates
        'mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py',
        'deit/deit-small_4xb256_in1k.py',  # repeated augmentation
    ],
)
def test_mmpretrains_configs_are_right(inherit, base):
    check_components(inherit(base=base)[0])


PIPELINE = 'train_dataloader.dataset.pipeline'


@pytest.mark.parametrize(
    'override, mistake',
    [
        ('optim_wrapper.optimizer.type=AdmW', r"optim_wrapper.optimizer: unknown type 'AdmW' .*'AdamW'"),
        ('optim_wrapper.optimizer.momentum=0.9', r"optim_wrapper.optimizer \(AdamW\): unknown argument 'momentum'$"),
        ('optim_wrapper.optimizer.amsgrd=True', r"\(AdamW\): unknown argument 'amsgrd' .*'amsgrad'"),
        ('optim_wrapper.optimizer.Ir=1', r"\(AdamW\): unknown argument 'Ir' .*'lr'"),
        ('model.backbone.conv_cfg.type=Conv2dAdaptivePaddin', r"model.backbone.conv_cfg: unknown type .*Padding'"),
        ('param_scheduler.1.T_mx=3', r"param_scheduler.1 \(CosineAnnealingLR\): unknown argument 'T_mx' .*'T_max'"),
        (f'{PIPELINE}.1.transforms.1.type=RandomHorizontalFlp', r'1.transforms.1: unknown type .*RandomHorizontalFlip'),
        (f'{PIPELINE}.1.transforms.0.antialiased=True', r"\(RandomResizedCrop\): unknown argument .*'antialias'"),
        ('val_evaluator.0.thresholds=3', r"val_evaluator.0 \(Accuracy\): unknown argument 'thresholds' .*'thrs'"),
        ('train_dataloader.sampler.type=CounterSampelr', r"train_dataloader.sampler: unknown type .*'CounterSampler'"),
        ('train_dataloader.collate_fn.type=defalt_collate', r"collate_fn: unknown type .*'default_collate'"),
        ('default_hooks.checkpoint.keep=3', r"\(WholeCheckpointHook\): unknown argument 'keep'"),
        ('visualizer.type=Visualiser', r"visualizer: unknown type 'Visualiser' .*'Visualizer'"),
        ('optim_wrapper.optimizer.weight_decay=much', r"weight_decay: AdamW expects .* default 0.01, got 'much'"),
        (f'{PIPELINE}.1.transforms.1.p=often', r"1.transforms.1.p: .*Flip expects .* default 0.5, got 'often'"),
        ('model.backbone.norm_eval=never', r"norm_eval: MobileNetV2 expects .* default False, got 'never'"),
        (
            f'{PIPELINE}.0.type=torchvision/ColorJitter {PIPELINE}.0.hues=0.1',
            r"ColorJitter\): unknown argument .*'hue'",
        ),
    ],
)
def test_a_wrong_name_or_argument_is_named(check, override, mistake):
    (line,) = check(*override.split())
    assert re.search(mistake, line)


@pytest.mark.parametrize(
    'override',
    [
        'optim_wrapper.optimizer.type=AdamW',
        'default_hooks.progress.priority=LOW',
        'default_hooks.timer.type=mmengine.IterTimerHook',
        'train_cfg.type=EpochBasedTrainLoop',
        f'{PIPELINE}.0.type=torchvision/ColorJitter {PIPELINE}.0.hue=0.1',
    ],
)
def test_right_names_and_arguments_pass(check, override):
    assert check(*override.split()) == []


def test_all_mistakes_are_reported_at_once(check):
    lines = check('optim_wrapper.optimizer.amsgrd=True', 'model.backbone.type=ResNet', 'val_evaluator.0.type=Acuracy')
    unknown, missing = [line for line in lines if line.startswith('model.backbone (ResNet): ')]
    assert len(lines) == 4 and "unknown argument 'widen_factor'" in unknown and "'depth' is missing" in missing


def test_an_import_that_fails_is_named(data_root):
    cfg, _ = resolve_config(CONFIGS / 'demo_flower.py', [f'data_root={data_root}', 'custom_imports.imports=[no_such]'])
    with pytest.raises(ConfigError, match=r"custom_imports.imports=\['no_such', 'flowercls.registration'\]: .*no_such"):
        check_components(cfg)


# ---------------------------------------------------------------- signatures


class Base:
    def __init__(
        self, size: int, *, ratio=1.0, name: str | None = 'base', mode: Literal['a', 'b'] = 'a', free: Any = 3
    ):
        pass


class Forwards(Base):
    def __init__(self, own, size: Sequence[int] = (), **kwargs):
        super().__init__(kwargs.pop('measure', 3), **kwargs)


class Inherits(Forwards):
    pass


def test_arguments_of_a_closed_class():
    accepted = dict(size=None, ratio=1.0, name='base', mode='a', free=None)
    assert arguments_of(Base) == Arguments(accepted, {'size'}, is_open=False)


def test_arguments_that_are_handed_on_are_those_of_the_base_too_and_the_class_is_open():
    accepted = dict(own=None, size=(), ratio=1.0, name='base', mode='a', free=None)
    assert arguments_of(Forwards) == arguments_of(Inherits) == Arguments(accepted, {'own'}, is_open=True)


@pytest.mark.parametrize(
    'value, default, expected',
    [
        (4.0, 3, True),  # as mmpretrain's own configs have it
        ([0.1, 0.2], 0.1, True),  # one for each of several
        (True, 0.1, False),
        ('3', 3, False),
        (7, 'a', False),
        ([], 'a', False),
        ([{}], {}, True),
        ('a', {}, False),
        (None, 3, True),  # switches many an argument off
        (1, False, True),
        (7, False, False),
        ('x', False, False),
        ({}, 'auto', True),
        (7, None, True),
    ],
)
def test_kinds_of_values_that_an_argument_takes(value, default, expected):
    assert fits(value, default) is expected
