"""The facts behind a run: its data, from the manifest of the prepared folder, and its environment, from the log."""

import contextlib
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

from flowercls.core.files import sha256_of
from flowercls.core.layout import ANN_FILES, LOG_PATTERN, MANIFEST_FILE, OVERVIEW_FILE, SET_TITLES, SPLIT_TITLES
from flowercls.core.terminal import tool_command
from flowercls.report.page import MALFORMED, existing_picture, read_json

SPLIT_FLAGS = {'seed': '--seed', 'val_ratio': '--val-ratio', 'test_ratio': '--test-ratio', 'folds': '--folds'}
# mmengine writes a block of these at the start of every log.
VERSIONS = ('sys.platform', 'Python', 'CUDA available', 'CUDA_HOME', 'NVCC', 'PyTorch', 'TorchVision', 'MMEngine')
VERSION_LINE = re.compile(r'^    (?P<name>[\w .,]+): (?P<value>.+)$', re.MULTILINE)
VERSIONS_BEGIN, VERSIONS_END, MAX_LETTERS = 'System environment:', 'Runtime environment:', 20_000


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
        ``overview``: the contact sheet, or None.
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
    split = {key: manifest[key] for key in (*SPLIT_FLAGS, 'drawn') if key in manifest}
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
        'look_alikes': (len(set(groups)), len(groups)),
        'split': split,
        'lists': lists,
        'overview': existing_picture(Path(root, OVERVIEW_FILE)) if manifest else None,
        'prepare': '' if 'drawn' in split and config.get('drawn') else _prepare_command(root, split),
    }


def _prepare_command(root: str, split: dict) -> str:
    """Return the command that prepares the same folder. The raw folder is not recorded."""
    if not split:
        return ''
    words = [root, '--demo'] if 'drawn' in split else ['RAW_DIR', root]
    for key, flag in SPLIT_FLAGS.items():
        if split.get(key) or key == 'seed':
            words += [flag, str(split.get(key, 0))]
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
