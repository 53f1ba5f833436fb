"""Scan of a raw folder: every photo decoded once, hashed and measured.

Of each photo only a short record is kept, with a picture of 32x32 pixels.
"""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from flowercls.core.workers import map_in_processes, with_progress
from flowercls.data.decode import read_thumbnail
from flowercls.data.image_formats import FIXES, UnreadablePhoto, read_content
from flowercls.data.photo_kinds.deep_pixels import FULL_RANGE, DeepValues, common_ranges, range_notes, range_text
from flowercls.data.prepare.alike.photo_look import LOOK_PX, photo_look
from flowercls.data.prepare.raw.raw_folder import RawFile, RawFolder, Skipped, by_path

THUMBNAIL_PX = 2 * LOOK_PX, 2 * LOOK_PX  # a larger thumbnail changes a look very little
MIN_SIDE_PX = 8  # smaller pictures are icons and tracking pixels
# Reason to leave a file out -> what its owner can do about it; reasons that ask for nothing are not here.
SKIP_FIXES = {
    **FIXES,
    'too small': 'put a larger copy in its place',
    'decoder crashed': 'open and save it in an image editor',
    'label conflict': 'delete the copies in the wrong class',
    'not in a class folder': 'move it into the folder of its class',
    'dangling link': 'correct where it leads',
    'unreadable folder': 'allow reading it (chmod +rx)',
}


@dataclass(frozen=True, slots=True)
class RawPhoto:
    """A photo that decodes to its last row.

    Attributes:
        path: Relative to the raw folder, with ``/``.
        class_name: As in `RawFile`.
        sha256: Of the file's bytes, in hex.
        num_bytes: Size of the file.
        size: Width and height in pixels, upright.
        format: The file's real format, see `flowercls.data.image_formats.FORMATS`.
        conversions: Changes needed to make it plain RGB, see `flowercls.data.decode.Photo`.
        look: A very small picture of it, see `flowercls.data.prepare.alike.photo_look`.
        set_name: As in `RawFile`.
        group: As in `RawFile`.
        is_lossy: See `flowercls.data.image_formats.OpenedPhoto`.
        deep: See `flowercls.data.decode.Thumbnail`.
    """

    path: str
    class_name: str
    sha256: str
    num_bytes: int
    size: tuple[int, int]
    format: str
    conversions: tuple[str, ...]
    look: bytes
    set_name: str | None = None
    group: str | None = None
    is_lossy: bool = False
    deep: DeepValues | None = None


@dataclass(frozen=True)
class Scan:
    """The photos of a raw folder, and every other file, sorted by path; ``notes`` and ``sets`` as in `RawFolder`.

    ``value_range`` holds the least and greatest value of each kind of deep pixels.
    """

    classes: tuple[str, ...]
    photos: tuple[RawPhoto, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()
    sets: frozenset[str] = frozenset()
    value_range: dict[str, Sequence[float]] = field(default_factory=dict)

    def without(self, photos: Iterable[RawPhoto], reason: str, detail: str) -> 'Scan':
        """Return the scan with some photos skipped after all."""
        skipped = {photo.path: Skipped(photo.path, reason, detail, photo.class_name) for photo in photos}
        kept = tuple(photo for photo in self.photos if photo.path not in skipped)
        return replace(self, photos=kept, skipped=by_path([*self.skipped, *skipped.values()]))


def scan_photos(
    raw_dir: str | os.PathLike,
    folder: RawFolder,
    workers: int | None = None,
    known_range: Mapping[str, Sequence[float]] | None = None,
) -> Scan:
    """Decode and hash the files that `find_files` found.

    Args:
        raw_dir: The raw folder.
        folder: Its content.
        workers: Processes that decode; None takes one per CPU, 0 decodes in this process.
        known_range: Of deep pixels, in a folder that is extended; what it names is kept.
    """

    def crashed(file: RawFile) -> Skipped:
        return Skipped(file.path, 'decoder crashed', 'it ended the process that read it', file.class_name)

    read = partial(read_record, Path(raw_dir))
    photos, skipped = [], list(folder.skipped)
    records = map_in_processes(read, folder.files, workers, on_crash=crashed)
    for record in with_progress(records, len(folder.files), 'Reading photos'):
        skipped.append(record) if isinstance(record, Skipped) else photos.append(record)
    deep = {photo.path: photo.deep for photo in by_path(photos) if photo.deep is not None}
    ranges = common_ranges(deep.values(), known_range or {})
    photos = [photo if photo.deep is None else _scaled(photo, ranges[photo.deep.kind]) for photo in photos]
    notes = (*folder.notes, *range_notes(deep, ranges))
    return Scan(folder.classes, by_path(photos), by_path(skipped), notes, folder.sets, ranges)


def _scaled(photo: RawPhoto, ends: Sequence[float]) -> RawPhoto:
    """Return a photo of deep pixels whose conversions name their range."""
    if tuple(ends) == FULL_RANGE:
        return photo
    scaled = f'{photo.deep.kind} scaled'
    texts = [f'{text} from {range_text(ends)}' if text == scaled else text for text in photo.conversions]
    return replace(photo, conversions=tuple(texts))


def read_record(raw_dir: Path, file: RawFile) -> RawPhoto | Skipped:
    """Decode and hash one file of the raw folder, from one reading of its bytes."""
    try:
        content = read_content(raw_dir / file.path)
        thumbnail = read_thumbnail(content, THUMBNAIL_PX)
    except UnreadablePhoto as error:
        return Skipped(file.path, error.reason, error.detail, file.class_name)
    width, height = thumbnail.size
    if min(width, height) < MIN_SIDE_PX:
        detail = f'{width}x{height} pixels, at least {MIN_SIDE_PX} each way'
        return Skipped(file.path, 'too small', detail, file.class_name)
    return RawPhoto(
        path=file.path,
        class_name=sys.intern(file.class_name),  # photos of one message share the text
        sha256=hashlib.sha256(content).hexdigest(),
        num_bytes=len(content),
        size=thumbnail.size,
        format=thumbnail.format,
        conversions=thumbnail.conversions,
        look=photo_look(thumbnail.grey),
        set_name=file.set_name,
        group=file.group,
        is_lossy=thumbnail.is_lossy,
        deep=thumbnail.deep,
    )
