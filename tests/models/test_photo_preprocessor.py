"""The same images and labels as mmpretrain's own preprocessor gives, to the bit."""

import copy

import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from flowercls.data.randomness import seed_generators
from flowercls.models.preprocess import PhotoPreprocessor

IMAGENET = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375], 'to_rgb': True}
MIXED = {'augments': [{'type': 'Mixup', 'alpha': 0.8}]}


def batch(as_list=False, sizes=(20, 20)):
    generator = torch.Generator().manual_seed(0)
    photos = [torch.randint(0, 256, (3, 24, size), generator=generator, dtype=torch.uint8) for size in sizes]
    samples = [DataSample().set_gt_label(number) for number in range(len(photos))]
    return {'inputs': photos if as_list else torch.stack(photos), 'data_samples': samples}


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize(
    'options',
    [
        IMAGENET,
        {**IMAGENET, 'to_rgb': False},
        {'to_rgb': True},
        {**IMAGENET, 'num_classes': 2, 'batch_augments': MIXED},
    ],
)
def test_images_and_labels_are_mmpretrains(options, channels_last):
    ours = PhotoPreprocessor(**copy.deepcopy(options), channels_last=channels_last)
    theirs = ClsDataPreprocessor(**copy.deepcopy(options))
    results = []
    for preprocessor in (ours, theirs):
        seed_generators(0)
        results.append(preprocessor(batch(), training=True))
    assert torch.equal(results[0]['inputs'], results[1]['inputs'])
    memory = torch.channels_last if channels_last else torch.contiguous_format
    assert 'batch_augments' in options or results[0]['inputs'].is_contiguous(memory_format=memory)
    for ours, theirs in zip(*(result['data_samples'] for result in results), strict=True):
        assert torch.equal(ours.gt_label, theirs.gt_label) and ours.keys() == theirs.keys()


def test_photos_of_several_sizes_are_padded_alike():
    options = {**IMAGENET, 'pad_size_divisor': 32}
    kinds = (PhotoPreprocessor, ClsDataPreprocessor)
    ours, theirs = (kind(**options)(batch(as_list=True, sizes=(20, 30)))['inputs'] for kind in kinds)
    assert torch.equal(ours, theirs) and ours.shape == (2, 3, 32, 32)


def test_the_photos_themselves_stay_as_they_were():
    photos = batch()
    before = photos['inputs'].clone()
    PhotoPreprocessor(mean=[1.0] * 3, std=[2.0] * 3)(photos)
    assert torch.equal(photos['inputs'], before)
