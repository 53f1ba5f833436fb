"""Copies of the planned photos.

A photo that every program reads the same way is copied byte for byte. Any other becomes plain RGB, so that the prepared
folder holds only upright, opaque, 8-bit photos with true extensions.
"""

import hashlib
import io
import itertools
import shutil
from functools import partial
from pathlib import Path

from PIL import Image

from flowercls.core.errors import DataError, DiskError
from flowercls.core.files import disk_errors
from flowercls.core.workers import map_in_processes, with_progress
from flowercls.data.decode import read_photo
from flowercls.data.image_formats import UnreadablePhoto, read_content
from flowercls.data.photo_kinds.deep_pixels import Ranges
from flowercls.data.prepare.raw.scan import RawPhoto
from flowercls.data.prepare.split_plan import Plan, PlannedPhoto, prepared_format


def check_space(plan: Plan, staging: Path) -> None:
    """Raise a `DiskError` if the disk has no room for the photos of a plan."""
    needed = 0
    for planned in plan.photos:
        width, height = planned.photo.size
        needed += 3 * width * height if planned.converted else planned.photo.num_bytes
    needed = int(1.05 * needed)
    free = shutil.disk_usage(staging).free
    if free < needed:
        raise DiskError(
            f'{staging.parent}: the photos need up to {needed >> 20:,} MiB, {free >> 20:,} MiB are free. Fix: free '
            'some space, or prepare to another disk.'
        )


def copy_photos(raw: Path, plan: Plan, staging: Path, workers: int | None) -> dict[str, str | None]:
    """Copy or convert all photos of a plan.

    Returns:
        The SHA-256 of each file written; None for a file whose conversion ended its process.

    Raises:
        DataError: if a raw file has changed since the scan.
        DiskError: if a file cannot be written.
    """
    for name in plan.set_names:
        for label in plan.classes:
            (staging / name / label).mkdir(parents=True)
    copy = partial(_copy, raw, staging, plan.value_range)
    converted = [planned for planned in plan.photos if planned.converted]
    copied = itertools.chain(
        # Plain copies are faster than starting processes; decoding and encoding is not.
        (copy(planned) for planned in plan.photos if not planned.converted),
        map_in_processes(copy, converted, workers, on_crash=lambda planned: (planned.file, None)),
    )
    return dict(with_progress(copied, len(plan.photos), 'Copying photos'))


def _copy(raw: Path, staging: Path, value_range: Ranges, planned: PlannedPhoto) -> tuple[str, str]:
    target = staging / planned.file
    content, digest = _unchanged_content(raw, planned.photo), planned.photo.sha256
    if planned.converted:
        buffer = io.BytesIO()
        # Quality 95 and full colour resolution: 43 dB on average to what another format decoded to, 39 at least.
        options = {'quality': 95, 'subsampling': 0} if (kind := prepared_format(planned.photo)) == 'JPEG' else {}
        Image.fromarray(read_photo(content, value_range=value_range).rgb).save(buffer, kind, **options)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
    with disk_errors(target):
        target.write_bytes(content)
    return planned.file, digest


def _unchanged_content(raw_dir: Path, photo: RawPhoto) -> bytes:
    try:
        content, cause = read_content(raw_dir / photo.path), None
    except UnreadablePhoto as error:
        content, cause = b'', error
    if hashlib.sha256(content).hexdigest() != photo.sha256:
        raise DataError(
            f'{raw_dir / photo.path}: changed between reading and copying. Nothing was kept. '
            'Fix: run again when no other program writes to the raw folder.'
        ) from cause
    return content
