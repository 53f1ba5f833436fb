"""Text files of a prepared folder: the lists of classes and photos, and manifest.json, which says what was done.

The manifest holds nothing of the time or the machine, so the same command gives the same file. It is written line by
line, a photo a line, because the whole would be large in memory.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flowercls.core.files import atomic_write
from flowercls.core.layout import ANN_FILES, CLASSES_FILE, DATA_PREFIXES, FOLDS_DIR, fold_file
from flowercls.data.prepare.sets.leaks import count_leaks
from flowercls.data.prepare.split_plan import Plan, PlannedPhoto

MANIFEST_VERSION = 1


def write_lists(plan: Plan, staging: Path) -> None:
    """Write ``classes.txt``, the list of each set, and the lists of the folds."""
    labels = {name: label for label, name in enumerate(plan.classes)}
    _write_lines(staging / CLASSES_FILE, plan.classes)
    for split, name in DATA_PREFIXES.items():
        if name in plan.set_names:
            lines = (_line(planned, labels).removeprefix(f'{name}/') for planned in plan.photos_of(name))
            _write_lines(staging / ANN_FILES[split], lines)
    if plan.options.folds is None:
        return
    (staging / FOLDS_DIR).mkdir()
    folded = [planned for planned in plan.photos if planned.fold is not None]
    for fold in range(plan.options.folds):
        train = (_line(planned, labels) for planned in folded if planned.fold != fold)
        val = (_line(planned, labels) for planned in folded if planned.fold == fold)
        _write_lines(staging / fold_file(fold, 'train'), train)
        _write_lines(staging / fold_file(fold, 'val'), val)


def _line(planned: PlannedPhoto, labels: dict[str, int]) -> str:
    return f'{planned.file} {labels[planned.photo.class_name]}'


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with atomic_write(path) as file:
        file.writelines(f'{line}\n' for line in lines)


def write_manifest(path: Path, plan: Plan, hashes: dict[str, str], drawn: dict[str, Any] | None = None) -> None:
    """Write the manifest of a prepared folder, atomically.

    Args:
        path: The file.
        plan: What was done.
        hashes: SHA-256 of each file of the prepared folder.
        drawn: How the photos were drawn, None for photos that are not drawn.
    """
    head = {'version': MANIFEST_VERSION, 'classes': list(plan.classes), **asdict(plan.options)}
    if plan.leaks is None:
        head |= {'split': 'new', 'leaks': None}
    else:
        head |= {'split': 'given', 'leaks': plan.leaks, 'leaked': count_leaks(plan.leaked)}
    head |= {} if plan.extends is None else {'extends': plan.extends}
    near = plan.near_duplicates
    head['near_duplicates'] = {'action': near.action, 'method': near.method, 'distance': near.limit}
    head |= {'value_range': plan.value_range} if plan.value_range else {}
    head |= ({} if drawn is None else {'drawn': drawn}) | {'counts': {**plan.file_counts(), 'sets': plan.counts()}}
    skipped = (
        {'raw': writable(skip.path), 'reason': skip.reason, 'detail': writable(skip.detail)} for skip in plan.skipped
    )
    duplicates = (
        {'raw': writable(left_out.path), 'duplicate_of': writable(kept.path), 'sha256': kept.sha256}
        for left_out, kept in plan.duplicates
    )
    with atomic_write(path) as file:
        file.write('{\n  ' + ',\n  '.join(f'{_json(key)}: {_json(value)}' for key, value in head.items()))
        for key, rows in (('images', _images(plan, hashes)), ('skipped', skipped), ('duplicates', duplicates)):
            file.write(f',\n  {_json(key)}: [')
            file.writelines(_row_lines(rows))
        file.write('\n}\n')


def _images(plan: Plan, hashes: dict[str, str]) -> Iterator[dict[str, Any]]:
    has_groups = any(planned.photo.group for planned in plan.photos)
    for planned in plan.photos:
        yield {
            'file': planned.file,
            'raw': writable(planned.photo.path),
            'class': planned.photo.class_name,
            'set': planned.set_name,
            'size': list(planned.photo.size),
            'raw_sha256': planned.photo.sha256,
            'sha256': hashes[planned.file],
            'duplicate_group': planned.group,
            **({'group': writable(planned.photo.group or '') or None} if has_groups else {}),
            'converted': list(planned.converted),
        }


def _row_lines(rows: Iterable[dict]) -> Iterator[str]:
    number = -1
    for number, row in enumerate(rows):
        yield f'{"," if number else ""}\n    {_json(row)}'
    yield ']' if number < 0 else '\n  ]'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def writable(text: str) -> str:
    """Return ``text`` with bytes that are not UTF-8 (in old file names) escaped, as no UTF-8 file can hold them."""
    return text.encode('utf-8', 'backslashreplace').decode()
