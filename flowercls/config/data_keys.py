"""The class names of `classes.txt`, and their number, written wherever a config has to agree with them.

Datasets, samplers, loaders and metrics: complete, ours, and all of one prepared folder.

Weights of unequal classes in the loss: `model.head.loss.class_weight = 'balanced'` becomes numbers.

In a loss of mmpretrain the weight multiplies each photo's loss, and the sum is divided by the number of photos
(`avg_factor`, which its heads always give), not by the sum of the weights as in torch. Balanced weights are 1 on
average over the training photos, so an epoch's loss stays on its scale; a batch of rare classes has a larger one.
With mixed photos and with smoothed labels each share of a label is weighted by its own class.
"""

import copy
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowercls.config.overrides import merge
from flowercls.config.suggest import CLOSE, did_you_mean
from flowercls.core.errors import ConfigError, DataError
from flowercls.core.layout import ANN_FILES, DATA_PREFIXES
from flowercls.core.prepared_folder import has_test_set

BARE_HEAD = 'ClsHead'  # takes finished scores: the classification layer is in the backbone
SCORES_IN_BACKBONE = ('VGG', 'InceptionV3', 'TorchvisionBackbone')


def derive_num_classes(cfg: Any, num_classes: int) -> list[str]:
    """Set the number of classes in head, preprocessor, backbone and metrics; returns what had another number."""
    notes = []
    for path, section, must_have in _counting_sections(cfg):
        if not must_have and 'num_classes' not in section:
            continue
        if section.get('num_classes') not in (None, num_classes):
            notes.append(f'{path}.num_classes is {num_classes} instead of {section["num_classes"]}: see classes.txt.')
        section['num_classes'] = num_classes
    return notes


def derive_topk(cfg: Any, num_classes: int) -> list[str]:
    """Drop every top-k that is 100 % by definition: k at or above the number of classes."""
    notes = []
    for path, section in [('model.head', _part(cfg, 'model', 'head')), *evaluator_entries(cfg)]:
        topk = section.get('topk')
        if topk is None:
            continue
        wanted = (topk,) if isinstance(topk, int) else tuple(topk)
        kept = tuple(k for k in wanted if k < num_classes) or (1,)
        if kept != wanted:
            section['topk'] = kept
            always = max(wanted)
            notes.append(f'{path}.topk is {kept}: top-{always} of {num_classes} classes is always 100 %.')
    return notes


def evaluator_entries(cfg: Any) -> list[tuple[str, dict]]:
    """Every metric of a config with its dotted path."""
    entries = []
    for name in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(name)
        if isinstance(evaluator, dict):
            entries.append((name, evaluator))
        elif isinstance(evaluator, (list, tuple)):
            entries += [(f'{name}.{i}', metric) for i, metric in enumerate(evaluator) if isinstance(metric, dict)]
    return entries


def _counting_sections(cfg: Any) -> Iterator[tuple[str, dict, bool]]:
    """(path, section, whether it must have `num_classes` or only agrees if it has)."""
    head, backbone = _part(cfg, 'model', 'head'), _part(cfg, 'model', 'backbone')
    is_bare = head.get('type') == BARE_HEAD
    yield 'model.head', head, bool(head) and not is_bare
    yield from ((path, part, False) for path, part in dicts_inside(head, 'model.head'))
    if backbone.get('num_classes', 0) > 0 or (is_bare and backbone.get('type') in SCORES_IN_BACKBONE):
        yield 'model.backbone', backbone, True
    inner = cfg['model'].get('data_preprocessor')
    yield ('model.data_preprocessor', inner, True) if inner else ('data_preprocessor', cfg['data_preprocessor'], True)
    yield from ((path, part, False) for path, part in dicts_inside(_part(cfg, 'model', 'train_cfg'), 'model.train_cfg'))
    yield from ((path, metric, False) for path, metric in evaluator_entries(cfg))


