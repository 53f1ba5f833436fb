"""Vectors of photos are the network's features of the whole photo, normalised as in training."""

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from PIL import Image

from flowercls.features.photo_vectors import PhotoVectors
from helpers.model_configs import TINY_BACKBONES

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]


@pytest.fixture(scope='module')
def network():
    backbone, channels = TINY_BACKBONES['ResNet']
    torch.manual_seed(0)
    return MODELS.build(
        dict(type='StagedClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), precision='fp32',
             head=dict(type='LinearClsHead', in_channels=channels, num_classes=3),
             data_preprocessor=dict(mean=MEAN, std=STD, to_rgb=True))
    )  # fmt: skip


def test_vectors_are_the_pooled_features_of_the_whole_photo(network):
    photos = [np.random.default_rng(n).integers(0, 256, (40 + n, 90, 3), np.uint8) for n in range(3)]
    vectors = PhotoVectors(network, (32, 64))(photos)
    for photo, vector in zip(photos, vectors, strict=True):
        rgb = np.asarray(Image.fromarray(photo).resize((64, 32), Image.Resampling.BICUBIC))
        image = torch.tensor((rgb - np.array(MEAN)) / STD, dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.no_grad():
            expected = network.eval().backbone(image)[-1].mean(dim=(2, 3))[0]
        assert vector.dtype == np.float32 and vector == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-4)
    assert not network.training
