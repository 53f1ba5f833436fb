"""Datasets, samplers, loaders and metrics: complete, ours, and all of one prepared folder."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowercls.config.folder import ANN_FILES, DATA_PREFIXES, has_test_set
from flowercls.errors import ConfigError

SETS = ('train', 'val', 'test')
OURS = 'ImageFolder'
REPLACED_DATASETS = ('ImageNet', 'ImageNet21k', 'CustomDataset')
WRAPPERS = ('RepeatDataset', 'ClassBalancedDataset', 'ConcatDataset', 'KFoldDataset')
REPLACED_SAMPLERS = ('DefaultSampler', 'RepeatAugSampler')


def derive_loaders(cfg: Any, names: list[str]) -> list[str]:
    """Complete the loaders and metrics of a config in place; returns sentences about what was changed."""
    notes = _report(cfg, 'val_evaluator')
    for split in SETS:
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None:
            notes += _derive_loader(cfg, split, loader, names)
    if cfg.get('val_dataloader') is not None:
        _complete_test(cfg)
    return notes + _report(cfg, 'test_evaluator')


def datasets_in(loader: Any, path: str) -> Iterator[tuple[str, dict]]:
    """The dataset of a loader, and all that it wraps, with their dotted paths."""
    inner = loader.get('dataset') or loader.get('datasets')
    name = 'dataset' if loader.get('dataset') else 'datasets'
    for i, dataset in enumerate(inner if isinstance(inner, (list, tuple)) else [inner]):
        if isinstance(dataset, dict):
            here = f'{path}.{name}.{i}' if isinstance(inner, (list, tuple)) else f'{path}.{name}'
            yield here, dataset
            yield from datasets_in(dataset, here)


def _derive_loader(cfg: Any, split: str, loader: dict, names: list[str]) -> list[str]:
    notes, path = [], f'{split}_dataloader'
    if split == 'train' and _type_of(loader.get('dataset') or {}) in WRAPPERS:
        notes.append(
            f'{path}.dataset: {loader["dataset"]["type"]} hides the epoch from the photos, so augmentation depends on '
            'the number of loader workers and a resumed run is not the same bit for bit.'
        )
    for where, dataset in datasets_in(loader, path):
        if _type_of(dataset) in REPLACED_DATASETS:
            notes.append(f'{where}: {dataset["type"]} replaced by ImageFolder on {cfg["data_root"]}.')
            _replace_dataset(cfg, split, dataset)
        if _type_of(dataset) == OURS:
            notes += _derive_dataset(cfg, split, dataset, names, where)
    notes += _derive_sampler(loader, path, is_train=split == 'train')
    loader.setdefault('collate_fn', {'type': 'default_collate'})
    if not loader.get('num_workers'):
        loader['persistent_workers'] = False  # True is refused by torch where there are no workers
    loader.setdefault('persistent_workers', True)
    return notes


def _replace_dataset(cfg: Any, split: str, dataset: dict) -> None:
    # The pipeline is the user's; where the photos lie is ours. A CustomDataset that names its list keeps it.
    wanted = set_of(cfg, split)
    kept = {'pipeline': dataset.get('pipeline', [])}
    if dataset.get('ann_file') and _type_of(dataset) == 'CustomDataset':
        kept.update({key: dataset[key] for key in ('ann_file', 'data_prefix') if key in dataset})
    dataset.clear()
    dataset.update({'type': OURS, 'data_root': cfg['data_root'], **wanted, **kept})


def set_of(cfg: Any, split: str) -> dict[str, str]:
    """`ann_file` and `data_prefix` of a set; the validation set stands in for a test set that does not exist."""
    split = 'val' if split == 'test' and not has_test_set(cfg['data_root']) else split
    return {'ann_file': ANN_FILES[split], 'data_prefix': DATA_PREFIXES[split]}


def _derive_dataset(cfg: Any, split: str, dataset: dict, names: list[str], where: str) -> list[str]:
    root = dataset.setdefault('data_root', cfg['data_root'])
    if Path(os.path.normpath(root)) != Path(os.path.normpath(cfg['data_root'])):
        raise ConfigError(
            f'{where}.data_root is {root}, data_root is {cfg["data_root"]}: one run has one prepared folder. '
            f'Fix: leave {where}.data_root out and set data_root.'
        )
    for key, value in set_of(cfg, split).items():
        dataset.setdefault(key, value)
    metainfo = dict(dataset.get('metainfo') or {})
    given = list(metainfo.get('classes') or names)
    dataset['metainfo'] = {**metainfo, 'classes': list(names)}
    return [] if given == names else [f'{where}.metainfo.classes is {names} instead of {given}: see classes.txt.']


def _derive_sampler(loader: dict, path: str, is_train: bool) -> list[str]:
    sampler = loader.get('sampler')
    if sampler is None and not loader.get('batch_sampler'):
        loader['sampler'] = {'type': 'CounterSampler' if is_train else 'DefaultSampler', 'shuffle': is_train}
    elif is_train and sampler and _type_of(sampler) in REPLACED_SAMPLERS:
        loader['sampler'] = {'type': 'CounterSampler', 'shuffle': sampler.get('shuffle', True)}
        return [f'{path}.sampler: {sampler["type"]} replaced by CounterSampler: order = f(seed, epoch).']
    return []


def _complete_test(cfg: Any) -> None:
    if cfg.get('test_dataloader') is None:
        loader = copy.deepcopy(cfg['val_dataloader'])
        for _, dataset in datasets_in(loader, 'test_dataloader'):
            if _type_of(dataset) == OURS and has_test_set(cfg['data_root']):
                dataset.update(set_of(cfg, 'test'))
        cfg['test_dataloader'] = loader
    if cfg.get('test_evaluator') is None:
        cfg['test_evaluator'] = copy.deepcopy(cfg['val_evaluator'])
    for name in ('val_cfg', 'test_cfg'):
        if cfg.get(name) is None:
            cfg[name] = {}


def _report(cfg: Any, name: str) -> list[str]:
    evaluator = cfg.get(name)
    if evaluator is None:
        return []
    metrics = [evaluator] if isinstance(evaluator, dict) else list(evaluator)
    missing = 'ClassificationReport' not in [_type_of(metric) for metric in metrics]
    cfg[name] = [*metrics, {'type': 'ClassificationReport'}] if missing else metrics
    return [f'{name}: ClassificationReport added.'] if missing else []


def _type_of(part: dict) -> str:
    return str(part.get('type')).rpartition('.')[2]
