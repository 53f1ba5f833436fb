"""Every class that a config names exists where it is looked up, and takes the arguments it is given."""

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
    """The mistakes in one of our configs with overrides, without headline and file name."""

    def mistakes_of(*overrides, name='mobilenet_v2_flower.py'):
        path = CONFIGS / name
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
def test_mmpretrains_configs_are_right(write, data_root, base):
    cfg, _ = resolve_config(write(f"_base_ = ['mmpretrain::{base}']\ndata_root = {str(data_root)!r}"))
    check_components(cfg)


@pytest.mark.parametrize(
    'overrides, expected',
    [
        (['optim_wrapper.optimizer.type=AdamW'], []),
        (
            ['optim_wrapper.optimizer.type=AdmW'],
            ["optim_wrapper.optimizer: unknown type 'AdmW' (did you mean 'AdamW'?)"],
        ),
        (
            ['optim_wrapper.optimizer.type=AdamW', 'optim_wrapper.optimizer.momentum=0.9'],
            ["optim_wrapper.optimizer (AdamW): unknown argument 'momentum'"],
        ),
        (
            ['optim_wrapper.optimizer.amsgrd=True'],
            ["optim_wrapper.optimizer (AdamW): unknown argument 'amsgrd' (did you mean 'amsgrad'?)"],
        ),
        (
            ['optim_wrapper.optimizer.Ir=1'],
            ["optim_wrapper.optimizer (AdamW): unknown argument 'Ir' (did you mean 'lr'?)"],
        ),
        (
            ['model.backbone.type=ResNet'],
            [
                "model.backbone (ResNet): unknown argument 'widen_factor'",
                "model.backbone (ResNet): argument 'depth' is missing",
            ],
        ),
        (
            ['model.backbone.conv_cfg.type=Conv2dAdaptivePaddin'],
            ["model.backbone.conv_cfg: unknown type 'Conv2dAdaptivePaddin' (did you mean 'Conv2dAdaptivePadding'?)"],
        ),
        (
            ['param_scheduler.0.type=StepLR', 'param_scheduler.0.step_sise=3'],
            ["param_scheduler.0 (StepLR): unknown argument 'step_sise' (did you mean 'step_size'?)"],
        ),
        (
            ['train_dataloader.dataset.pipeline.1.transforms.1.type=RandomHorizontalFlp'],
            [
                "train_dataloader.dataset.pipeline.1.transforms.1: unknown type 'RandomHorizontalFlp' "
                "(did you mean 'RandomHorizontalFlip'?)"
            ],
        ),
        (
            ['train_dataloader.dataset.pipeline.1.transforms.0.antialiased=True'],
            [
                'train_dataloader.dataset.pipeline.1.transforms.0 (RandomResizedCrop): '
                "unknown argument 'antialiased' (did you mean 'antialias'?)"
            ],
        ),
        (
            ['val_evaluator.0.thresholds=3'],
            ["val_evaluator.0 (Accuracy): unknown argument 'thresholds' (did you mean 'thrs'?)"],
        ),
        (
            ['train_dataloader.sampler.type=CounterSampelr'],
            ["train_dataloader.sampler: unknown type 'CounterSampelr' (did you mean 'CounterSampler'?)"],
        ),
        (
            ['train_dataloader.collate_fn.type=defalt_collate'],
            ["train_dataloader.collate_fn: unknown type 'defalt_collate' (did you mean 'default_collate'?)"],
        ),
        (
            ['default_hooks.checkpoint.keep=3'],
            ["default_hooks.checkpoint (WholeCheckpointHook): unknown argument 'keep'"],
        ),
        (['default_hooks.progress.priority=LOW'], []),
        (['default_hooks.timer.type=mmengine.IterTimerHook'], []),
        (['visualizer.type=Visualiser'], ["visualizer: unknown type 'Visualiser' (did you mean 'Visualizer'?)"]),
        (['train_cfg.type=EpochBasedTrainLoop'], []),
        (
            ['optim_wrapper.optimizer.weight_decay=much'],
            ["optim_wrapper.optimizer.weight_decay: AdamW expects a value like its default 0.01, got 'much'"],
        ),
        (
            ['train_dataloader.dataset.pipeline.1.transforms.1.p=often'],
            [
                'train_dataloader.dataset.pipeline.1.transforms.1.p: RandomHorizontalFlip expects a value like its '
                "default 0.5, got 'often'"
            ],
        ),
        (
            ['model.backbone.norm_eval=never'],
            ["model.backbone.norm_eval: MobileNetV2 expects a value like its default False, got 'never'"],
        ),
    ],
    ids=lambda value: value[0][:60] if value else 'right',
)
def test_names_and_arguments(check, overrides, expected):
    assert check(*overrides) == expected


def test_all_mistakes_are_reported_at_once(check):
    lines = check('optim_wrapper.optimizer.amsgrd=True', 'model.backbone.type=ResNt', 'val_evaluator.0.type=Acuracy')
    assert len(lines) == 3


def test_torchvision_transforms_of_mmpretrain_are_checked_against_torchvision(check):
    key = 'train_dataloader.dataset.pipeline.0'
    assert check(f'{key}.type=torchvision/ColorJitter', f'{key}.hue=0.1') == []
    lines = check(f'{key}.type=torchvision/ColorJitter', f'{key}.hues=0.1')
    assert lines == [f"{key} (torchvision/ColorJitter): unknown argument 'hues' (did you mean 'hue'?)"]


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
