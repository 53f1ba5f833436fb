"""The augmentation sets of configs/_base_/datasets, on one photo of the size that real ones have."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmpretrain.registry import TRANSFORMS

import flowercls.registration  # noqa: F401
from flowercls.config import load_config
from flowercls.data.randomness import seeded
from flowercls.data.transforms import TorchvisionTransforms

FOLDER = Path(__file__).parent.parent.parent / 'configs' / '_base_' / 'datasets'
NAMED = {
    'flower_224_report_a': {
        'RandomHorizontalFlip',
        'RandomVerticalFlip',
        'RandomRotation',
        'RandomCrop',
        'ColorJitter',
    },
    'flower_224_report_b': {'RandomCrop', 'RandomHorizontalFlip', 'RandomErasing'},
    'flower_224_report_c': {
        'RandomResizedCrop',
        'RandomHorizontalFlip',
        'RandomRotation',
        'ColorJitter',
        'RandomAffine',
    },
    'flower_224_report_e': {'RandomHorizontalFlip', 'RandomCrop', 'ColorJitter'},
}


def loaders_of(name):
    cfg = load_config(FOLDER / f'{name}.py')
    return cfg.train_dataloader, cfg.val_dataloader


def transforms_of(name):
    return loaders_of(name)[0].dataset.pipeline[1].transforms


@pytest.mark.parametrize('name', NAMED)
def test_a_set_has_what_its_report_names(name):
    assert {transform.type for transform in transforms_of(name)} - {'Resize'} == NAMED[name]


@pytest.mark.parametrize(
    'name, trained, tested',
    [*((name, 224, 224) for name in ['flower_224', *NAMED]), ('flower_299', 299, 299), ('flower_384', 300, 384)],
)
def test_photos_arrive_at_the_size_the_network_is_for(name, trained, tested):
    photo = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    for loader, size in zip(loaders_of(name), (trained, tested), strict=True):
        packed = Compose([TRANSFORMS.build(step) for step in loader.dataset.pipeline])(
            dict(img=photo.copy(), gt_label=0)
        )
        assert packed['inputs'].shape == (3, size, size) and packed['inputs'].dtype == torch.uint8


def test_fixed_is_mixed_with_one_view():
    assert transforms_of('flower_224_report_b_fixed') == transforms_of('flower_224_report_b')
    assert loaders_of('flower_224_report_b_fixed')[0].dataset.views == 1
    assert loaders_of('flower_224_report_b')[0].dataset.views is None


def test_what_is_turned_or_erased_is_filled_with_the_mean_colour():
    white = np.full((400, 300, 3), 255, np.uint8)
    for name, spared in (('flower_224_report_b', ()), ('flower_224_report_c', ('ColorJitter',))):
        steps = [dict(transform) for transform in transforms_of(name) if transform.type not in spared]
        turn = TorchvisionTransforms(steps)
        colours = set()
        for view in range(4):
            with seeded(0, view):
                image = turn.transform(dict(img=white.copy()))['img']
            colours |= {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}
        assert (104, 116, 124) in colours and (0, 0, 0) not in colours  # BGR


def test_loaders_are_the_reports_own():
    assert [loader.num_workers for loader in loaders_of('flower_224_report_c')] == [4, 4]
    assert loaders_of('flower_224_report_e')[0].batch_size == 64
    assert loaders_of('flower_224_report_a')[0].batch_size == 32
