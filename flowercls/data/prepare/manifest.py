"""manifest.json: what was done to a raw folder, for programs.

It holds nothing of the time or the machine, so the same command gives the same file. It is written line by line, a
photo a line, because the whole would be large in memory.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flowercls.core.files import atomic_write
from flowercls.data.prepare.split_plan import Plan

MANIFEST_VERSION = 1


def write_manifest(
    path: Path, plan: Plan, hashes: dict[str, str], options: dict[str, Any], drawn: dict[str, Any] | None = None
) -> None:
    """Write the manifest of a prepared folder, atomically.

    Args:
        path: The file.
        plan: What was done.
        hashes: SHA-256 of each file of the prepared folder.
        options: Seed, ratios and folds of the split.
        drawn: How the photos were drawn, None for photos that are not drawn.
    """
    converted = sum(bool(planned.converted) for planned in plan.photos)
    counts = {
        'scanned': plan.num_scanned,
        'copied': len(plan.photos) - converted,
        'converted': converted,
        'skipped': len(plan.skipped),
        'duplicates': len(plan.duplicates),
        'sets': plan.counts(),
    }
    head = {'version': MANIFEST_VERSION, 'classes': list(plan.classes), **options}
    head |= ({} if drawn is None else {'drawn': drawn}) | {'counts': counts}
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
