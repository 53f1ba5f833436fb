"""A run folder in, its calibration.json out: what the model's confidences are worth, and what its classes look like.

::

    {"checkpoint": name, "sha256": of the checkpoint, "fitted_on": "val", "n": photos,
     "temperature": T, "nll": {"before", "after"}, "ece": {"before", "after"} in percent,
     "threshold": {"precision", "confidence", "right", "right_interval", "answered", "answered_interval"} | null,
     "threshold_reason": "" or why there is none,
     "none_of_these": {"limit", "false_alarms", "false_alarms_interval", "photos": {"train", "val"},
                       "found": {kind: [k, n]}, "space": arrays} | null,
     "none_of_these_reason": "" or why there is none}

Where the photos are too few for any figure, ``temperature``, ``nll`` and ``ece`` are null too. Shares are 0 to 1.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from flowercls.config.data_keys import datasets_in
from flowercls.config.dump import load_dumped
from flowercls.config.loader import default_runtime
from flowercls.core import signals
from flowercls.core.errors import DataError, FlowerclsError
from flowercls.core.files import sha256_of, write_json
from flowercls.core.layout import CALIBRATION_FILE, CONFIG_FILE, METRICS_FILE, PREDICTIONS_VAL_FILE
from flowercls.core.prepared_folder import manifest_hash, photo_groups
from flowercls.core.workers import usable_cpus
from flowercls.data.decode import decode_rgb
from flowercls.evaluate.calibration import (
    FALSE_ALARMS,
    calibrate_scores,
    class_distances,
    distance_limit,
    fit_feature_space,
)
from flowercls.evaluate.predictions import Predictions, image_name
from flowercls.use.load import best_checkpoint, load, measured_checkpoint
from flowercls.use.model import Model
from flowercls.use.photos import spread_over_classes
from flowercls.use.unknown.foreign_photos import KINDS, draw_foreign

# More training photos found no more foreign ones: with 300, 500, 1,000 and 2,276 of MobileNetV2 the shares were equal.
TRAIN_PHOTOS, PER_CLASS = 500, 10  # in all, or of each class where that is more
VAL_PHOTOS = 1000
FOREIGN_PHOTOS = 60  # of each kind
USEFUL = 0.5  # share of each kind that must be found


def calibrate(folder: Path, *, trusted: bool = False, report: Callable[[str], object] = print) -> dict:
    """Calibrate the best checkpoint of a run folder and write its calibration.json.

    Args:
        folder: A run folder with validated photos.
        trusted: Open a checkpoint whose config imports modules of its own, which can run code.
        report: Called with a line for the user before the photos are looked at.

    Returns:
        The content of the file.

    Raises:
        CheckpointError: if the folder holds no checkpoint.
        ConfigError: if its config.py cannot be read.
        DataError: if its predictions file cannot be read or is of another checkpoint, or if distances that the folder
            has already could not be measured again.
        DiskError: if the folder may not be written to.
    """
    checkpoint, predictions = best_checkpoint(folder), Predictions.read_csv(folder / PREDICTIONS_VAL_FILE)
    _check_origin(folder, checkpoint)
    config = load_dumped(folder / CONFIG_FILE)
    settings = {**default_runtime()['calibration'], **(config.get('calibration') or {})}
    groups = _groups(config, predictions.images)
    content = {
        **{'checkpoint': checkpoint.name, 'sha256': sha256_of(checkpoint), 'fitted_on': 'val'},
        **{'n': len(predictions.images), 'temperature': None, 'nll': None, 'ece': None, 'threshold': None},
    }
    try:
        content |= calibrate_scores(predictions.scores, predictions.labels, settings['precision'], groups)
    except ValueError as error:
        content['threshold_reason'] = f'{error}'
    space, reason = None, ''
    try:
        distance_limit(np.zeros(len(predictions.images)), groups)  # are there enough photos?
        if config.get('data_manifest') != manifest_hash(config.get('data_root') or ''):
            raise ValueError('the photos of the training are not here, or were prepared anew')
        space = _none_of_these(load(checkpoint, trusted=trusted), groups, report)
    except ValueError as error:
        reason = f'{error}'
    except (FlowerclsError, RuntimeError, MemoryError) as error:  # RuntimeError: torch, also without memory
        report(f'note: {error}')  # not in the file, which exports carry: it may hold paths
        reason = f'it could not be computed ({type(error).__name__})'
    content |= {'none_of_these': space, 'none_of_these_reason': reason}
    _check_nothing_is_lost(folder / CALIBRATION_FILE, content)
    write_json(folder / CALIBRATION_FILE, content)
    return content


def _check_nothing_is_lost(path: Path, content: dict) -> None:
    """Raise a `DataError` if the file holds distances of the same checkpoint, and the new content would have none."""
    try:
        old = json.loads(path.read_text(encoding='utf-8'))
        has_distances = old['sha256'] == content['sha256'] and old['none_of_these'] is not None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return
    if has_distances and content['none_of_these'] is None:
        raise DataError(
            f'{path}: holds distances to the classes, which cannot be measured again: '
            f'{content["none_of_these_reason"]}. It was left as it is. Fix: calibrate where the photos of the training '
            'are, or remove the file first.'
        )


def _check_origin(folder: Path, checkpoint: Path) -> None:
    if measured_checkpoint(folder) != checkpoint.name:
        raise DataError(
            f'{folder / METRICS_FILE}: does not say that {PREDICTIONS_VAL_FILE} is of {checkpoint.name}. Fix: put back '
            'the files that the training wrote.'
        )


def _groups(config: dict, images: Sequence[str]) -> np.ndarray | None:
    """Return the number of the group of look-alikes of each validation photo; None where that is not known."""
    sets = {dataset.get('data_prefix') for _, dataset in datasets_in(config.get('val_dataloader') or {}, '')}
    try:
        groups = photo_groups(config.get('data_root') or '', config.get('data_manifest') or '')
    except DataError:
        return None
    found = {image_name(file): group for file, group in groups.items() if file.partition('/')[0] in sets}
    return np.array([found[image] for image in images]) if found.keys() >= set(images) else None


def _none_of_these(model: Model, groups: np.ndarray | None, report: Callable[[str], object]) -> dict:
    """Return the entry ``none_of_these``.

    Raises:
        ValueError: if it finds too little to be useful, saying so.
        DataError: if the photos are not where the run found them.
    """
    train, val = model.photos_of('train'), model.photos_of('val')
    train = spread_over_classes(train, max(TRAIN_PHOTOS, PER_CLASS * len(model.class_names)))
    labels = np.array([label for _, label in train])
    if len(set(labels)) < len(model.class_names):
        raise ValueError('not every class has training photos')
    if groups is not None and len(groups) != len(val):
        groups = None
    chosen = np.linspace(0, len(val) - 1, min(len(val), VAL_PHOTOS)).astype(int)
    report(
        f'calibrating on {len(chosen):,} validation, {len(train):,} training and '
        f'{FOREIGN_PHOTOS * len(KINDS)} drawn photos'
    )
    space = fit_feature_space(_features(model, (path for path, _ in train)), labels)

    def distances(photos: Iterable) -> np.ndarray:
        return class_distances(_features(model, photos), space).min(axis=1)

    entry = distance_limit(distances(val[i][0] for i in chosen), None if groups is None else groups[chosen])
    found = {}
    for kind in KINDS:
        far = distances(draw_foreign(kind, number) for number in range(FOREIGN_PHOTOS)) > entry['limit']
        found[kind] = [int(far.sum()), len(far)]
    if any(k < USEFUL * n for k, n in found.values()):
        shares = ', '.join(f'{k} of {n} {kind}' for kind, (k, n) in found.items())
        raise ValueError(f'with false alarms for {100 * FALSE_ALARMS:g} % of the photos it finds only {shares}')
    counts = {'train': len(train), 'val': len(chosen)}
    return {**entry, 'photos': counts, 'found': found, 'space': space.to_json()}


def _features(model: Model, photos: Iterable[Path | np.ndarray]) -> np.ndarray:
    """Return features of photos, given as files or pixels, float32, shape (N, D)."""

    def prepare(photo: Path | np.ndarray):
        return model.prepare(photo if isinstance(photo, np.ndarray) else decode_rgb(photo))

    rows, remaining = [], iter(photos)
    with ThreadPoolExecutor(usable_cpus()) as threads:
        while batch := list(itertools.islice(remaining, model.batch_size)):
            rows.append(model.features(list(threads.map(prepare, batch))))
            signals.check()
    return np.concatenate(rows)


def confidence_text(calibration: dict) -> str:
    """Return what a threshold is worth, in one line.

    ``answers from 0.955 on are right in 99.3 % (97.7 to 99.9), 56 % of the validation photos are answered``
    """
    threshold = calibration['threshold']
    low, high = (100 * share for share in threshold['right_interval'])
    return (
        f'answers from {threshold["confidence"]:.3f} on are right in {100 * threshold["right"]:.1f} % '
        f'({low:.1f} to {high:.1f}), {100 * threshold["answered"]:.0f} % of the validation photos are answered'
    )


def describe(folder: Path, content: dict) -> str:
    """Return what `calibrate` found, as lines for the user."""
    lines = []
    if content['temperature']:
        before, after = content['ece']['before'], content['ece']['after']
        lines.append(f'temperature {content["temperature"]:.3f}: calibration error {before:.1f} -> {after:.1f} %')
    found = confidence_text(content) if content['threshold'] else f'no threshold: {content["threshold_reason"]}'
    lines.append(f'confidence  {found}')
    if entry := content['none_of_these']:
        shares = ', '.join(f'{k} of {n} {kind}' for kind, (k, n) in entry['found'].items())
        low, high = (100 * share for share in entry['false_alarms_interval'])
        alarms = f'false alarms for {100 * entry["false_alarms"]:.1f} % ({low:.1f} to {high:.1f}) of the photos'
        lines.append(f'none        finds {shares}; {alarms}')
    else:
        lines.append(f'none        off: {content["none_of_these_reason"]}')
    return '\n'.join([*lines, f'written     {folder / CALIBRATION_FILE}'])
