"""What `feature_cache` needs of the rest of a config, and what follows from it."""

from typing import Any

from flowercls.config.runtime import DEFAULTS
from flowercls.errors import ConfigError


def derive_feature_cache(cfg: Any) -> list[str]:
    """Complete `feature_cache` in place, and make the training photos have its views.

    Returns:
        Sentences about what was changed.

    Raises:
        ConfigError: if photos are mixed in training, or other views are asked for in another place.
    """
    cache = cfg.get('feature_cache')
    if not cache or not cache.get('views'):
        return []
    _check_unmixed(cfg)
    for key, value in DEFAULTS['feature_cache'].items():
        cache.setdefault(key, value)
    views, dataset = None if cache.views == 'all' else cache.views, cfg.train_dataloader.dataset
    if dataset.get('views') not in (None, views):
        raise ConfigError(
            f'{cfg.filename}: feature_cache.views is {cache.views!r}, train_dataloader.dataset.views is '
            f'{dataset.views!r}. Fix: set the first alone.'
        )
    dataset.views = views
    if cfg.model.get('frozen_stages'):
        return []
    return ['feature_cache: no stage is frozen, so there is nothing to keep; every epoch is computed as without.']


def _check_unmixed(cfg: Any) -> None:
    if (cfg.model.get('train_cfg') or {}).get('augments') or (cfg.get('data_preprocessor') or {}).get('batch_augments'):
        raise ConfigError(
            f'{cfg.filename}: feature_cache keeps the features of single photos, and model.train_cfg.augments (mixup, '
            'cutmix) mixes photos before the network sees them. Fix: feature_cache.views=0, or model.train_cfg=None.'
        )
