"""What of a batch is kept, and that the rest of the network gives the same from it."""

import pytest
import torch
from mmpretrain.registry import MODELS

import flowercls.models.classifier  # noqa: F401  registers StagedClassifier
from flowercls.core.errors import ConfigError


def classifier(frozen, precision='fp32', **more):
    torch.manual_seed(0)
    backbone = {'type': 'mmpretrain.ResNet', 'depth': 18, 'base_channels': 16, 'stem_channels': 16}
    head = {'type': 'mmpretrain.LinearClsHead', 'in_channels': 128, 'num_classes': 3}
    parts = {'backbone': backbone, 'neck': {'type': 'mmpretrain.GlobalAveragePooling'}, 'head': head}
    return MODELS.build({'type': 'StagedClassifier', 'frozen_stages': frozen, 'precision': precision, **parts, **more})


@pytest.mark.parametrize(
    ('frozen', 'shape'), [(1, (2, 16, 8, 8)), (3, (2, 64, 2, 2)), (4, (2, 128)), ('all', (2, 128))]
)
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_logits_from_kept_features_are_the_same_bits(frozen, shape, precision):
    model, images = classifier(frozen, precision), torch.rand(2, 3, 32, 32)
    kept = model.kept_features(images)
    assert kept.shape == shape and not kept.requires_grad
    assert kept.dtype == (torch.bfloat16 if precision == 'bf16' else torch.float32)
    expected = model(images)
    model.takes_kept_features = True
    assert torch.equal(model(kept)[0], expected[0])


def test_a_neck_that_is_trained_stays_behind_what_is_kept():
    neck = {'type': 'mmpretrain.LinearNeck', 'in_channels': 128, 'out_channels': 128, 'gap_dim': 2}
    assert classifier(4, neck=neck).kept_features(torch.rand(2, 3, 32, 32)).ndim == 4
    assert classifier('all', neck=neck).keeps_pooled


def test_several_tensors_cannot_be_kept(monkeypatch):
    model = classifier(2)
    monkeypatch.setattr(model, 'frozen_features', lambda images: (images, images))
    with pytest.raises(ConfigError, match=r'feature_cache: .* not one tensor'):
        model.kept_features(torch.rand(2, 3, 32, 32))
