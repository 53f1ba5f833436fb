"""The data of a config: loaders of one prepared folder, its classes wherever they count, weights of unequal classes.

Class weights: in a loss of mmpretrain the weight multiplies each photo's loss, and the sum is divided by the number of
photos (`avg_factor`, which its heads always give), not by the sum of the weights as in torch. Balanced weights are 1 on
average over the training photos, so an epoch's loss stays on its scale; a batch of rare classes has a larger one.
With mixed photos and with smoothed labels each share of a label is weighted by its own class.
"""

import contextlib
import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowercls.config.overrides import merge
from flowercls.config.schema import at_path, type_name, walk
from flowercls.config.suggest import CLOSE, did_you_mean
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.layout import ANN_FILES, DATA_PREFIXES
from flowercls.core.prepared_folder import class_names, has_test_set, read_annotations

IMAGE_FOLDER = 'ImageFolder'
# mmpretrain's datasets of photos with one label each. Its others hand over decoded pictures (CIFAR10), several labels
# or no classes at all, and their pipelines rely on that.
REPLACED_DATASETS = ('ImageNet', 'ImageNet21k', 'CustomDataset', 'Caltech101', 'CUB', 'DTD', 'FGVCAircraft') + (
    ('Flowers102', 'Food101', 'OxfordIIITPet', 'Places205', 'StanfordCars', 'SUN397')
)
WRAPPERS = ('RepeatDataset', 'ClassBalancedDataset', 'ConcatDataset', 'KFoldDataset')
REPLACED_SAMPLERS = ('DefaultSampler', 'RepeatAugSampler')
BALANCED = 'balanced'
TAKES_CLASS_WEIGHT = ('CrossEntropyLoss', 'LabelSmoothLoss')  # of mmpretrain's losses


def datasets_in(loader: Any, path: str) -> Iterator[tuple[str, dict]]:
    """Yield the dataset of a loader, and all that it wraps, with their dotted paths."""
    name = 'dataset' if loader.get('dataset') else 'datasets'
    inner = loader.get(name)
    for i, dataset in enumerate(inner if isinstance(inner, list | tuple) else [inner]):
        if isinstance(dataset, dict):
            here = f'{path}.{name}.{i}' if isinstance(inner, list | tuple) else f'{path}.{name}'
            yield here, dataset
            yield from datasets_in(dataset, here)


# ---------------------------------------------------------------- loaders


def derive_loaders(cfg: Any, names: list[str]) -> list[str]:
    """Complete the loaders and metrics of a config in place.

    Args:
        cfg: A config with a `data_root`.
        names: Class names in the order of the labels.

    Returns:
        Notes on everything that was changed.

    Raises:
        ConfigError: if a dataset does not fit the prepared folder, or is of another folder.
    """
    notes = _add_report(cfg, 'val_evaluator')
    # Single keys of a test loader that is left to us, as `test_dataloader.batch_size=8`.
    partial_test = {}
    if isinstance(cfg.get('test_dataloader'), dict) and not at_path(cfg, 'test_dataloader.dataset.type'):
        partial_test, cfg['test_dataloader'] = dict(cfg['test_dataloader']), None
    for split in ('train', 'val', 'test'):
        if cfg.get(f'{split}_dataloader') is not None:
            notes += _complete_loader(cfg, split, names)
    if cfg.get('val_dataloader') is not None:
        if cfg.get('test_dataloader') is None:
            cfg['test_dataloader'] = loader = copy.deepcopy(cfg['val_dataloader'])
            for _, dataset in datasets_in(loader, ''):
                if type_name(dataset) == IMAGE_FOLDER and has_test_set(cfg['data_root']):
                    dataset.update(_set_keys(cfg, 'test'))
        if cfg.get('test_evaluator') is None:
            cfg['test_evaluator'] = copy.deepcopy(cfg['val_evaluator'])
        for name in ('val_cfg', 'test_cfg'):
            if cfg.get(name) is None:
                cfg[name] = {}
        cfg['test_dataloader'] = merge(partial_test, cfg['test_dataloader'])
        _complete_loader(cfg, 'test', names)  # its notes would repeat the notes of validation
    notes += _replace_decoders(cfg.get('tta_pipeline'), 'tta_pipeline')
    return notes + _add_report(cfg, 'test_evaluator')


