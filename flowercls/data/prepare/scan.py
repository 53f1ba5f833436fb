"""Scan of a raw folder: every photo decoded once, hashed and measured; every other file with a reason.

Each folder directly inside the raw folder is a class. Of each photo only a short record is kept, no pixels.
"""

import hashlib
import os
import stat
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import imagehash
import numpy as np

from flowercls.core.errors import DataError
from flowercls.core.layout import DATA_PREFIXES, FOLDS_DIR, SPLIT_TITLES
from flowercls.core.prepared_folder import is_system_file
from flowercls.core.workers import map_in_processes, with_progress
from flowercls.data.decode import read_thumbnail
from flowercls.data.image_formats import UnreadablePhoto, read_content

THUMBNAIL_PX = 72, 64  # 8 times what the hashes look at; a larger thumbnail changes a few bits in a thousand
MIN_SIDE_PX = 8  # smaller pictures are icons and tracking pixels
SPLIT_FOLDERS = {*DATA_PREFIXES, *DATA_PREFIXES.values(), *SPLIT_TITLES.values(), 'valid', FOLDS_DIR}
EXPECTED_TREE = """Expected one folder for each class, at least 2:
  {raw_dir}/
    daisy/   its photos
    rose/    its photos"""


@dataclass(frozen=True, slots=True)
class RawPhoto:
    """A photo that decodes to its last row.

    Attributes:
        path: Relative to the raw folder, with ``/``.
        class_name: Name of its class folder, in Unicode form NFC.
        sha256: Of the file's bytes, in hex.
        num_bytes: Size of the file.
        size: Width and height in pixels, upright.
        format: The file's real format, see `flowercls.data.image_formats.FORMATS`.
        conversions: Changes needed to make it plain RGB, see `flowercls.data.decode.Photo`.
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
    """The content of a raw folder, sorted by path."""

    classes: tuple[str, ...]
    photos: tuple[RawPhoto, ...]
    skipped: tuple[Skipped, ...]

    def without(self, photos: Iterable[RawPhoto], reason: str, detail: str) -> 'Scan':
        """Return the scan with some photos skipped after all."""
        skipped = {photo.path: Skipped(photo.path, reason, detail) for photo in photos}
        kept = tuple(photo for photo in self.photos if photo.path not in skipped)
        return Scan(self.classes, kept, _sorted([*self.skipped, *skipped.values()]))


def scan_folder(raw_dir: str | os.PathLike, workers: int | None = None) -> Scan:
    """Find, decode and hash all photos of a raw folder.

    Args:
        raw_dir: Folder with one folder for each class.
        workers: Processes that decode; None takes one per CPU, 0 decodes in this process.

    Raises:
        DataError: if there are fewer than two classes, or classes whose names cannot be kept.
    """
    raw_dir = Path(raw_dir)
    if not raw_dir.is_dir():
        problem = 'is not a folder' if raw_dir.exists() else 'does not exist'
        raise DataError(f'{raw_dir}: the raw folder {problem}. {EXPECTED_TREE.format(raw_dir=raw_dir)}')
    try:
        entries = _list_folder(raw_dir, '')
    except OSError as error:
        raise DataError(
            f'{raw_dir}: the raw folder cannot be read ({error.strerror}). Fix: allow reading it.'
        ) from error
    folders = [path for path, kind in entries if kind == 'folder']
    loose = [(path, kind) for path, kind in entries if kind != 'folder']
    _check_number_of_classes(raw_dir, folders, has_files=bool(loose))
    _check_class_names(raw_dir, folders)
    skipped = [Skipped(path, 'not in a class folder' if kind == 'file' else kind) for path, kind in loose]
    paths = []
    for entry in chain.from_iterable(_walk(raw_dir, folder) for folder in folders):
        (skipped if isinstance(entry, Skipped) else paths).append(entry)
    records = map_in_processes(
        partial(read_record, raw_dir),
        paths,
        workers,
        on_crash=lambda path: Skipped(path, 'decoder crashed', 'it ended the process that read it'),
    )
    photos = []
    for record in with_progress(records, len(paths), 'Reading photos'):
        skipped.append(record) if isinstance(record, Skipped) else photos.append(record)
    return Scan(tuple(sorted(map(nfc, folders))), _sorted(photos), _sorted(skipped))


def _sorted(records: Iterable) -> tuple:
    return tuple(sorted(records, key=lambda record: path_order(record.path)))


def nfc(name: str) -> str:
    """Return the composed form of a name: macOS stores é as e + accent (NFD), Linux and Windows as it was typed."""
    return unicodedata.normalize('NFC', name)


def path_order(path: str) -> tuple[str, str]:
    """Return a sorting key: by code point, the same on every system and in every locale."""
    return nfc(path), path


def class_of(path: str) -> str:
    """Return the class of a photo, the first folder of its path."""
    return nfc(path.split('/', 1)[0])


def _list_folder(raw_dir: Path, folder: str) -> list[tuple[str, str]]:
    """Return the entries of a folder, sorted: path relative to the raw folder, and kind, see `_kind`."""
    with os.scandir(raw_dir / folder) as entries:
        entries = sorted(entries, key=lambda entry: path_order(entry.name))
    return [(f'{folder}/{entry.name}' if folder else entry.name, _kind(entry)) for entry in entries]


def _kind(entry: os.DirEntry) -> str:
    """Return ``'file'``, ``'folder'``, or the reason to skip the entry."""
    if is_system_file(entry.name):
        return 'system file'
    try:
        mode = Path(entry.path).stat().st_mode
    except OSError as error:  # also a link that leads to itself
        is_dangling = entry.is_symlink() and not isinstance(error, PermissionError)
        return 'dangling link' if is_dangling else 'unreadable file'
    if stat.S_ISDIR(mode):
        return 'link to a folder' if entry.is_symlink() else 'folder'
    return 'file' if stat.S_ISREG(mode) else 'not a regular file'


def _walk(raw_dir: Path, folder: str) -> Iterator[str | Skipped]:
    """Yield the path of every file below a class folder, relative to the raw folder, or why it is skipped."""
    pending = [folder]  # a list and no recursion: folders may be thousands of levels deep
    while pending:
        folder = pending.pop()
        try:
            entries = _list_folder(raw_dir, folder)
        except OSError as error:
            yield Skipped(folder, 'unreadable folder', error.strerror or str(error))
            continue
        for path, kind in entries:
            if kind == 'folder':
                pending.append(path)
            else:
                yield path if kind == 'file' else Skipped(path, kind)


def _check_number_of_classes(raw_dir: Path, folders: Sequence[str], has_files: bool) -> None:
    tree = EXPECTED_TREE.format(raw_dir=raw_dir)
    if len(folders) < 2:
        content, hint = 'no class folder', ''
        if folders:
            content = f'1 class folder, {folders[0]!r}'
            num_folders = len(list(Path(raw_dir, folders[0]).glob('[!.]*/')))
            if num_folders > 1:
                hint = f'\nDid you mean {raw_dir / folders[0]}? It holds {num_folders} folders.'
        elif has_files:
            hint = (
                f'\nFiles lie directly in it. Fix: if {raw_dir.name} is one of several classes, give {raw_dir.parent}.'
            )
        raise DataError(f'{raw_dir}: the raw folder holds {content}. {tree}{hint}')
    if {folder.casefold() for folder in folders} <= SPLIT_FOLDERS:
        raise DataError(
            f'{raw_dir}: is split already ({", ".join(folders)}), these are not classes. {tree}\n'
            'Fix: put the photos of each class into one folder again; prepare_data makes the split.'
        )


def _check_class_names(raw_dir: Path, folders: Sequence[str]) -> None:
    mistakes = [f'{name!r} {problem}' for name in folders if (problem := _name_problem(name))]
    same = defaultdict(list)
    for name in folders:
        same[nfc(nfc(name).casefold())].append(name)
    mistakes += [f'{names} are one name on macOS and Windows' for names in same.values() if len(names) > 1]
    if mistakes:
        raise DataError(f'{raw_dir}: {"; ".join(mistakes)}. Fix: rename these class folders.')


def _name_problem(name: str) -> str | None:
    categories = set(map(unicodedata.category, name))
    if name != name.strip():
        return 'begins or ends with a space'
    if name.startswith('\ufeff'):  # at the start of classes.txt it would be taken for the mark of some editors
        return 'begins with an invisible byte order mark'
    if categories & {'Cc', 'Zl', 'Zp'} or '\\' in name:
        return 'holds a line break, a control character or a backslash'
    if 'Cs' in categories:
        return 'is not UTF-8 (or your locale is not: try PYTHONUTF8=1)'
    return None


def read_record(raw_dir: Path, path: str) -> RawPhoto | Skipped:
    """Decode and hash one file of the raw folder, from one reading of its bytes."""
    try:
        content = read_content(raw_dir / path)
        thumbnail = read_thumbnail(content, THUMBNAIL_PX)
    except UnreadablePhoto as error:
        return Skipped(path, error.reason, error.detail)
    width, height = thumbnail.size
    if min(width, height) < MIN_SIDE_PX:
        return Skipped(path, 'too small', f'{width}x{height} pixels, at least {MIN_SIDE_PX} each way')
    hashes = imagehash.dhash(thumbnail.grey), imagehash.dhash_vertical(thumbnail.grey)
    return RawPhoto(
        path=path,
        class_name=sys.intern(class_of(path)),  # photos of one message share the text
        sha256=hashlib.sha256(content).hexdigest(),
        num_bytes=len(content),
        size=thumbnail.size,
        format=thumbnail.format,
        conversions=thumbnail.conversions,
        dhash=tuple(int.from_bytes(np.packbits(bits.hash).tobytes()) for bits in hashes),
    )
