import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import flowercls.models.classifier  # noqa: F401  registers StagedClassifier

# Name: backbone config and number of channels it ends with. Stochastic parts are on, so that train mode is a real test.
TINY_BACKBONES = {
    'ResNet': (dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, drop_path_rate=0.2), 64),
    'ResNetV1c': (dict(type='ResNetV1c', depth=50, stem_channels=8, base_channels=8), 256),
    'ResNeXt': (dict(type='ResNeXt', depth=50, groups=2, width_per_group=4, stem_channels=8, base_channels=8), 256),
    'DenseNet': (
        dict(type='DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16), drop_rate=0.2),
        32,
    ),
    'MobileNetV2': (dict(type='MobileNetV2', widen_factor=0.25), 1280),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are faster without threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model_config():
    """Config of a tiny classifier; keyword arguments that are not named here go to the model."""

    def make(backbone='ResNet', num_classes=5, head=None, backbone_options=None, **model):
        backbone, channels = TINY_BACKBONES[backbone]
        head = head or dict(type='LinearClsHead')
        return dict(
            type='StagedClassifier',
            backbone=dict(backbone, **(backbone_options or {})),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(head, num_classes=num_classes, in_channels=channels),
            **dict(dict(precision='fp32', channels_last=False), **model),
        )

    return make


@pytest.fixture
def build(model_config):
    """Build a tiny classifier with fixed weights."""

    def make(*args, **kwargs):
        torch.manual_seed(0)
        return MODELS.build(model_config(*args, **kwargs))

    return make


@pytest.fixture
def batch():
    """Four small images and their data samples."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 64, 64, generator=generator)
    return images, [DataSample().set_gt_label(label) for label in (0, 1, 2, 3)]
