"""The facts behind a run: model, time and overfitting; its data, from the manifest; its environment, from the log."""

import contextlib
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

from flowercls.config.model_keys import architecture_name, weights_name
from flowercls.core.files import sha256_of
from flowercls.core.layout import (
    ANN_FILES,
    EXPORT_DIR,
    EXPORT_FILE,
    LOG_PATTERN,
    MANIFEST_FILE,
    NEAR_DUPLICATES_FILE,
    OVERVIEW_FILE,
    SET_TITLES,
    SPLIT_TITLES,
)
from flowercls.core.terminal import as_duration, tool_command
from flowercls.evaluate.scalars import NUM_SES, Overfitting, overfitting
from flowercls.report.page import MALFORMED, existing_picture, read_json, read_text

SPLIT_FLAGS = {'seed': '--seed', 'val_ratio': '--val-ratio', 'test_ratio': '--test-ratio', 'folds': '--folds'}
# mmengine writes a block of these at the start of every log.
VERSIONS = ('sys.platform', 'Python', 'CUDA available', 'CUDA_HOME', 'NVCC', 'PyTorch', 'TorchVision', 'MMEngine')
VERSION_LINE = re.compile(r'^    (?P<name>[\w .,]+): (?P<value>.+)$', re.MULTILINE)
VERSIONS_BEGIN, VERSIONS_END, MAX_LETTERS = 'System environment:', 'Runtime environment:', 20_000
LOG_TIME, TIME_FORMAT = re.compile(r'^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?= - )', re.MULTILINE), '%Y/%m/%d %H:%M:%S'


def answer_card(folder: Path, config: dict, metrics: dict, epochs: list[dict]) -> dict[str, str]:
    """Return the facts that a report begins with, by their titles; what is not known is left out.

    Args:
        folder: The run folder.
        config: Its config, or an empty dict.
        metrics: Content of its metrics.json, or an empty dict.
        epochs: Its epochs.
    """
    facts = {}
    if config:
        model = config.get('model') or {}
        frozen = model.get('frozen_stages') or 0
        stages = 'all but the last layer' if frozen == 'all' else f'the first {frozen} stages'
        facts = {
            'model': architecture_name(model) + f', {stages} frozen' * bool(frozen),
            'image size': _image_size(config),
            'starting weights': weights_name(config.get('load_from')) or 'none: random weights',
        }
    with contextlib.suppress(*MALFORMED):
        if seconds := _training_time(folder):
            facts['time'] = f'{as_duration(seconds)} for {len(epochs)} epoch{"s" * (len(epochs) != 1)}'
    with contextlib.suppress(*MALFORMED):
        facts['overfitting'] = overfitting_text(overfitting(folder, metrics.get('epoch')))
    return {title: fact for title, fact in facts.items() if fact}


def overfitting_text(found: Overfitting | None) -> str:
    """Return whether a run overfits, in plain words and with its figures; empty if that is not known."""
    if found is None:
        return ''
    best, last = found.best, found.last
    if found.is_seen:
        start = (
            f'Yes, after epoch {best["step"]}. By epoch {last["step"]}, the last, the training loss fell, and the '
            f'validation loss rose by more than {NUM_SES} standard errors.'
        )
    elif best is not last:
        start = f'No sign of it from epoch {best["step"]}, the best, to {last["step"]}, the last.'
    else:
        start = 'No sign of it: the last epoch is the best.' if last['step'] > 1 else 'One epoch cannot show it.'
    pairs = {
        key: ' → '.join(f'{epoch[key]:{spec}}' for epoch in ([best, last] if best is not last else [last]))
        for key, spec in {'train_loss': '.3f', 'nll': '.3f', 'train_top1': '.2f', 'accuracy/top1': '.2f'}.items()
    }
    return (
        f'{start} Training loss {pairs["train_loss"]}, validation loss {pairs["nll"]} nats. Training top-1 '
        f'{pairs["train_top1"]} % (on augmented photos), validation top-1 {pairs["accuracy/top1"]} %.'
    )


def _image_size(config: dict) -> str:
    """Return the side of the images that the network gets, as the validation's pipeline says; empty if it does not."""
    sizes = []

    def collect(steps) -> None:
        for step in steps if isinstance(steps, list | tuple) else []:
            if isinstance(step, dict):
                sizes.extend(step[key] for key in ('size', 'crop_size', 'scale') if key in step)
                collect(step.get('transforms'))

    collect(((config.get('val_dataloader') or {}).get('dataset') or {}).get('pipeline'))
    size = sizes[-1] if sizes else ''
    return ' × '.join(map(str, size if isinstance(size, list | tuple) else [size])) + ' px' * bool(sizes)


def _training_time(folder: Path) -> float:
    """Return the seconds between the first and last line of each log of a run, summed over its starts."""
    seconds = 0.0
    for log in folder.glob(LOG_PATTERN):
        times = LOG_TIME.findall(read_text(log))
        if times:
            first, last = (datetime.strptime(time, TIME_FORMAT) for time in (times[0], times[-1]))
            seconds += (last - first).total_seconds()
    return seconds


