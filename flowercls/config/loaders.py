"""Datasets, samplers, loaders and metrics: complete, ours, and all of one prepared folder."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowercls.config.classes import dicts_inside
from flowercls.config.folder import ANN_FILES, DATA_PREFIXES, has_test_set
from flowercls.config.merging import merge
from flowercls.config.nearest import CLOSE, hint
from flowercls.errors import ConfigError

SETS = ('train', 'val', 'test')
OURS = 'ImageFolder'
# mmpretrain's datasets of photos with one label each. Its others hand over decoded pictures (CIFAR10), several labels
# or no classes at all, and their pipelines rely on that.
REPLACED_DATASETS = ('ImageNet', 'ImageNet21k', 'CustomDataset', 'Caltech101', 'CUB', 'DTD', 'FGVCAircraft') + (
    ('Flowers102', 'Food101', 'OxfordIIITPet', 'Places205', 'StanfordCars', 'SUN397')
)
WRAPPERS = ('RepeatDataset', 'ClassBalancedDataset', 'ConcatDataset', 'KFoldDataset')
TEST_OR_STAND_IN = [(ANN_FILES[split], DATA_PREFIXES[split]) for split in ('val', 'test')]
REPLACED_SAMPLERS = ('DefaultSampler', 'RepeatAugSampler')


def derive_loaders(cfg: Any, names: list[str]) -> list[str]:
    """Complete the loaders and metrics of a config in place; returns sentences about what was changed."""
    notes = _report(cfg, 'val_evaluator')
    given = _take_partial_test(cfg)
    for split in SETS:
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None:
            notes += _derive_loader(cfg, split, loader, names)
    if cfg.get('val_dataloader') is not None:
        _complete_test(cfg)
        cfg['test_dataloader'] = merge(given, cfg['test_dataloader'])
        _derive_loader(cfg, 'test', cfg['test_dataloader'], names)  # nothing new to say: the values of validation
    notes += _one_decoder(cfg.get('tta_pipeline'), 'tta_pipeline')
    return notes + _report(cfg, 'test_evaluator')


def move_datasets(cfg: Any, old_root: str) -> None:
    """Let every dataset of the prepared folder ``old_root`` follow to the config's ``data_root``.

    A resolved config names the folder in each dataset. Whether there is a test set is looked up anew.
    """
    for split in SETS:
        loader = cfg.get(f'{split}_dataloader')
        for _, dataset in datasets_in(loader, '') if isinstance(loader, dict) else ():
            if not isinstance(dataset.get('data_root'), str) or not _is_same_folder(dataset['data_root'], old_root):
                continue
            dataset['data_root'] = cfg['data_root']
            if split == 'test' and (dataset.get('ann_file'), dataset.get('data_prefix')) in TEST_OR_STAND_IN:
                del dataset['ann_file'], dataset['data_prefix']


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
    wrapped = _type_of(loader.get('dataset') or {}) in WRAPPERS
    if split == 'train' and wrapped:
        notes.append(
            f'{path}.dataset: {loader["dataset"]["type"]} hides the epoch from the photos, so augmentation depends on '
            'the number of loader workers and a resumed run is not the same bit for bit.'
        )
    for where, dataset in datasets_in(loader, path):
        if wrapped and dataset.get('views') is not None:
            raise ConfigError(
                f'{where}.views={dataset["views"]}: {loader["dataset"]["type"]} hides the epoch from the photos, so '
                'there is no view to choose. Fix: leave out the wrapper, or views.'
            )
        if _type_of(dataset) in REPLACED_DATASETS:
            notes.append(f'{where}: {dataset["type"]} replaced by ImageFolder on {cfg["data_root"]}.')
            _replace_dataset(cfg, split, dataset)
        if _type_of(dataset) == OURS:
            notes += _derive_dataset(cfg, split, dataset, names, where)
            notes += _one_decoder(dataset.get('pipeline'), f'{where}.pipeline')
        elif _type_of(dataset) not in WRAPPERS:
            raise ConfigError(_other_data(cfg, where, dataset))
    notes += _derive_sampler(loader, path, is_train=split == 'train')
    loader.setdefault('collate_fn', {'type': 'default_collate'})
    if not loader.get('num_workers'):
        loader['persistent_workers'] = False  # True is refused by torch where there are no workers
    loader.setdefault('persistent_workers', True)
    return notes


def _other_data(cfg: Any, where: str, dataset: dict) -> str:
    name = dataset.get('type')
    near = hint(str(name), (OURS, *REPLACED_DATASETS, *WRAPPERS), cutoff=CLOSE)
    return (
        f'{where}: {name}{near} does not read the prepared folder '
        f'{cfg["data_root"]}, and its pipeline may not suit photos from files. Fix: set {where} = dict(_delete_=True, '
        f"type='{OURS}', pipeline=[dict(type='LoadImage'), ...]) as in configs/_base_/datasets/flower_224.py, or take "
        'a _base_ made for ImageNet.'
    )


def _one_decoder(pipeline: Any, path: str) -> list[str]:
    # Both give BGR. mmcv's fails on a damaged photo without saying so, and reads some others differently (CMYK).
    notes = []
    for where, step in dicts_inside(pipeline, path):
        if _type_of(step) != 'LoadImageFromFile':
            continue
        if step.get('color_type', 'color') != 'color':
            raise ConfigError(
                f"{where}.color_type={step['color_type']!r}: photos are loaded in colour. Fix: dict(type='LoadImage'), "
                "and dict(type='TorchvisionTransforms', transforms=[dict(type='Grayscale', num_output_channels=3)])."
            )
        dropped = [key for key in step if key not in ('type', 'color_type')]
        step.clear()
        step['type'] = 'LoadImage'
        without = f', without {", ".join(dropped)}' if dropped else ''
        notes.append(f'{where}: LoadImageFromFile replaced by LoadImage, the one decoder of all tools{without}.')
    return notes


def _replace_dataset(cfg: Any, split: str, dataset: dict) -> None:
    # The pipeline is the user's; where the photos lie is ours. A CustomDataset that names its list keeps it.
    wanted = set_of(cfg, split)
    kept = {key: dataset[key] for key in ('pipeline', 'views', 'indices') if key in dataset}
    if dataset.get('ann_file') and _type_of(dataset) == 'CustomDataset':
        kept.update({key: dataset[key] for key in ('ann_file', 'data_prefix') if key in dataset})
    dataset.clear()
    dataset.update({'type': OURS, 'data_root': cfg['data_root'], **wanted, 'pipeline': [], **kept})


def set_of(cfg: Any, split: str) -> dict[str, str]:
    """`ann_file` and `data_prefix` of a set; the validation set stands in for a test set that does not exist."""
    split = 'val' if split == 'test' and not has_test_set(cfg['data_root']) else split
    return {'ann_file': ANN_FILES[split], 'data_prefix': DATA_PREFIXES[split]}


def _derive_dataset(cfg: Any, split: str, dataset: dict, names: list[str], where: str) -> list[str]:
    root = dataset.setdefault('data_root', cfg['data_root'])
    if not _is_same_folder(root, cfg['data_root']):
        raise ConfigError(
            f'{where}.data_root is {root}, data_root is {cfg["data_root"]}: one run has one prepared folder. '
            f'Fix: leave {where}.data_root out and set data_root.'
        )
    for key, value in set_of(cfg, split).items():
        dataset.setdefault(key, value)
    if str(dataset['ann_file']).startswith('folds/') and dataset['data_prefix'] in DATA_PREFIXES.values():
        dataset['data_prefix'] = ''  # the paths in these lists start from the prepared folder itself
    metainfo = dict(dataset.get('metainfo') or {})
    given = list(metainfo.get('classes') or names)
    dataset['metainfo'] = {**metainfo, 'classes': list(names)}
    return [] if given == names else [f'{where}.metainfo.classes is {names} instead of {given}: see classes.txt.']


def _derive_sampler(loader: dict, path: str, is_train: bool) -> list[str]:
    sampler = loader.get('sampler')
    if sampler is None and not loader.get('batch_sampler'):
        loader['sampler'] = {'type': 'CounterSampler' if is_train else 'DefaultSampler', 'shuffle': is_train}
    elif is_train and sampler and _type_of(sampler) in REPLACED_SAMPLERS:
        kept = {key: sampler[key] for key in ('seed', 'balanced') if key in sampler}
        loader['sampler'] = {'type': 'CounterSampler', 'shuffle': sampler.get('shuffle', True), **kept}
        return [f'{path}.sampler: {sampler["type"]} replaced by CounterSampler: order = f(seed, epoch).']
    return []


def _take_partial_test(cfg: Any) -> dict:
    """Single keys of a test loader that is left to us, as ``test_dataloader.batch_size=8``, taken out of the config."""
    loader = cfg.get('test_dataloader')
    if not isinstance(loader, dict) or (loader.get('dataset') or {}).get('type'):
        return {}
    cfg['test_dataloader'] = None
    return dict(loader)


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


def _is_same_folder(one: str, other: str) -> bool:
    return Path(os.path.normpath(one)) == Path(os.path.normpath(other))


def _type_of(part: dict) -> str:
    return str(part.get('type')).rpartition('.')[2]