def follow_data_root(cfg: Any, old_root: str) -> None:
    """Point everything that follows from the prepared folder ``old_root`` at the config's ``data_root``, in place.

    A resolved config names the folder in each dataset, and holds balanced class weights as numbers. Whether there is a
    test set is looked up anew. Datasets of other folders, and other class weights, are the user's own and stay.
    """
    val_or_test = [(ANN_FILES[split], DATA_PREFIXES[split]) for split in ('val', 'test')]
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        for _, dataset in datasets_in(loader, '') if isinstance(loader, dict) else ():
            if isinstance(dataset.get('data_root'), str) and _is_same_folder(dataset['data_root'], old_root):
                dataset['data_root'] = cfg['data_root']
                if split == 'test' and (dataset.get('ann_file'), dataset.get('data_prefix')) in val_or_test:
                    del dataset['ann_file'], dataset['data_prefix']
    loss, ann_file = at_path(cfg, 'model.head.loss'), at_path(cfg, 'train_dataloader.dataset.ann_file')
    weight = loss.get('class_weight') if isinstance(loss, dict) else None
    if isinstance(weight, list | tuple) and isinstance(ann_file, str):
        with contextlib.suppress(DataError):  # the old folder is gone, so the numbers cannot be compared
            if list(weight) == balanced_weights([(old_root, ann_file)], class_names(old_root)):
                loss['class_weight'] = BALANCED


def _complete_loader(cfg: Any, split: str, names: list[str]) -> list[str]:
    notes, path = [], f'{split}_dataloader'
    loader, root = cfg[path], cfg['data_root']
    outermost = type_name(loader.get('dataset'))
    hides = f'{outermost} does not pass the epoch to the photos'
    if split == 'train' and outermost in WRAPPERS:
        notes.append(
            f'{path}.dataset: {hides}, so augmentation depends on the number of loader workers and a resumed run is '
            'not the same bit for bit.'
        )
    for where, dataset in datasets_in(loader, path):
        if outermost in WRAPPERS and dataset.get('views') is not None:
            raise ConfigError(f'{where}.views={dataset["views"]}: {hides}. Fix: leave out {outermost}, or views.')
        if type_name(dataset) in REPLACED_DATASETS:
            notes.append(f'{where}: {dataset["type"]} replaced by ImageFolder on {root}.')
            # The pipeline is the user's, the folder is ours. A CustomDataset that names its list keeps the list.
            keeps_list = dataset.get('ann_file') and type_name(dataset) == 'CustomDataset'
            wanted = ('pipeline', 'views', 'indices', *(['ann_file', 'data_prefix'] if keeps_list else []))
            kept = {key: dataset[key] for key in wanted if key in dataset}
            dataset.clear()
            dataset.update({'type': IMAGE_FOLDER, 'data_root': root, **_set_keys(cfg, split), 'pipeline': [], **kept})
        if type_name(dataset) == IMAGE_FOLDER:
            notes += _complete_dataset(cfg, split, dataset, names, where)
            notes += _replace_decoders(dataset.get('pipeline'), f'{where}.pipeline')
        elif type_name(dataset) not in WRAPPERS:
            name = str(dataset.get('type'))
            near = did_you_mean(name, (IMAGE_FOLDER, *REPLACED_DATASETS, *WRAPPERS), cutoff=CLOSE)
            raise ConfigError(
                f'{where}: {name}{near} does not read the prepared folder {root}, and its pipeline may not suit photos '
                f"from files. Fix: set {where} = dict(_delete_=True, type='{IMAGE_FOLDER}', "
                "pipeline=[dict(type='LoadImage'), ...]) as in configs/_base_/datasets/flower_224.py, or take a "
                '_base_ made for ImageNet.'
            )
    sampler, is_train = loader.get('sampler'), split == 'train'
    if sampler is None and not loader.get('batch_sampler'):
        loader['sampler'] = {'type': 'CounterSampler' if is_train else 'DefaultSampler', 'shuffle': is_train}
    elif is_train and type_name(sampler) in REPLACED_SAMPLERS:
        kept = {key: sampler[key] for key in ('seed', 'balanced') if key in sampler}
        loader['sampler'] = {'type': 'CounterSampler', 'shuffle': sampler.get('shuffle', True), **kept}
        notes.append(f'{path}.sampler: {sampler["type"]} replaced by CounterSampler: order = f(seed, epoch).')
    loader.setdefault('collate_fn', {'type': 'default_collate'})
    if not loader.get('num_workers'):
        loader['persistent_workers'] = False  # torch refuses True without workers
    loader.setdefault('persistent_workers', True)
    return notes