def exports_of(folder: Path) -> list[dict]:
    """Return what export.json says of each file in the folder of exports, with the format's name; empty without one."""
    entries = read_json(folder / EXPORT_DIR / EXPORT_FILE) or {}
    return [{'format': name, **entry} for name, entry in entries.items() if isinstance(entry, dict)]


def data_card(config: dict) -> dict:
    """Return the prepared folder of a config as it is now; empty parts if there is no usable manifest.

    Returns:
        ``root``: the folder's path, as in the config.
        ``manifest_then``, ``manifest_now``: SHA-256 of its manifest when the run began, and now; None without one.
        ``sets``: titles of its sets; ``totals``: photos of each; ``rows``: by class, the photos in each set.
        ``files``: number of files of the raw folder, by what happened to them.
        ``skipped``: number of files left out, by reason.
        ``look_alikes``: (groups, photos in them) that look the same and were kept together.
        ``split``: seed and ratios, and how the photos were drawn, if they were drawn.
        ``lists``: annotation files of the run that are not the usual ones.
        ``overview``: the contact sheet, or None; ``near_duplicates``: that of the groups, or None.
        ``prepare``: the command that prepares the same folder; empty without a manifest, or if the training does so.
    """
    root = str(config.get('data_root') or '')
    manifest = (read_json(Path(root, MANIFEST_FILE)) if root else None) or {}
    try:
        return _card(config, root, manifest)
    except MALFORMED:
        return _card(config, root, {})


def _card(config: dict, root: str, manifest: dict) -> dict:
    counts = manifest.get('counts', {})
    sets = counts.get('sets', {})
    groups = [image.get('duplicate_group') for image in manifest.get('images', [])]
    groups = [group for group in groups if group is not None]
    split = {key: manifest[key] for key in (*SPLIT_FLAGS, 'split', 'leaks', 'drawn') if key in manifest}
    lists = {}
    for name in ('train', 'val'):
        ann_file = ((config.get(f'{name}_dataloader') or {}).get('dataset') or {}).get('ann_file')
        if ann_file and ann_file != ANN_FILES[name]:
            lists[SPLIT_TITLES[name]] = str(ann_file)
    return {
        'root': root,
        'manifest_then': config.get('data_manifest'),
        'manifest_now': sha256_of(Path(root, MANIFEST_FILE)) if manifest else None,
        'sets': [SET_TITLES.get(name, name) for name in sets],
        'totals': [sum(photos.values()) for photos in sets.values()],
        'rows': {name: [photos.get(name, 0) for photos in sets.values()] for name in manifest.get('classes', [])},
        'files': counts,
        'skipped': Counter(skip.get('reason', 'unknown') for skip in manifest.get('skipped', [])),
        'leaked': sum(manifest['leaked'].values()) if manifest.get('leaks') == 'allow' else 0,
        'look_alikes': (len(set(groups)), len(groups)),
        'split': split,
        'lists': lists,
        'overview': existing_picture(Path(root, OVERVIEW_FILE)) if manifest else None,
        'near_duplicates': existing_picture(Path(root, NEAR_DUPLICATES_FILE)) if groups else None,
        'prepare': '' if 'drawn' in split and config.get('drawn') else _prepare_command(root, split, manifest),
    }


def _prepare_command(root: str, split: dict, manifest: dict) -> str:
    """Return the command that prepares the same folder. Raw folder, old manifest and weights are not recorded."""
    if not split:
        return ''
    words = [root, '--demo'] if 'drawn' in split else ['RAW_DIR', root]
    words += ['--extend', 'OLD_MANIFEST'] if manifest.get('extends') else []
    for key, flag in SPLIT_FLAGS.items():
        if split.get(key) or key == 'seed':
            words += [flag, str(split.get(key, 0))]
    if split.get('split') == 'given':
        words += ['--split', 'keep', '--leaks', split['leaks']]
    if near := manifest.get('near_duplicates'):
        words += ['--near-duplicates', near['action']] if near['action'] != 'group' else []
        words += ['--near-duplicate-method', 'features', '--weights', 'FILE'] if near['method'] == 'features' else []
        words += ['--near-duplicate-distance', str(near['distance'])] if near['action'] != 'off' else []
    return tool_command('prepare', *words)


def environment_of(folder: Path, config: dict) -> dict[str, str]:
    """Return time, versions and device of the newest start of a run; empty without a log."""
    log = max(folder.glob(LOG_PATTERN), default=None)  # their names are times
    if log is None:
        return {}
    facts = {}
    with contextlib.suppress(ValueError):  # a log with another name
        facts['started'] = f'{datetime.strptime(log.stem, "%Y%m%d_%H%M%S"):%Y-%m-%d %H:%M}'
    with log.open(encoding='utf-8', errors='replace') as file:
        versions = file.read(MAX_LETTERS).partition(VERSIONS_BEGIN)[2].partition(VERSIONS_END)[0]
    for name, value in VERSION_LINE.findall(versions):
        if name in VERSIONS or name.startswith('GPU '):
            facts[name.removeprefix('sys.')] = value.strip()
    model = config.get('model') or {}
    if 'precision' in model:
        facts['computed in'] = f'{model["precision"]}, channels {"last" if model.get("channels_last") else "first"}'
    return facts
