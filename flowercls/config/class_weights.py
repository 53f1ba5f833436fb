"""Weights of unequal classes in the loss: `model.head.loss.class_weight = 'balanced'` becomes numbers.

In a loss of mmpretrain the weight multiplies each photo's loss, and the sum is divided by the number of photos
(`avg_factor`, which its heads always give), not by the sum of the weights as in torch. Balanced weights are 1 on
average over the training photos, so an epoch's loss stays on its scale; a batch of rare classes has a larger one.
With mixed photos and with smoothed labels each share of a label is weighted by its own class.
"""

import math
from pathlib import Path
from typing import Any

from flowercls.config.loaders import datasets_in
from flowercls.errors import ConfigError, DataError

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
