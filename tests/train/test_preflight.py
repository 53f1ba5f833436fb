"""What usually goes wrong is said before the first step, with the remedy; what is right is not mentioned."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmpretrain.models import ClsDataPreprocessor

from flowercls.config.resolve import Flags
from flowercls.train.preflight import _image_size, _normalisation, preflight

# The tiny config has 45 photos in batches of 8, so an epoch of 6 steps and a run of 12, at 64 px, which is as it
# should be.
SOUND = {'auto_scale_lr.base_batch_size': 8}
BATCH, BASE, COUNTS = (
    'train_dataloader.batch_size',
    'auto_scale_lr.base_batch_size',
    'optim_wrapper.accumulative_counts',
)
FOUR, ELEVEN = {BATCH: 4, BASE: 4}, {BATCH: 11, BASE: 11}  # 45 = 4 × 11 + 1: both leave a batch of one photo
ONE_PHOTO = 'single photo.*drop_last=True'
INCEPTION = {
    'model.backbone': dict(_delete_=True, type='InceptionV3', aux_logits=False),
    'model.head': dict(_delete_=True, type='ClsHead'),
    'model.neck': None,
    'train_dataloader.dataset.pipeline.1.transforms.0.size': 96,
}
WRONG_RATE = '0.05 is meant for 32 photos a step, this run takes 8.*--auto-scale-lr, which makes it 0.0125.*size=8$'


def adam(name):
    return {'optim_wrapper.optimizer': dict(type=name, lr=0.01)}


def schedule(**options):
    return {'param_scheduler': [dict(by_epoch=False, **options)]}


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({}, []),
        ({BASE: 32}, [WRONG_RATE]),
        ({BASE: 32, COUNTS: 4}, []),
        ({BASE: 12}, []),  # not far enough to matter
        ({COUNTS: 7, BASE: 56}, ['takes 7 batches, an epoch has only 6.*accumulative_counts=1$']),
        (adam('Adam'), ['one for SGD; Adam mostly forgets']),
        (adam('AdamW'), ['one for SGD; AdamW mostly forgets']),
        (adam('SGD'), []),
        (FOUR, ['20 batch-norm layers.*from 4 photos.*batch_size=8', ONE_PHOTO]),
        (FOUR | {'model.frozen_stages': 3}, ['5 batch-norm layers', ONE_PHOTO]),  # those of the fourth stage
        (FOUR | {'model.frozen_stages': 'all'}, []),  # nothing is estimated there
        (FOUR | {'model.backbone.norm_eval': True}, []),
        (ELEVEN, [ONE_PHOTO]),
        (ELEVEN | {'train_dataloader.drop_last': True}, []),
        (
            {'default_hooks.logger.interval': 7},
            ['every 7 steps, but an epoch has only 6.*Fix: --cfg-options default_hooks.logger.interval=1$'],
        ),
        ({'input_size': 224}, ['224 px, validation photos have 64.*Fix: _base_/datasets/flower_224.py, or 224 in']),
        ({'input_size': 192}, ['Fix: 192 in the pipelines']),  # there is no base of that size
        ({'input_size': 64}, []),
        (INCEPTION, ['this InceptionV3 are meant for 299 px.*flower_299.py']),
        (schedule(type='MultiStepLR', milestones=[12, 20]), [r'milestones=\[12, 20\]: the first drop .* at step 12']),
        (schedule(type='StepLR', step_size=11), []),  # fires at the last of the 12 steps
        (schedule(type='StepLR', step_size=12), ['step_size=12: the first drop is due at step 12']),
        (schedule(type='PolyLR', begin=12), ['begins at step 12 of 12. Fix: a smaller begin']),
        (schedule(type='CosineAnnealingLR', T_max=12, begin=3), ['the lowest rate is never reached']),
        (schedule(type='CosineAnnealingLR', T_max=9, begin=3), []),
        (schedule(type='CosineAnnealingLR', T_max=4), ['lowest rate at step 4, then it rises again']),
        (schedule(type='LinearLR', start_factor=0.1, end=2500), ['ends at step 2500, but the run ends at 12']),
    ],
    ids=str,
)
def test_each_mistake_is_told_with_its_remedy(build, options, expected):
    found = preflight(build(overrides=SOUND | options))
    assert len(found) == len(expected), found
    for warning, words in zip(found, expected, strict=True):
        assert re.search(words, warning), warning


def test_flags_may_make_it_right(build):
    assert preflight(build(overrides={BASE: 32}, flags=Flags(auto_scale_lr=True))) == []
    # Some recipes train with smaller photos than the weights are meant for.
    assert preflight(build(overrides=SOUND | {'input_size': 224}, flags=Flags(no_validate=True))) == []


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
