"""A cache key changes with everything that changes a feature, and with nothing else."""

import pytest

from flowercls.features.hook import CachedFeatures
from flowercls.features.key import fingerprint
from flowercls.models.classifier import StagedClassifier


@pytest.fixture
def keys(build):
    """Keys of the first view and of validation."""

    def make(views=2, **kwargs):
        runner = build(f'dict(views={views!r})', **kwargs)
        features = CachedFeatures(runner, runner.cfg.feature_cache)
        return {features.view(0).key, features.validation().key}

    return make


@pytest.mark.parametrize('same', [{}, {'views': 1}, {'extra': 'optim_wrapper = dict(optimizer=dict(lr=0.1))\n'}])
def test_runs_share_what_they_have_in_common(keys, same):
    assert keys(**same) == keys()


@pytest.mark.parametrize(
    'other',
    [
        {'frozen': 3},
        {'precision': 'bf16'},
        {'extra': 'randomness = dict(seed=1)\n'},  # other starting weights, and other views
        {'extra': 'data_preprocessor = dict(mean=[9.0, 9.0, 9.0])\n'},
    ],
)
def test_what_changes_features_changes_all_keys(keys, other):
    assert not keys(**other) & keys()


def test_each_view_has_a_key(build):
    runner = build("dict(views='all')")
    features = CachedFeatures(runner, runner.cfg.feature_cache)
    assert features.view(0).key != features.view(1).key


def test_settings_that_are_not_weights_count():
    model = StagedClassifier(
        dict(type='mmpretrain.VisionTransformer', arch='deit-t', img_size=32, patch_size=16),
        head=dict(type='mmpretrain.VisionTransformerClsHead', num_classes=2, in_channels=192),
        frozen_stages=1,
    )
    before = fingerprint(model)
    assert fingerprint(model) == before
    model.backbone.interpolate_mode = 'bilinear'
    assert fingerprint(model) != before
