"""Starting weights that a torchvision network names itself, brought to `load_from`: the one checked door.

What `feature_cache` needs of the rest of a config, and what follows from it.
"""

from typing import Any

from flowercls.config.data_keys import OURS
from flowercls.config.schema import DEFAULTS
from flowercls.core.errors import ConfigError


def derive_starting_weights(cfg: Any) -> None:
    """Set `load_from` and `input_size` of a torchvision network in place, unless the config sets them, even to None.

    Example:
        >>> backbone = dict(type='TorchvisionBackbone', arch='resnet18', weights='IMAGENET1K_V1')
        >>> derive_starting_weights(cfg := dict(model=dict(backbone=backbone)))
        >>> cfg['load_from'], cfg['input_size']
        ('torchvision://resnet18.imagenet1k_v1', 224)
    """
    backbone = cfg['model'].get('backbone') or {}
    if str(backbone.get('type')).rpartition('.')[2] != 'TorchvisionBackbone':
        return
    arch, weights = backbone.get('arch'), backbone.get('weights')
    cfg.setdefault('input_size', 299 if arch == 'inception_v3' else 224)
    if isinstance(arch, str) and isinstance(weights, str):  # other values are refused when the network is built
        cfg.setdefault('load_from', f'torchvision://{arch}.{weights.lower()}')


AUTO = 'auto'
# The fewest of 4, 8 and all whose accuracy could not be told from that of a run without kept features: MobileNetV2 on
# real photos, three seeds; configs/sweeps/mobilenet_v2_feature_cache.py, figures in configs/README.md.
AUTO_VIEWS = 4


def derive_feature_cache(cfg: Any) -> list[str]:
    """Complete `feature_cache` in place, and make the training photos have its views.

    ``'auto'`` becomes a number: 0 where nothing is frozen, or where features cannot stand for photos.

    Returns:
        Sentences about what was changed.

    Raises:
        ConfigError: if photos are mixed in training, or other views are asked for in another place.
    """
    cache = cfg.get('feature_cache')
    if cache is None:
        return []
    for key, value in DEFAULTS['feature_cache'].items():
        cache.setdefault(key, value)
    if cache.views == AUTO:
        _choose_views(cfg, cache)
    if not cache.views:
        return []
    if _mixes_photos(cfg):
        raise ConfigError(
            f'{cfg.filename}: feature_cache keeps the features of single photos, and model.train_cfg.augments (mixup, '
            'cutmix) mixes photos before the network sees them. Fix: feature_cache.views=0, or model.train_cfg=None.'
        )
    _set_views(cfg, None if cache.views == 'all' else cache.views)
    if cfg.model.get('frozen_stages'):
        return []
    return ['feature_cache: no stage is frozen, so there is nothing to keep; every epoch is computed as without.']


def _choose_views(cfg: Any, cache: Any) -> None:
    loader = cfg.train_dataloader
    frozen = cfg.model.get('frozen_stages')
    if not frozen or _mixes_photos(cfg) or not _says_which_view(loader):
        cache.views = 0
    else:
        cache.views = loader.dataset.get('views') or AUTO_VIEWS


def _mixes_photos(cfg: Any) -> bool:
    preprocessor = cfg.get('data_preprocessor') or {}
    return bool((cfg.model.get('train_cfg') or {}).get('augments') or preprocessor.get('batch_augments'))


def _says_which_view(loader: Any) -> bool:
    types = [str(loader[name].get('type')).rpartition('.')[2] for name in ('dataset', 'sampler')]
    return types == [OURS, 'CounterSampler']


def _set_views(cfg: Any, views: int | None) -> None:
    dataset = cfg.train_dataloader.dataset
    if dataset.get('views') not in (None, views):
        raise ConfigError(
            f'{cfg.filename}: feature_cache.views is {cfg.feature_cache.views!r}, train_dataloader.dataset.views is '
            f'{dataset.views!r}. Fix: set the first alone.'
        )
    dataset.views = views
