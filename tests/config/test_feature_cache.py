"""What follows from `feature_cache`, and what it cannot go with."""

from pathlib import Path

import pytest

from flowercls.config import resolve_config
from flowercls.core.errors import ConfigError

CONFIGS = Path(__file__).parent.parent.parent / 'configs'


@pytest.fixture
def resolve(data_root):
    def resolve_resnet(name='resnet50_flower.py', **extra):
        options = {key.replace('__', '.'): value for key, value in extra.items()}
        return resolve_config(f'{CONFIGS}/{name}', {'data_root': str(data_root), **options})

    return resolve_resnet


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


@pytest.mark.parametrize(('views', 'of_photos'), [(4, 4), ('all', None)])
def test_photos_have_the_views_that_are_kept(resolve, views, of_photos):
    cfg, notes = resolve(feature_cache__views=views, model__frozen_stages=3)
    assert cfg.train_dataloader.dataset.views == of_photos and notes == []


def test_where_nothing_is_frozen_the_views_stay_and_that_is_said(resolve):
    cfg, notes = resolve(feature_cache__views=4)
    assert cfg.train_dataloader.dataset.views == 4 and 'nothing is cached' in notes[0]


def test_views_are_asked_for_in_one_place(resolve):
    with pytest.raises(ConfigError, match='feature_cache.views is 4, train_dataloader.dataset.views is 2'):
        resolve(feature_cache__views=4, train_dataloader__dataset__views=2)


def test_mixed_photos_have_no_features_to_keep(resolve):
    with pytest.raises(ConfigError, match=r'mixup, .*Fix: feature_cache.views=0'):
        resolve('mobilenet_v2_flower.py', feature_cache__views=4)


@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        ('views', -1, "'all' for one each epoch"),
        ('views', 'every', "'all' for one each epoch"),
        ('dtype', 'int8', "'auto', 'bf16', 'fp16' or 'fp32'"),
        ('budget', '8 apples', "'8GB'"),
        ('view', 3, "'feature_cache.views'"),
    ],
)
def test_impossible_values_are_named(resolve, key, value, words):
    with pytest.raises(ConfigError) as caught:
        resolve(**{f'feature_cache__{key}': value})
    assert words in str(caught.value)