def _complete_dataset(cfg: Any, split: str, dataset: dict, names: list[str], where: str) -> list[str]:
    dataset['data_root'] = root = dataset.get('data_root') or cfg['data_root']
    if not _is_same_folder(str(root), cfg['data_root']):
        raise ConfigError(
            f'{where}.data_root is {root}, data_root is {cfg["data_root"]}: one run has one prepared folder. '
            f'Fix: leave {where}.data_root out and set data_root.'
        )
    for key, value in _set_keys(cfg, split).items():
        dataset.setdefault(key, value)
    if str(dataset['ann_file']).startswith('folds/') and dataset['data_prefix'] in DATA_PREFIXES.values():
        dataset['data_prefix'] = ''  # the paths in these lists start from the prepared folder itself
    metainfo = dict(dataset.get('metainfo') or {})
    classes = metainfo.get('classes') or names
    dataset['metainfo'] = {**metainfo, 'classes': list(names)}
    if classes in (names, tuple(names)):
        return []
    return [f'{where}.metainfo.classes is {names} instead of {classes}: see classes.txt.']


def _set_keys(cfg: Any, split: str) -> dict[str, str]:
    """Return `ann_file` and `data_prefix` of a set; the validation set takes the place of a missing test set."""
    split = 'val' if split == 'test' and not has_test_set(cfg['data_root']) else split
    return {'ann_file': ANN_FILES[split], 'data_prefix': DATA_PREFIXES[split]}


def _replace_decoders(pipeline: Any, path: str) -> list[str]:
    # Both give BGR. mmcv's fails on a damaged photo without saying so, and reads some others differently (CMYK).
    notes = []
    for where, step in walk(pipeline, path):
        if type_name(step) == 'LoadImageFromFile':
            if step.get('color_type', 'color') != 'color':
                raise ConfigError(
                    f'{where}.color_type={step["color_type"]!r}: photos are loaded in colour. '
                    "Fix: dict(type='LoadImage'), and dict(type='TorchvisionTransforms', "
                    "transforms=[dict(type='Grayscale', num_output_channels=3)])."
                )
            dropped = ', '.join(key for key in step if key not in ('type', 'color_type'))
            step.clear()
            step['type'] = 'LoadImage'
            note = f'{where}: LoadImageFromFile replaced by LoadImage, the one decoder of all tools'
            notes.append(f'{note}, without {dropped}.' if dropped else f'{note}.')
    return notes


def _add_report(cfg: Any, name: str) -> list[str]:
    if cfg.get(name) is None:
        return []
    metrics = [cfg[name]] if isinstance(cfg[name], dict) else list(cfg[name])
    missing = all(type_name(metric) != 'ClassificationReport' for metric in metrics)
    cfg[name] = [*metrics, {'type': 'ClassificationReport'}] if missing else metrics
    return [f'{name}: ClassificationReport added.'] if missing else []


def _is_same_folder(path: str, other_path: str) -> bool:
    return Path(os.path.normpath(path)) == Path(os.path.normpath(other_path))


# ---------------------------------------------------------------- classes


def derive_num_classes(cfg: Any, num_classes: int) -> list[str]:
    """Set the number of classes in head, preprocessor, backbone and metrics in place; returns notes on corrections."""
    head, backbone = at_path(cfg, 'model.head') or {}, at_path(cfg, 'model.backbone') or {}
    is_bare = head.get('type') == 'ClsHead'  # takes finished scores: the classification layer is in the backbone
    inner = at_path(cfg, 'model.data_preprocessor')
    must_have = [('model.data_preprocessor', inner) if inner else ('data_preprocessor', cfg['data_preprocessor'])]
    if head and not is_bare:
        must_have.append(('model.head', head))
    if backbone and (is_bare or (backbone.get('num_classes') or 0) > 0):
        must_have.append(('model.backbone', backbone))
    notes = []
    for path, section in must_have + _parts_with(cfg, 'num_classes'):
        if section.get('num_classes') not in (None, num_classes):
            notes.append(f'{path}.num_classes is {num_classes} instead of {section["num_classes"]}: see classes.txt.')
        section['num_classes'] = num_classes
    return notes


