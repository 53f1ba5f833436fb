"""What usually goes wrong is said before the first step, with the remedy; what is right is not mentioned."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmpretrain.models import ClsDataPreprocessor

from flowercls.config.resolve import Flags
from flowercls.train.optimizer import effective_batch_size
from flowercls.train.preflight import _image_size, _normalisation, preflight
from flowercls.train.run_config import resolve_for_run
from flowercls.train.runner import build_runner

# The tiny config has 45 photos in batches of 8, at 64 px, which is as it should be.
SOUND = {'auto_scale_lr.base_batch_size': 8}


@pytest.fixture
def warnings(write_config, tmp_path):
    """The warnings of the tiny config with some options."""

    def look(flags=None, **options):
        overrides = {**SOUND, **{key.replace('__', '.'): value for key, value in options.items()}}
        cfg = resolve_for_run(write_config(tmp_path), overrides, flags or Flags())
        cfg.work_dir = str(tmp_path / 'run')
        return preflight(build_runner(cfg))

    return look


def test_a_sound_config_has_no_warning(warnings):
    assert warnings() == []


def test_a_rate_for_another_batch_size(warnings):
    (warning,) = warnings(auto_scale_lr__base_batch_size=32)
    assert '0.05 is meant for 32 photos a step, this run takes 8' in warning
    assert '--auto-scale-lr, which makes it 0.0125' in warning and 'base_batch_size=8' in warning
    assert warnings(Flags(auto_scale_lr=True), auto_scale_lr__base_batch_size=32) == []
    assert warnings(auto_scale_lr__base_batch_size=32, optim_wrapper__accumulative_counts=4) == []
    assert warnings(auto_scale_lr__base_batch_size=12) == []  # not far enough to matter


def test_more_accumulated_batches_than_an_epoch_has(warnings):
    (warning,) = warnings(optim_wrapper__accumulative_counts=7, auto_scale_lr__base_batch_size=56)
    assert 'takes 7 batches, an epoch has only 6' in warning and 'accumulative_counts=1' in warning


@pytest.mark.parametrize(
    'schedule, said',
    [
        (dict(type='MultiStepLR', milestones=[12, 20]), 'milestones=[12, 20]: the first drop is due at step 12'),
        (dict(type='StepLR', step_size=11), None),  # fires at the last of the 12 steps
        (dict(type='StepLR', step_size=12), 'step_size=12: the first drop is due at step 12'),
        (dict(type='PolyLR', begin=12), 'begins at step 12 of 12. Fix: a smaller begin'),
        (dict(type='CosineAnnealingLR', T_max=12, begin=3), 'the lowest rate is never reached'),
        (dict(type='CosineAnnealingLR', T_max=9, begin=3), None),
        (dict(type='CosineAnnealingLR', T_max=4), 'lowest rate at step 4, then it rises again'),
        (dict(type='LinearLR', start_factor=0.1, end=2500), 'ends at step 2500, but the run ends at 12'),
    ],
)
def test_a_schedule_counted_in_steps_that_never_fires(warnings, schedule, said):
    """Two epochs of six steps."""
    found = warnings(param_scheduler=[dict(by_epoch=False, **schedule)])
    assert len(found) == bool(said) and all(said in warning for warning in found)


@pytest.mark.parametrize('optimizer, warned', [('Adam', True), ('AdamW', True), ('SGD', False)])
def test_a_rate_of_sgd_given_to_adam(warnings, optimizer, warned):
    found = warnings(optim_wrapper__optimizer=dict(type=optimizer, lr=0.01))
    assert [f'one for SGD; {optimizer} mostly forgets' in warning for warning in found] == [True] * warned


def test_a_batch_too_small_for_batch_norm(warnings):
    options = dict(train_dataloader__batch_size=4, auto_scale_lr__base_batch_size=4)
    (warning,) = [found for found in warnings(**options) if 'single photo' not in found]
    assert '20 batch-norm layers' in warning and 'from 4 photos' in warning and 'batch_size=8' in warning
    assert warnings(**options, model__frozen_stages='all') == []  # nothing is estimated there


def test_batch_norm_layers_that_a_backbone_keeps_itself_do_not_count(warnings):
    options = dict(train_dataloader__batch_size=4, auto_scale_lr__base_batch_size=4, model__backbone__norm_eval=True)
    assert warnings(**options) == []


def test_batch_norm_layers_that_are_frozen_do_not_count(warnings):
    options = dict(train_dataloader__batch_size=4, auto_scale_lr__base_batch_size=4, model__frozen_stages=3)
    assert any('5 batch-norm layers' in warning for warning in warnings(**options))  # those of the fourth stage


def test_a_last_batch_of_one_photo(warnings):
    options = dict(train_dataloader__batch_size=11, auto_scale_lr__base_batch_size=11)  # 45 = 4 × 11 + 1
    (warning,) = warnings(**options)
    assert 'single photo' in warning and 'drop_last=True' in warning
    assert warnings(**options, train_dataloader__drop_last=True) == []


def test_a_log_interval_longer_than_an_epoch(warnings):
    (warning,) = warnings(default_hooks__logger__interval=7)
    assert 'every 7 steps, but an epoch has only 6' in warning and 'interval=1.' in warning


def test_photos_smaller_than_the_weights_are_meant_for(warnings):
    (warning,) = warnings(input_size=224)
    assert '224 px, validation photos have 64' in warning
    assert 'Fix: _base_/datasets/flower_224.py, or 224 in the pipelines' in warning
    (warning,) = warnings(input_size=192)
    assert 'Fix: 192 in the pipelines' in warning  # there is no base of that size
    assert warnings(input_size=64) == []
    assert warnings(Flags(no_validate=True), input_size=224) == []  # some recipes train with smaller photos


@pytest.mark.parametrize(
    'arch, size, mean',
    [('resnet18', 224, None), ('inception_v3', 299, None), ('efficientnet_v2_m', 480, None), ('vit_l_16', 224, None),
     ('efficientnet_v2_l', 480, 'mean=[127.5, 127.5, 127.5]')],
)  # fmt: skip
def test_what_torchvision_says_of_its_weights_counts_whatever_the_file_says(arch, size, mean):
    """As where only `model.backbone.arch` is changed."""
    backbone = ConfigDict(type='TorchvisionBackbone', arch=arch, weights='IMAGENET1K_V1')
    cfg = ConfigDict(model=dict(backbone=backbone), load_from=f'torchvision://{arch}.imagenet1k_v1', input_size=224)
    imagenet = ClsDataPreprocessor(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    photos = SimpleNamespace(dataset=[dict(inputs=torch.zeros(3, 224, 224))])
    model = SimpleNamespace(data_preprocessor=imagenet)
    runner = SimpleNamespace(cfg=cfg, val_loop=True, val_dataloader=photos, model=model)
    sizes = list(_image_size(runner))
    assert [f'meant for {size} px' in warning for warning in sizes] == [True] * (size > 224)
    assert [mean in warning for warning in _normalisation(runner)] == [True] * bool(mean)


def test_inception_is_known_to_want_299_px_in_any_config(warnings):
    options = dict(model__backbone=dict(_delete_=True, type='InceptionV3', aux_logits=False), model__neck=None)
    options |= dict(model__head=dict(_delete_=True, type='ClsHead'), train_dataloader__batch_size=8)
    sizes = {'train_dataloader__dataset__pipeline__1__transforms__0__size': 96}
    (warning,) = [found for found in warnings(**options, **sizes) if 'px' in found]
    assert 'this InceptionV3 are meant for 299 px' in warning and 'flower_299.py' in warning


def test_photos_of_a_step_count_what_is_accumulated(write_config, tmp_path):
    cfg = resolve_for_run(write_config(tmp_path), {'optim_wrapper.accumulative_counts': 3}, Flags())
    cfg.work_dir = str(tmp_path / 'run')
    assert effective_batch_size(build_runner(cfg)) == 24
