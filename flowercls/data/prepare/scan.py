"""Raw folder -> what is in it: every photo decoded once, hashed and measured; every other file with a reason.

Each folder directly inside the raw folder is a class. Only a short record of each photo is kept, never its pixels.
"""

import hashlib
import os
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imagehash
import numpy as np

from flowercls.core.errors import DataError
from flowercls.core.workers import map_in_processes, with_progress
from flowercls.data.decode import glance
from flowercls.data.image_formats import UnreadablePhoto, read_content

HASHED_PX = 72, 64  # 8 times what the hashes look at; a larger picture gives the same bits, but for a few in a thousand
MIN_SIDE_PX = 8  # smaller pictures are icons and tracking pixels
# What systems leave in folders of photos; names with a leading dot (.DS_Store, ._photo.jpg) come on top.
SYSTEM_NAMES = {
    *('__macosx', '@eadir', '#recycle', '$recycle.bin', 'system volume information'),
    *('thumbs.db', 'ehthumbs.db', 'desktop.ini'),
}
SET_NAMES = {'train', 'training', 'training_set', 'val', 'valid', 'validation', 'val_set', 'test', 'test_set', 'folds'}
EXPECTED_TREE = """Expected one folder for each class, at least 2:
  {raw_dir}/
    daisy/   its photos
    rose/    its photos"""


@dataclass(frozen=True, slots=True)
class RawPhoto:
    """A photo that decodes to its last row; there may be very many.

    Attributes:
        path: Relative to the raw folder, with ``/``.
        class_name: Name of its class folder, in Unicode form NFC.
        sha256: Of the file's bytes, in hex.
        num_bytes: Size of the file.
        size: Width and height in pixels, upright.
        format: What the file really is, see `flowercls.data.image_formats.FORMATS`.
        conversions: What was needed to make it plain RGB, see `flowercls.data.decode.Photo`.
        dhash: Difference hashes, along rows and along columns, 64 bits each.
    """

    path: str
    class_name: str
    sha256: str
    num_bytes: int
    size: tuple[int, int]
    format: str
    conversions: tuple[str, ...]
    dhash: tuple[int, int]


@dataclass(frozen=True)
class Skipped:
    """A file or folder that does not become part of the prepared folder."""

    path: str
    reason: str
    detail: str = ''


@dataclass(frozen=True)
class Scan:
    """Everything found in a raw folder, sorted by path."""

    classes: tuple[str, ...]
    photos: tuple[RawPhoto, ...]
    skipped: tuple[Skipped, ...]

    def without(self, photos: Iterable[RawPhoto], reason: str, detail: str) -> 'Scan':
        """The same, with some photos skipped after all."""
        skipped = {photo.path: Skipped(photo.path, reason, detail) for photo in photos}
        kept = tuple(photo for photo in self.photos if photo.path not in skipped)
        return Scan(self.classes, kept, _sorted([*self.skipped, *skipped.values()]))


def scan_folder(raw_dir: str | os.PathLike, workers: int | None = None) -> Scan:
    """Find, decode and hash all photos of a raw folder.

    Args:
        raw_dir: Folder with one folder for each class.
        workers: Processes that decode; None takes one a CPU, 0 decodes in this process.

    Raises:
        DataError: if there are fewer than two classes, or classes whose names cannot be kept.
    """
    raw_dir = Path(raw_dir)
    if not raw_dir.is_dir():
        what = 'is not a folder' if raw_dir.exists() else 'does not exist'
        raise DataError(f'{raw_dir}: the raw folder {what}. {EXPECTED_TREE.format(raw_dir=raw_dir)}')
    folders, skipped = _list_classes(raw_dir)
    _check_classes(raw_dir, folders)
    tasks = []
    for folder in folders:
        for found in _walk(raw_dir, folder):
            tasks.append(found) if isinstance(found, str) else skipped.append(found)
    records = list(with_progress(_read_all(raw_dir, tasks, workers), len(tasks), 'Reading photos'))
    photos = [found for found in records if isinstance(found, RawPhoto)]
    skipped += [found for found in records if isinstance(found, Skipped)]
    return Scan(tuple(sorted(nfc(folder) for folder in folders)), _sorted(photos), _sorted(skipped))


def _sorted(records: Iterable) -> tuple:
    return tuple(sorted(records, key=lambda record: path_order(record.path)))


def nfc(name: str) -> str:
    """One form for a name: macOS stores é as e + accent (NFD), Linux and Windows keep what was typed."""
    return unicodedata.normalize('NFC', name)


def path_order(path: str) -> tuple[str, str]:
    """Sorting key: by code point, the same on every system and in every locale."""
    return nfc(path), path


def _entries(raw_dir: Path, inside: str) -> Iterator[os.DirEntry | Skipped]:
    try:
        with os.scandir(raw_dir / inside) as entries:
            yield from sorted(entries, key=lambda entry: path_order(entry.name))
    except OSError as error:
        yield Skipped(inside or '.', 'unreadable folder', error.strerror or str(error))


