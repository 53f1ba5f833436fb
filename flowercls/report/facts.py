"""The facts behind a run: its data, from the manifest of the prepared folder, and its environment, from the log."""

import contextlib
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flowercls.core.files import sha256_of
from flowercls.core.layout import ANN_FILES, LOG_PATTERN, MANIFEST_FILE, OVERVIEW_FILE, SET_TITLES, SPLIT_TITLES
from flowercls.core.terminal import tool_command
from flowercls.report.page import existing_picture, read_json

FILE_KEYS = ('scanned', 'copied', 'converted', 'skipped', 'duplicates')
SPLIT_FLAGS = {'seed': '--seed', 'val_ratio': '--val-ratio', 'test_ratio': '--test-ratio', 'folds': '--folds'}
# mmengine writes a block of these at the start of every log.
VERSIONS = ('sys.platform', 'Python', 'CUDA available', 'CUDA_HOME', 'NVCC', 'PyTorch', 'TorchVision', 'MMEngine')
VERSION_LINE = re.compile(r'^    (?P<name>[\w .,]+): (?P<value>.+)$')
VERSIONS_BEGIN, VERSIONS_END, MAX_VERSION_LINES = 'System environment:', 'Runtime environment:', 200


@dataclass(frozen=True)
class DataCard:
    """A prepared folder as it is now.

    Attributes:
        root: Its path, as in the config.
        manifest_then: SHA-256 of its manifest when the run began; None if it had no manifest.
        manifest_now: SHA-256 of its manifest now; None if there is none.
        sets: Titles of its sets.
        rows: By class, the photos in each set.
        totals: Photos of each set.
        files: Number of files of the raw folder, by what happened to them.
        skipped: Number of files left out, by reason.
        look_alikes: (groups, photos in them) that look the same and were kept together.
        split: Seed and ratios, and how the photos were drawn, if they were drawn.
        lists: Annotation files of the run that are not the usual ones.
        overview: The contact sheet.
    """

    root: str
    manifest_then: str | None
    manifest_now: str | None
    sets: list[str]
    rows: dict[str, list[int]]
    totals: list[int]
    files: dict[str, int]
    skipped: dict[str, int]
    look_alikes: tuple[int, int]
    split: dict
    lists: dict[str, str]
    overview: Path | None

    @property
    def num_photos(self) -> int:
        """Photos in all sets."""
        return sum(self.totals)

    @property
    def prepare_command(self) -> str:
        """The command that prepares the same folder; empty without a manifest. The raw folder is not recorded."""
        if not self.split:
            return ''
        words = [self.root, '--demo'] if 'drawn' in self.split else ['RAW_DIR', self.root]
        for key, flag in SPLIT_FLAGS.items():
            if self.split.get(key) or key == 'seed':
                words += [flag, str(self.split.get(key, 0))]
        return tool_command('prepare', *words)


def data_card(config: dict) -> DataCard:
    """Return the card of a config's prepared folder; empty parts if there is no usable manifest."""
    root = str(config.get('data_root') or '')
    manifest = (read_json(Path(root, MANIFEST_FILE)) if root else None) or {}
    try:
        return _card(config, root, manifest)
    except (TypeError, ValueError, AttributeError):  # not a manifest of ours
        return _card(config, root, {})


def _card(config: dict, root: str, manifest: dict) -> DataCard:
    counts = manifest.get('counts', {})
    sets = counts.get('sets', {})
    groups = [image.get('duplicate_group') for image in manifest.get('images', [])]
    groups = [group for group in groups if group is not None]
    lists = {}
    for split in ('train', 'val'):
        ann_file = ((config.get(f'{split}_dataloader') or {}).get('dataset') or {}).get('ann_file')
        if ann_file and ann_file != ANN_FILES[split]:
            lists[SPLIT_TITLES[split]] = str(ann_file)
    return DataCard(
        root=root,
        manifest_then=config.get('data_manifest'),
        manifest_now=sha256_of(Path(root, MANIFEST_FILE)) if manifest else None,
        sets=[SET_TITLES.get(name, name) for name in sets],
        rows={name: [photos.get(name, 0) for photos in sets.values()] for name in manifest.get('classes', [])},
        totals=[sum(photos.values()) for photos in sets.values()],
        files={key: counts[key] for key in FILE_KEYS if key in counts},
        skipped=dict(Counter(skip.get('reason', 'unknown') for skip in manifest.get('skipped', []))),
        look_alikes=(len(set(groups)), len(groups)),
        split={key: manifest[key] for key in (*SPLIT_FLAGS, 'drawn') if key in manifest},
        lists=lists,
        overview=existing_picture(Path(root, OVERVIEW_FILE)) if manifest else None,
    )


def environment_of(folder: Path, config: dict) -> dict[str, str]:
    """Return time, versions and device of the newest start of a run; empty without a log."""
    log = max(folder.glob(LOG_PATTERN), default=None)  # their names are times
    if log is None:
        return {}
    facts = {}
    with contextlib.suppress(ValueError):  # a log with another name
        facts['started'] = f'{datetime.strptime(log.stem, "%Y%m%d_%H%M%S"):%Y-%m-%d %H:%M}'
    inside = False
    with log.open(encoding='utf-8', errors='replace') as file:
        for _, line in zip(range(MAX_VERSION_LINES), file, strict=False):
            inside = inside or VERSIONS_BEGIN in line
            if VERSIONS_END in line:
                break
            match = VERSION_LINE.match(line)
            if inside and match and (match['name'] in VERSIONS or match['name'].startswith('GPU ')):
                facts[match['name'].removeprefix('sys.')] = match['value'].strip()
    model = config.get('model') or {}
    if 'precision' in model:
        facts['computed in'] = f'{model["precision"]}, channels {"last" if model.get("channels_last") else "first"}'
    return facts
