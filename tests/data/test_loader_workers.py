"""What reaches the model is a function of the counters: loader workers, and what was drawn before, change nothing."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import default_collate
from mmpretrain.models import ClsDataPreprocessor
from torch.utils.data import DataLoader

import flowercls.registration  # noqa: F401
from flowercls.config import load_config
from flowercls.data.image_folder import ImageFolder
from flowercls.data.sampler import CounterSampler
from flowercls.train.hooks import CounterRandomnessHook

REPORT_C = Path(__file__).parent.parent.parent / 'configs' / '_base_' / 'datasets' / 'flower_224_report_c.py'
MIXED = dict(augments=[dict(type='Mixup', alpha=0.2), dict(type='CutMix', alpha=1.0)])


@pytest.fixture(scope='module')
def photos(drawn_root):
    """The drawn flowers through the transforms of report C, at 32 px."""
    pipeline = [dict(step) for step in load_config(REPORT_C).train_dataloader.dataset.pipeline]
    for transform in pipeline[1]['transforms']:
        transform.update(size=32) if 'size' in transform else None
    return ImageFolder(data_root=str(drawn_root), ann_file='train.txt', data_prefix='training_set', pipeline=pipeline)


def two_epochs(photos, num_workers):
    """Batches of two successive epochs as the loader gives them, and as the network gets them: mixed."""
    sampler = CounterSampler(photos, seed=3)
    workers = dict(num_workers=num_workers, persistent_workers=num_workers > 0)
    loader = DataLoader(photos, batch_size=10, sampler=sampler, collate_fn=default_collate, **workers)
    mix = ClsDataPreprocessor(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True, num_classes=5, batch_augments=MIXED)
    hook, epochs = CounterRandomnessHook(), []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append([])
        for i, batch in enumerate(loader):
            hook.before_train_iter(SimpleNamespace(seed=3, iter=epoch * len(loader) + i, rank=0), i, batch)
            numbers = [sample.sample_idx for sample in batch['data_samples']]
            mixed = mix(batch, training=True)
            shares = torch.stack([sample.gt_score for sample in mixed['data_samples']])
            epochs[-1].append((numbers, batch['inputs'], mixed['inputs'], shares))
    return epochs


@pytest.fixture(scope='module')
def alone(photos):
    return two_epochs(photos, num_workers=0)


@pytest.mark.parametrize('num_workers', [1, 2, 3])
def test_loader_workers_change_no_bit_of_what_the_network_gets(photos, alone, num_workers):
    torch.rand(num_workers)  # whatever was drawn before
    for ours, theirs in zip(alone, two_epochs(photos, num_workers), strict=True):
        for (numbers, *tensors), (other_numbers, *others) in zip(ours, theirs, strict=True):
            assert numbers == other_numbers
            assert all(torch.equal(tensor, other) for tensor, other in zip(tensors, others, strict=True))


def test_photos_are_mixed_on_the_way_to_the_network(alone):
    shares = torch.cat([shares for epoch in alone for *_, shares in epoch])
    assert ((shares > 0).sum(1) == 2).any()  # else the test above would say nothing about mixing
    torch.testing.assert_close(shares.sum(1), torch.ones(90))


def test_the_second_epoch_is_another_in_order_and_in_every_photo(alone):
    orders = [[number for numbers, *_ in epoch for number in numbers] for epoch in alone]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == list(range(45))
    views = [dict(zip(order, torch.cat([batch for _, batch, *_ in epoch]), strict=True))
             for order, epoch in zip(orders, alone, strict=True)]  # fmt: skip
    assert not any(torch.equal(views[0][number], views[1][number]) for number in range(45))