def _kind(entry: os.DirEntry) -> str:
    """``'file'``, ``'folder'``, or the reason to skip."""
    if entry.name.startswith('.') or entry.name.casefold() in SYSTEM_NAMES:
        return 'system file'
    if not Path(entry.path).exists():  # also a link that leads to itself
        return 'dangling link'
    if entry.is_dir():
        return 'link to a folder' if entry.is_symlink() else 'folder'
    return 'file' if entry.is_file() else 'not a regular file'


def _list_classes(raw_dir: Path) -> tuple[list[str], list[Skipped]]:
    folders, skipped = [], []
    for entry in _entries(raw_dir, ''):
        if isinstance(entry, Skipped):
            raise DataError(f'{raw_dir}: the raw folder cannot be read ({entry.detail}). Fix: allow reading it.')
        kind = _kind(entry)
        if kind == 'folder':
            folders.append(entry.name)
        else:
            skipped.append(Skipped(entry.name, 'not in a class folder' if kind == 'file' else kind))
    return folders, skipped


def _check_classes(raw_dir: Path, folders: Sequence[str]) -> None:
    tree = EXPECTED_TREE.format(raw_dir=raw_dir)
    if len(folders) < 2:
        found = f'1 class folder, {folders[0]!r}' if folders else 'no class folder'
        nested = [entry.name for entry in _entries(raw_dir, folders[0]) if _is_folder(entry)] if folders else []
        hint = f'\nDid you mean {raw_dir / folders[0]}? It holds {len(nested)} folders.' if len(nested) > 1 else ''
        if not folders and any(True for _ in _entries(raw_dir, '')):
            hint = f'\nFiles lie directly in it. Fix: if {raw_dir.name} is one class of several, give {raw_dir.parent}.'
        raise DataError(f'{raw_dir}: the raw folder holds {found}. {tree}{hint}')
    if {folder.casefold() for folder in folders} <= SET_NAMES:
        raise DataError(
            f'{raw_dir}: is split already ({", ".join(folders)}), these are not classes. {tree}\n'
            'Fix: put the photos of each class into one folder again; prepare_data makes the split.'
        )
    mistakes = [f'{name!r} {problem}' for name in folders if (problem := _name_problem(name))]
    same = defaultdict(list)
    for name in folders:
        same[nfc(nfc(name).casefold())].append(name)
    mistakes += [f'{names} are one name on macOS and Windows' for names in same.values() if len(names) > 1]
    if mistakes:
        raise DataError(f'{raw_dir}: class folders to be renamed: {"; ".join(mistakes)}.')


def _is_folder(entry: os.DirEntry | Skipped) -> bool:
    return not isinstance(entry, Skipped) and _kind(entry) == 'folder'


def _name_problem(name: str) -> str | None:
    if name != name.strip():
        return 'begins or ends with a space'
    if name.startswith('\ufeff'):  # first in classes.txt it would be taken for the mark that some editors put there
        return 'begins with a byte order mark, which cannot be seen'
    if any(unicodedata.category(character) in ('Cc', 'Zl', 'Zp') for character in name) or '\\' in name:
        return 'holds a line break, a control character or a backslash'
    if any(unicodedata.category(character) == 'Cs' for character in name):
        return 'is not UTF-8 (or your locale is not: try PYTHONUTF8=1)'
    return None


def _walk(raw_dir: Path, inside: str) -> Iterator[str | Skipped]:
    """All files below a class folder, as paths relative to the raw folder; what is left out as `Skipped`."""
    for entry in _entries(raw_dir, inside):
        if isinstance(entry, Skipped):
            yield entry
            continue
        path, kind = f'{inside}/{entry.name}', _kind(entry)
        if kind == 'folder':
            yield from _walk(raw_dir, path)
        else:
            yield path if kind == 'file' else Skipped(path, kind)


def _read_all(raw_dir: Path, paths: Sequence[str], workers: int | None) -> Iterator[RawPhoto | Skipped]:
    return map_in_processes(
        partial(read_record, raw_dir),
        paths,
        workers,
        on_crash=lambda path: Skipped(path, 'decoder crashed', 'it ended the process that read it'),
    )


def read_record(raw_dir: Path, path: str) -> RawPhoto | Skipped:
    """Decode and hash one file of the raw folder, from one reading of its bytes."""
    try:
        content = read_content(raw_dir / path)
        photo = glance(content, HASHED_PX)
    except UnreadablePhoto as error:
        return Skipped(path, error.reason, error.detail)
    width, height = photo.size
    if min(width, height) < MIN_SIDE_PX:
        return Skipped(path, 'too small', f'{width}x{height} pixels, at least {MIN_SIDE_PX} each way')
    return RawPhoto(
        path=path,
        class_name=sys.intern(nfc(path.split('/', 1)[0])),  # one text for all that are sent together
        sha256=hashlib.sha256(content).hexdigest(),
        num_bytes=len(content),
        size=photo.size,
        format=photo.format,
        conversions=photo.conversions,
        dhash=(_as_number(imagehash.dhash(photo.grey)), _as_number(imagehash.dhash_vertical(photo.grey))),
    )


def _as_number(found: imagehash.ImageHash) -> int:
    return int.from_bytes(np.packbits(found.hash).tobytes())
