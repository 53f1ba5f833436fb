"""Model: what follows from `feature_cache` and from a network of torchvision."""

from pathlib import Path

import pytest

from flowercls.config import derive_config, load_config, resolve_config
from flowercls.core.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'extra'),
    [
        ('resnet50_flower.py', {}),
        ('mobilenet_v2_flower.py', {'model__frozen_stages': 3}),  # mixup and cutmix
        ('resnet50_flower.py', {'model__frozen_stages': 3, 'train_dataloader__sampler__type': 'SequentialSampler'}),
        ('resnet50_flower.py', {'model__frozen_stages': 3, 'feature_cache__views': 0}),
        ('resnet50_flower.py', {'model__frozen_stages': 3, 'feature_cache': None}),
    ],
)
def test_nothing_is_kept_where_nothing_can_be_or_shall_be(resolve, name, extra):
    cfg, notes = resolve(name, **extra)
    assert not (cfg.feature_cache or {}).get('views')
    assert cfg.train_dataloader.dataset.views is None and not any('feature_cache' in note for note in notes)


def test_with_frozen_stages_some_views_are_kept(resolve):
    cfg, notes = resolve(model__frozen_stages=3)
    assert cfg.feature_cache == {'views': 4, 'dtype': 'auto', 'budget': '8GB'}
    assert cfg.train_dataloader.dataset.views == 4 and notes == []


def test_views_of_the_photos_are_those_that_are_kept(resolve):
    cfg, _ = resolve(model__frozen_stages='all', train_dataloader__dataset__views=7)
    assert cfg.feature_cache.views == cfg.train_dataloader.dataset.views == 7


@pytest.mark.parametrize(('views', 'frozen', 'of_photos'), [(4, 3, 4), ('all', 3, None), (4, 0, 4)])
def test_photos_have_the_views_that_are_kept(resolve, views, frozen, of_photos):
    cfg, notes = resolve(feature_cache__views=views, model__frozen_stages=frozen)
    assert cfg.train_dataloader.dataset.views == of_photos
    assert ['nothing is cached' in note for note in notes] == [True] * (frozen == 0)


@pytest.mark.parametrize(
    ('name', 'views', 'message'),
    [
        ('resnet50_flower.py', 2, 'feature_cache.views is 4, train_dataloader.dataset.views is 2'),
        ('mobilenet_v2_flower.py', None, 'mixup, .*Fix: feature_cache.views=0'),
    ],
)
def test_views_that_cannot_be_kept_are_refused(resolve, name, views, message):
    with pytest.raises(ConfigError, match=message):
        resolve(name, feature_cache__views=4, train_dataloader__dataset__views=views)


# ---------------------------------------------------------------- starting weights of torchvision

MINE = """
_base_ = ['{configs}/_base_/models/torchvision.py', '{configs}/_base_/datasets/flower_224.py',
          '{configs}/_base_/schedules/sgd_constant_30e.py', '{configs}/_base_/default_runtime.py']
"""


@pytest.fixture
def torchvision(write, data_root):
    def load_from(text='', **overrides):
        path = write(MINE.format(configs=CONFIGS) + text)
        return resolve_config(path, {'data_root': str(data_root), **overrides})[0]

    return load_from


@pytest.mark.parametrize(
    ('text', 'overrides', 'expected'),
    [
        ('', {}, 'torchvision://resnet18.imagenet1k_v1'),
        ('', {'model.backbone.arch': 'resnet34'}, 'torchvision://resnet34.imagenet1k_v1'),
        ('', {'model.backbone.weights': 'DEFAULT'}, 'torchvision://resnet18.default'),
        ('', {'model.backbone.weights': None}, None),
        ("load_from = 'mine.pth'", {}, 'mine.pth'),
        ('load_from = None', {}, None),
        ('', {'load_from': None}, None),
        ("model = dict(backbone=dict(_delete_=True, type='ResNet', depth=18))", {}, None),
    ],
)
def test_load_from_follows_from_the_network_unless_it_is_given(torchvision, text, overrides, expected):
    assert torchvision(text, **overrides).load_from == expected


def test_it_stays_the_same_when_derived_again_or_written_down(torchvision, tmp_path):
    cfg = torchvision()
    before = cfg.to_dict()
    derive_config(cfg)
    cfg.dump(tmp_path / 'config.py')
    assert cfg.to_dict() == before == load_config(tmp_path / 'config.py').to_dict()


@pytest.mark.parametrize(('arch', 'size'), [('resnet18', 224), ('inception_v3', 299)])
def test_the_input_size_follows_from_the_network_unless_it_is_given(torchvision, arch, size):
    assert torchvision(**{'model.backbone.arch': arch}).input_size == size
    assert torchvision('input_size = 128', **{'model.backbone.arch': arch}).input_size == 128
