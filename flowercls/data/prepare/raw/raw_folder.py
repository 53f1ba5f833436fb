"""Files of a raw folder that should become photos, each with its class; every other entry with the reason to skip it.

Start reading at `find_files`. Each folder directly inside the raw folder is a class. No file is opened here.
"""

import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.layout import DATA_PREFIXES, FOLDS_DIR, SPLIT_TITLES
from flowercls.core.prepared_folder import is_system_file

SPLIT_FOLDERS = {*DATA_PREFIXES, *DATA_PREFIXES.values(), *SPLIT_TITLES.values(), 'valid', FOLDS_DIR}
EXPECTED_TREE = """Expected one folder for each class, at least 2:
  {raw_dir}/
    daisy/   its photos
    rose/    its photos"""


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file that should become a photo.

    Attributes:
        path: Relative to the raw folder, with ``/``.
        class_name: Its class, in Unicode form NFC.
        set_name: ``training_set``, ``val_set`` or ``test_set`` where the raw folder is split already, else None.
        group: The user's name of its group (a plant, a patient, a camera), None where it has none.
    """

    path: str
    class_name: str
    set_name: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A file or folder that does not become part of the prepared folder; ``class_name`` is empty outside a class."""

    path: str
    reason: str
    detail: str = ''
    class_name: str = ''


@dataclass(frozen=True)
class RawFolder:
    """The content of a raw folder, before a file is opened.

    Attributes:
        classes: Names of the classes, sorted.
        files: Files that should become photos.
        skipped: Every other entry.
        notes: Lines for the summary on everything that was recognised or guessed.
    """

    classes: tuple[str, ...]
    files: tuple[RawFile, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()


def find_files(raw_dir: str | os.PathLike) -> RawFolder:
    """Find all files of a raw folder.

    Args:
        raw_dir: Folder with one folder for each class.

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
    files = []
    for entry in chain.from_iterable(_walk(raw_dir, folder) for folder in folders):
        (skipped if isinstance(entry, Skipped) else files).append(entry)
    return RawFolder(tuple(sorted(map(nfc, folders))), tuple(files), tuple(skipped))


def nfc(name: str) -> str:
    """Return the composed form of a name: macOS stores é as e + accent (NFD), Linux and Windows as it was typed."""
    return unicodedata.normalize('NFC', name)


def path_order(path: str) -> tuple[str, str]:
    """Return a sorting key: by code point, the same on every system and in every locale."""
    return nfc(path), path


def by_path(records: Iterable) -> tuple:
    """Return records that have a ``path``, in the order of `path_order`."""
    return tuple(sorted(records, key=lambda record: path_order(record.path)))


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


def _walk(raw_dir: Path, folder: str) -> Iterator[RawFile | Skipped]:
    """Yield every file below a class folder, or why it is skipped."""
    class_name = nfc(folder)
    pending = [folder]  # a list and no recursion: folders may be thousands of levels deep
    while pending:
        folder = pending.pop()
        try:
            entries = _list_folder(raw_dir, folder)
        except OSError as error:
            yield Skipped(folder, 'unreadable folder', error.strerror or str(error), class_name)
            continue
        for path, kind in entries:
            if kind == 'folder':
                pending.append(path)
            else:
                yield RawFile(path, class_name) if kind == 'file' else Skipped(path, kind, class_name=class_name)


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
