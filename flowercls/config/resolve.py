"""One source for each fact: what a config leaves open follows from `data_root`, `max_epochs` and `model.frozen_stages`.

A derived config is complete: written down and loaded again it is the same, and mmpretrain's own tools can run it.
"""

import os
from typing import Any

from mmengine.config import Config, ConfigDict

from flowercls.config.components import missing_types
from flowercls.config.data_keys import (
    datasets_in,
    derive_class_weights,
    derive_loaders,
    derive_num_classes,
    derive_topk,
)
from flowercls.config.loader import Overrides, load_with_notes
from flowercls.config.model_keys import derive_feature_cache, derive_starting_weights
from flowercls.config.overrides import strip_leftovers
from flowercls.config.schedule import derive_schedules
from flowercls.config.schema import at_path, derive_runtime, known_keys
from flowercls.config.suggest import raise_mistakes
from flowercls.core.errors import ConfigError
from flowercls.core.prepared_folder import class_names

MODEL_DEFAULTS = {'frozen_stages': 0, 'precision': 'auto', 'channels_last': 'auto'}
REQUIRED = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
# What a section must have, if it is there.
PARTS = ('model.backbone', 'model.head', 'train_dataloader.dataset', 'val_dataloader.dataset') + (
    ('optim_wrapper.optimizer',)
)


def resolve_config(path: str | os.PathLike, overrides: Overrides = ()) -> tuple[Config, list[str]]:
    """A loaded and derived config, and sentences about what the user may not expect.

    Raises:
        ConfigError: as `load_config`, or if what it says does not fit together.
        DataError: if `data_root` is not a prepared folder.
    """
    cfg, notes = load_with_notes(path, overrides)
    return cfg, notes + derive_config(cfg)


def derive_config(cfg: Config) -> list[str]:
    """Complete a config in place from its prepared folder; doing so twice changes nothing more.

    Returns:
        Sentences about everything that was changed without being asked for.

    Raises:
        ConfigError: if a section is missing, or two places name different data folders.
        DataError: if `data_root` is not a prepared folder.
    """
    _check_sections(cfg)
    _check_epochs(cfg)
    _check_validation(cfg)
    notes = _data_root(cfg)
    names = class_names(cfg.data_root)
    derive_starting_weights(cfg)
    notes += _model(cfg) + derive_runtime(cfg) + derive_loaders(cfg, names)
    notes += derive_num_classes(cfg, len(names)) + derive_topk(cfg, len(names))
    notes += derive_class_weights(cfg, names) + derive_feature_cache(cfg)
    notes += _schedule(cfg)
    for key, value in list(cfg.items()):
        cfg[key] = ConfigDict._hook(strip_leftovers(value))
    return notes


def _check_sections(cfg: Config) -> None:
    missing = [name for name in REQUIRED if not cfg.get(name)]
    present = {name for name in cfg if cfg.get(name)}
    if known_keys('model', cfg.get('model')) is None:
        present.discard('model')  # a class of its own, with parts of its own
    missing += [path for path in PARTS if path.partition('.')[0] in present and not at_path(cfg._cfg_dict, path)]
    if missing:
        fix = 'add a _base_ file that sets it, as configs/resnet50_flower.py does'
        raise ConfigError(f'{cfg.filename}: {", ".join(missing)} missing. Fix: {fix}.')
    raise_mistakes(missing_types(cfg._cfg_dict), cfg.filename or 'the config')


def _check_epochs(cfg: Config) -> None:
    train = cfg.train_cfg
    kind = str(train.get('type')).rpartition('.')[2]
    if 'max_iters' in train or train.get('by_epoch') is False or kind == 'IterBasedTrainLoop':
        raise ConfigError(
            f'{cfg.filename}: train_cfg counts iterations ({dict(train)}); runs, checkpoints '
            'and results here count epochs. Fix: train_cfg = dict(max_epochs=..., val_interval=1), with _delete_=True '
            'where a base says otherwise.'
        )
    if 'max_epochs' not in train:
        raise ConfigError(f'{cfg.filename}: train_cfg.max_epochs is missing. Fix: train_cfg = dict(max_epochs=...).')


def _check_validation(cfg: Config) -> None:
    off = [name for name in ('val_dataloader', 'val_evaluator') if cfg.get(name) is None]
    on = [name for name in ('val_dataloader', 'val_evaluator', 'val_cfg') if cfg.get(name) is not None]
    if off and on:
        raise ConfigError(
            f'{cfg.filename}: {" and ".join(off)} is missing or None, but {" and ".join(on)} not. Fix: to train '
            'without validation leave all as it is and add --no-validate; else set val_dataloader and val_evaluator.'
        )


def _data_root(cfg: Config) -> list[str]:
    if cfg.get('data_root'):
        return []
    roots = {dataset.get('data_root') for _, dataset in datasets_in(cfg.train_dataloader, '')} - {None, ''}
    if len(roots) != 1:
        raise ConfigError(f"{cfg.filename}: data_root is missing. Fix: set data_root = 'data/NAME', a prepared folder.")
    cfg.data_root = roots.pop()
    return [f'data_root is {cfg.data_root}, as train_dataloader.dataset.data_root.']


def _model(cfg: Config) -> list[str]:
    notes, model = [], cfg.model
    if str(model.get('type')).rpartition('.')[2] == 'ImageClassifier':
        model.type = 'StagedClassifier'
        notes = ['model: ImageClassifier replaced by StagedClassifier, which trains the same and can freeze stages.']
    if model.get('type') == 'StagedClassifier':
        for key, value in MODEL_DEFAULTS.items():
            model.setdefault(key, value)
    if (model.get('train_cfg') or {}).get('augments') and (model.get('head') or {}).get('cal_acc'):
        model.head.cal_acc = False
        notes.append(
            'model.head.cal_acc is off: mixed photos have several labels; training accuracy counts their shares.'
        )
    if not cfg.get('data_preprocessor'):
        cfg.data_preprocessor = ConfigDict()
    cfg.optim_wrapper.setdefault('type', 'OptimWrapper')
    return notes


def _schedule(cfg: Any) -> list[str]:
    train = cfg.train_cfg
    if 'type' in train:
        train.pop('by_epoch', None)  # mmengine refuses both; the type says more
    else:
        train.setdefault('by_epoch', True)
        train.setdefault('val_interval', 1)
    if not cfg.get('param_scheduler') or not train.get('max_epochs'):
        return []
    cfg.param_scheduler, notes = derive_schedules(cfg.param_scheduler, train.max_epochs)
    return notes