def derive_topk(cfg: Any, num_classes: int) -> list[str]:
    """Drop in place every top-k that is 100 % by definition: k at or above the number of classes."""
    notes = []
    for path, section in _parts_with(cfg, 'topk'):
        topk = (section['topk'],) if isinstance(section['topk'], int) else tuple(section['topk'] or ())
        kept = tuple(k for k in topk if k < num_classes) or (1,)
        if topk and kept != topk:
            section['topk'] = kept
            notes.append(f'{path}.topk is {kept}: top-{max(topk)} of {num_classes} classes is always 100 %.')
    return notes


def _parts_with(cfg: Any, key: str) -> list[tuple[str, dict]]:
    """Return every part of the head, the mixing of photos and the metrics that has ``key``, with its dotted path."""
    sections = ('model.head', 'model.train_cfg', 'val_evaluator', 'test_evaluator')
    parts = [(path, part) for path, part in walk(at_path(cfg, '')) if path.startswith(sections)]
    return [(path, part) for path, part in parts if isinstance(part, dict) and key in part]


# ---------------------------------------------------------------- class weights


def derive_class_weights(cfg: Any, names: list[str]) -> list[str]:
    """Replace `class_weight='balanced'` in place by a number for each class, from the photos of the training list.

    Args:
        cfg: A config whose training set is complete.
        names: Class names in the order of the labels.

    Returns:
        A note if class weights and a balanced sampler meet.

    Raises:
        ConfigError: if the loss takes no weights, or has not as many of them as there are classes.
        DataError: if the training list cannot be read, or a class has no photo in it.
    """
    loss = at_path(cfg, 'model.head.loss')
    weight = loss.get('class_weight') if isinstance(loss, dict) else None
    if weight is None:
        return []
    key, kind = 'model.head.loss.class_weight', type_name(loss)
    if weight != BALANCED:
        if kind in TAKES_CLASS_WEIGHT and len(weight) != len(names):
            raise ConfigError(
                f'{key} has {len(weight)} numbers, there are {len(names)} classes ({", ".join(names)}). '
                f'Fix: one number a class in this order, or {BALANCED!r}.'
            )
        return []
    if kind not in TAKES_CLASS_WEIGHT:
        raise ConfigError(
            f'{key}={BALANCED!r}: {kind} takes no class weights. Fix: '
            f'{" or ".join(TAKES_CLASS_WEIGHT)}, or train_dataloader.sampler.balanced=True.'
        )
    datasets = [dataset for _, dataset in datasets_in(cfg['train_dataloader'], '') if dataset.get('ann_file')]
    loss['class_weight'] = balanced_weights([(part['data_root'], part['ann_file']) for part in datasets], names)
    if not at_path(cfg, 'train_dataloader.sampler.balanced'):
        return []
    twice = f'{key} and train_dataloader.sampler.balanced both favour rare classes, which then count too much'
    return [f'{twice}. Fix: remove one of them.']


def balanced_weights(lists: list[tuple[str, str]], names: list[str]) -> list[float]:
    """Return the weight n / (k · n_c) of each of the k classes: n photos, n_c of them of the class.

    Args:
        lists: Prepared folder and list of each training set.
        names: Class names in the order of the labels.

    Raises:
        DataError: if a list cannot be read, or a class has no photo.

    Source:
        King and Zeng 2001, as scikit-learn's ``compute_class_weight('balanced')``.
    """
    labels = [label for root, ann_file in lists for _, label in read_annotations(Path(root, ann_file), root, names)]
    counts = [labels.count(label) for label in range(len(names))]
    if 0 in counts:
        raise DataError(
            f'model.head.loss.class_weight={BALANCED!r}: no photo of {names[counts.index(0)]} in the training list. '
            'Fix: prepare a folder with photos of every class, or leave class_weight out.'
        )
    return [len(labels) / (len(names) * count) for count in counts]
