"""The model of a config: its type, its starting weights, and the cache of features of its frozen stages."""

from typing import Any

from flowercls.config.data_keys import IMAGE_FOLDER
from flowercls.config.schema import at_path, type_name
from flowercls.core.errors import ConfigError

# The fewest of 4, 8 and all views that lost no measurable accuracy against a run without a cache: MobileNetV2 on
# real photos, three seeds; configs/sweeps/mobilenet_v2_feature_cache.py, figures in configs/README.md.
AUTO_VIEWS = 4


def derive_model(cfg: Any) -> list[str]:
    """Complete `model` and its neighbours in place; returns notes on the changes."""
    notes, model = [], cfg.model
    if type_name(model) == 'ImageClassifier':
        model.type = 'StagedClassifier'
        notes = ['model: ImageClassifier replaced by StagedClassifier, which trains the same and can freeze stages.']
    if model.get('type') == 'StagedClassifier':
        for key, value in {'frozen_stages': 0, 'precision': 'auto', 'channels_last': 'auto'}.items():
            model.setdefault(key, value)
    if at_path(model, 'train_cfg.augments') and at_path(model, 'head.cal_acc'):
        model.head.cal_acc = False
        notes.append(
            'model.head.cal_acc is off: mixed photos have several labels; training accuracy counts their shares.'
        )
    if not cfg.get('data_preprocessor'):
        cfg.data_preprocessor = {}
    return notes


def derive_starting_weights(cfg: Any) -> None:
    """Set `load_from` and `input_size` of a torchvision network in place, unless the config sets them, even to None.

    Example:
        >>> backbone = dict(type='TorchvisionBackbone', arch='resnet18', weights='IMAGENET1K_V1')
        >>> derive_starting_weights(cfg := dict(model=dict(backbone=backbone)))
        >>> cfg['load_from'], cfg['input_size']
        ('torchvision://resnet18.imagenet1k_v1', 224)
    """
    backbone = cfg['model'].get('backbone') or {}
    if type_name(backbone) != 'TorchvisionBackbone':
        return
    arch, weights = backbone.get('arch'), backbone.get('weights')
    cfg.setdefault('input_size', 299 if arch == 'inception_v3' else 224)
    if isinstance(arch, str) and isinstance(weights, str):  # other values are refused when the network is built
        cfg.setdefault('load_from', f'torchvision://{arch}.{weights.lower()}')


def derive_feature_cache(cfg: Any) -> list[str]:
    """Decide `feature_cache.views` in place, and give the training photos as many views.

    ``'auto'`` becomes a number: 0 if nothing is frozen, or if features cannot take the place of photos.

    Returns:
        Notes on the changes.

    Raises:
        ConfigError: if photos are mixed in training, or the dataset asks for other views.
    """
    cache, loader = cfg.get('feature_cache'), cfg.train_dataloader
    if cache is None:
        return []
    mixes_photos = at_path(cfg, 'model.train_cfg.augments') or at_path(cfg, 'data_preprocessor.batch_augments')
    frozen = cfg.model.get('frozen_stages')
    if cache.views == 'auto':
        # Only these two can say which view of which photo a sample is.
        knows_views = [type_name(loader.get(part)) for part in ('dataset', 'sampler')] == [
            IMAGE_FOLDER,
            'CounterSampler',
        ]
        is_useful = frozen and not mixes_photos and knows_views
        cache.views = (loader.dataset.get('views') or AUTO_VIEWS) if is_useful else 0
    if not cache.views:
        return []
    if mixes_photos:
        raise ConfigError(
            f'{cfg.filename}: feature_cache keeps the features of single photos, and model.train_cfg.augments (mixup, '
            'cutmix) mixes photos before the network sees them. Fix: feature_cache.views=0, or model.train_cfg=None'
        )
    views = None if cache.views == 'all' else cache.views
    if loader.dataset.get('views') not in (None, views):
        raise ConfigError(
            f'{cfg.filename}: feature_cache.views is {cache.views!r}, train_dataloader.dataset.views is '
            f'{loader.dataset.views!r}. Fix: set only feature_cache.views.'
        )
    loader.dataset.views = views
    return [] if frozen else ['feature_cache: no stage is frozen, so nothing is cached and every epoch is computed.']


def architecture_name(model: dict) -> str:
    """Return how to call the network of a config's ``model``: ``ResNet 50``, ``TorchvisionBackbone vit_b_16``."""
    backbone = model.get('backbone') or {}
    words = [backbone.get(key) for key in ('type', 'depth', 'arch', 'name', 'model_name')]
    return ' '.join(str(word) for word in words if word and isinstance(word, str | int))


def weights_name(load_from: str | None) -> str | None:
    """Return the name of the file that a run's weights started from, without its folder; None for random weights."""
    return str(load_from).replace('\\', '/').rpartition('/')[2] if load_from else None