def dicts_inside(node: Any, path: str) -> Iterator[tuple[str, dict]]:
    """Every dict in a dict or list, at any depth, with its dotted path."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in children:
        if isinstance(value, dict):
            yield f'{path}.{key}', value
        yield from dicts_inside(value, f'{path}.{key}')


def _part(cfg: Any, *names: str) -> dict:
    for name in names:
        cfg = cfg.get(name) or {}
    return cfg


pass


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
    near = did_you_mean(str(name), (OURS, *REPLACED_DATASETS, *WRAPPERS), cutoff=CLOSE)
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


pass


BALANCED = 'balanced'
PREPARE_AGAIN = 'Fix: correct the list, or prepare the folder again (tools/prepare_data.py).'
# Of mmpretrain's losses these have the argument `class_weight`.
TAKES_CLASS_WEIGHT = ('CrossEntropyLoss', 'LabelSmoothLoss')


def derive_class_weights(cfg: Any, names: list[str]) -> list[str]:
    """Write `'balanced'` out as one number a class, from the photos of the training list; numbers stay as they are.

    Args:
        cfg: A config whose training set is complete.
        names: Class names in the order of the labels.

    Returns:
        Sentences about what the user may not expect.

    Raises:
        ConfigError: if the loss takes no weights, or is given something else than one number a class.
        DataError: if the training list cannot be read, or a class has no photo in it.
    """
    loss = (cfg['model'].get('head') or {}).get('loss')
    weight = loss.get('class_weight') if isinstance(loss, dict) else None
    if weight is None:
        return []
    kind = str(loss.get('type')).rpartition('.')[2]
    if weight != BALANCED:
        _check_numbers(weight, kind, names)
        return []
    if kind not in TAKES_CLASS_WEIGHT:
        raise ConfigError(
            f'model.head.loss.class_weight={BALANCED!r}: {kind} takes no class weights. Fix: '
            f'{" or ".join(TAKES_CLASS_WEIGHT)}, or train_dataloader.sampler.balanced=True.'
        )
    loss['class_weight'] = balanced_weights(training_labels(cfg, names), names)
    if (cfg['train_dataloader'].get('sampler') or {}).get('balanced'):
        return [
            'model.head.loss.class_weight and train_dataloader.sampler.balanced both even the classes out: together '
            'rare ones count for more than the others. Fix: one of the two.'
        ]
    return []


def follow_data_root(cfg: Any, old_root: str) -> None:
    """Let weights that were balanced for the prepared folder ``old_root`` be balanced anew for the config's.

    A resolved config has them as numbers; other numbers than those are the user's own and stay.
    """
    loss = (cfg['model'].get('head') or {}).get('loss') if cfg.get('model') else None
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    weight = loss.get('class_weight') if isinstance(loss, dict) else None
    if not isinstance(weight, (list, tuple)) or not isinstance(dataset.get('ann_file'), str):
        return
    try:
        labels = _labels_of(Path(old_root, dataset['ann_file']), len(weight))
        if list(weight) == balanced_weights(labels, list(map(str, range(len(weight))))):
            loss['class_weight'] = BALANCED
    except DataError:
        return  # the folder is gone: nobody can say what the numbers were


def _check_numbers(weight: Any, kind: str, names: list[str]) -> None:
    plain = isinstance(weight, (list, tuple)) and all(isinstance(value, (int, float)) for value in weight)
    if not plain or not all(0 <= value < math.inf for value in weight):
        raise ConfigError(
            f'model.head.loss.class_weight={weight!r}: expected {BALANCED!r} or numbers of at least 0, one a class.'
        )
    if kind in TAKES_CLASS_WEIGHT and len(weight) != len(names):
        raise ConfigError(
            f'model.head.loss.class_weight has {len(weight)} numbers, there are {len(names)} classes '
            f'({", ".join(names)}). Fix: one number a class in this order, or {BALANCED!r}.'
        )


def balanced_weights(labels: list[int], names: list[str]) -> list[float]:
    """The weight n / (k · n_c) of each of the k classes: n photos, n_c of them of the class.

    Raises:
        DataError: if a class has no photo.

    Source:
        King and Zeng 2001, as scikit-learn's ``compute_class_weight('balanced')``.
    """
    counts = [labels.count(label) for label in range(len(names))]
    if 0 in counts:
        raise DataError(
            f'model.head.loss.class_weight={BALANCED!r}: no photo of {names[counts.index(0)]} in the training list. '
            'Fix: prepare a folder with photos of every class, or leave class_weight out.'
        )
    return [len(labels) / (len(names) * count) for count in counts]


def training_labels(cfg: Any, names: list[str]) -> list[int]:
    """The labels of all photos that the training loader reads.

    Raises:
        DataError: if a list is missing, or a line of it does not end in the number of a class.
    """
    labels = []
    for _, dataset in datasets_in(cfg['train_dataloader'], 'train_dataloader'):
        if dataset.get('ann_file'):
            labels += _labels_of(Path(dataset['data_root'], dataset['ann_file']), len(names))
    return labels


def _labels_of(path: Path, num_classes: int) -> list[int]:
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
        labels = [int(line.rpartition(' ')[2]) for line in lines if line.strip()]
    except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(
            f'{path}: cannot be read as "<class>/<file> <label>" a line ({error}). {PREPARE_AGAIN}'
        ) from error
    wrong = [label for label in labels if not 0 <= label < num_classes]
    if wrong:
        raise DataError(f'{path}: label {wrong[0]} is outside 0..{num_classes - 1} of classes.txt. {PREPARE_AGAIN}')
    return labels
