"""What a run was trained and validated on, from the manifest of its prepared folder.

On what a run was computed, from its log.
"""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flowercls.core.files import sha256_of
from flowercls.report.page import existing_picture, newest_log, read_json

SETS = {'training_set': 'training', 'val_set': 'validation', 'test_set': 'test'}
FILE_KEYS = ('scanned', 'copied', 'converted', 'skipped', 'duplicates')


@dataclass(frozen=True)
class DataCard:
    """A prepared folder as it is now.

    Attributes:
        root: As the config names it.
        expected: SHA-256 that its manifest had when the run began; None where it had none.
        found: SHA-256 of the manifest now; None where there is none.
        sets: Titles of its sets.
        rows: By class, its photos in each set.
        totals: Of each set.
        files: What became of the files of the raw folder, by name.
        skipped: Files left out, by reason.
        look_alikes: (groups, photos in them) that look the same and were kept together.
        split: Seed and ratios, and how the photos were drawn, if they were.
        lists: The annotation files that the run read, where they are not the usual ones.
        overview: The contact sheet.
    """

    root: str
    expected: str | None
    found: str | None
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
        """In all sets."""
        return sum(self.totals)


def data_card(config: dict) -> DataCard:
    """Read the manifest that ``config`` was trained on; its parts are empty where it is not there any more."""
    root = str(config.get('data_root') or '')
    path = Path(root, 'manifest.json') if root else None
    content = (read_json(path) if path else None) or {}
    try:
        return _card(config, root, content)
    except (TypeError, ValueError, AttributeError):  # a manifest that is not what we write counts as none
        return _card(config, root, {})


def _card(config: dict, root: str, content: dict) -> DataCard:
    counts = content.get('counts', {})
    sets = counts.get('sets', {})
    classes = content.get('classes', [])
    return DataCard(
        root=root,
        expected=config.get('data_manifest'),
        found=sha256_of(Path(root, 'manifest.json')) if content else None,
        sets=[SETS.get(name, name) for name in sets],
        rows={name: [of_set.get(name, 0) for of_set in sets.values()] for name in classes},
        totals=[sum(of_set.values()) for of_set in sets.values()],
        files={key: counts[key] for key in FILE_KEYS if key in counts},
        skipped=dict(Counter(skip.get('reason', 'unknown') for skip in content.get('skipped', []))),
        look_alikes=_look_alikes(content.get('images', [])),
        split={key: content[key] for key in ('seed', 'val_ratio', 'test_ratio', 'folds', 'drawn') if key in content},
        lists=_special_lists(config),
        overview=existing_picture(Path(root, 'overview.png')) if content else None,
    )


def _look_alikes(images: list[dict]) -> tuple[int, int]:
    groups = [image.get('duplicate_group') for image in images]
    groups = [group for group in groups if group is not None]
    return len(set(groups)), len(groups)


def _special_lists(config: dict) -> dict[str, str]:
    """Of folds, say; ``train.txt`` and ``val.txt`` go without saying."""
    found = {}
    for name, usual in (('train', 'train.txt'), ('val', 'val.txt')):
        dataset = (config.get(f'{name}_dataloader') or {}).get('dataset') or {}
        if dataset.get('ann_file', usual) not in (usual, ''):
            found[SETS['training_set' if name == 'train' else 'val_set']] = str(dataset['ann_file'])
    return found


# mmengine writes a block of these at the start of every log.
SPOKEN_OF = ('sys.platform', 'Python', 'CUDA available', 'CUDA_HOME', 'NVCC', 'PyTorch', 'TorchVision', 'MMEngine')
LINE = re.compile(r'^    (?P<name>[\w .,]+): (?P<value>.+)$')
BLOCK_BEGINS, BLOCK_ENDS = 'System environment:', 'Runtime environment:'
LONGEST_BLOCK = 200  # lines


def environment_of(folder: Path, config: dict) -> dict[str, str]:
    """Versions and device of the newest start of a run; empty without a log."""
    log = newest_log(folder)
    if log is None:
        return {}
    found = {'started': started_at(log)} | _versions(log)
    model = config.get('model') or {}
    if 'precision' in model:
        found['computed in'] = f'{model["precision"]}, channels {"last" if model.get("channels_last") else "first"}'
    return {name: value for name, value in found.items() if value}


def started_at(log: Path) -> str:
    """From the name of a log."""
    try:
        return f'{datetime.strptime(log.stem, "%Y%m%d_%H%M%S"):%Y-%m-%d %H:%M}'
    except ValueError:
        return ''


def _versions(log: Path) -> dict[str, str]:
    found, inside = {}, False
    with log.open(encoding='utf-8', errors='replace') as file:
        for _, line in zip(range(LONGEST_BLOCK), file, strict=False):
            inside = inside or BLOCK_BEGINS in line
            if BLOCK_ENDS in line:
                break
            match = LINE.match(line)
            if inside and match and (match['name'] in SPOKEN_OF or match['name'].startswith('GPU ')):
                found[match['name'].removeprefix('sys.')] = match['value'].strip()
    return found
