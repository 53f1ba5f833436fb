"""A prepared folder as configs and datasets see it: its class names, its sets and their lists of photos."""

import hashlib
import json
import math
import os
import re
import unicodedata
from pathlib import Path, PurePosixPath

from flowercls.core.errors import DataError
from flowercls.core.files import sha256_of
from flowercls.core.layout import ANN_FILES, CLASSES_FILE, FOLDS_DIR, MANIFEST_FILE
from flowercls.core.terminal import tool_command

DEEP_KINDS = ('16-bit', '32-bit', 'float')  # of pixels, see flowercls.data.photo_kinds.deep_pixels
VAL_RATIO = 0.2  # share of each class for validation, if nothing is said
REQUIRED_FILES = (CLASSES_FILE, ANN_FILES['train'], ANN_FILES['val'])
PHOTO_SUFFIXES = {
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.apng', '.gif', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.avif'),
    *('.jp2', '.j2k', '.ppm', '.pgm', '.pbm', '.pnm', '.mpo', '.heic', '.heif', '.hif'),
}
# Names that systems leave in folders of photos, beside those with a leading dot (.DS_Store, ._photo.jpg).
SYSTEM_NAMES = {
    *('__macosx', '@eadir', '#recycle', '$recycle.bin', 'system volume information'),
    *('thumbs.db', 'ehthumbs.db', 'desktop.ini'),
}


def class_names(data_root: str | os.PathLike) -> list[str]:
    """Return the class names in the order of ``classes.txt``, which is the order of the labels.

    Raises:
        DataError: if ``data_root`` is not a prepared folder, or its ``classes.txt`` is empty or names a class twice.
    """
    folder = Path(data_root)
    file = folder / CLASSES_FILE
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(_not_prepared(folder, missing))
    try:
        text = file.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{file}: cannot be read ({error}). {prepare_command(folder)}') from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        problem = f'names {", ".join(repeated)} more than once' if repeated else 'is empty'
        raise DataError(f'{file}: {problem}. Expected: one class a line. {prepare_command(folder)}')
    return names


def read_lines(path: str | os.PathLike, data_root: str | os.PathLike) -> list[str]:
    """Return the lines of a text file in the prepared folder ``data_root``.

    Raises:
        DataError: if the file cannot be read, with the command that prepares the folder again.
    """
    fix = prepare_command(data_root)
    try:
        return Path(path).read_text(encoding='utf-8-sig').splitlines()
    except FileNotFoundError as error:
        folds = ' --folds 5' if Path(path).parent.name == FOLDS_DIR else ''
        lists = sorted(file.name for file in Path(path).parent.glob('*.txt'))
        beside = f' (beside it: {", ".join(lists)})' if lists else ''
        raise DataError(f'{path}: no such file{beside}. {fix}{folds}') from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: cannot be read ({error}). {fix}') from error


def read_annotations(path: str | os.PathLike, data_root: str | os.PathLike, names: list[str]) -> list[tuple[str, int]]:
    """Return the photos of a list as ``(<class>/<file>, label)``, in its order.

    Args:
        path: The list, with lines ``<class>/<file> <label>``.
        data_root: The prepared folder that the list belongs to.
        names: Class names in the order of the labels.

    Raises:
        DataError: if the list or a line cannot be read, a label is out of range or names another class than the
            photo's folder, or a path leads out of the folder.
    """
    lines = enumerate(read_lines(path, data_root), start=1)
    return [_parse_line(line, names, where=f'{path}, line {number}') for number, line in lines if line.strip()]


def _parse_line(line: str, class_names: list[str], where: str) -> tuple[str, int]:
    name, _, label_text = line.rpartition(' ')
    if not name or not re.fullmatch(r'-?\d+', label_text):
        raise DataError(f'{where}: {line!r} is not "<class>/<file> <label>". Fix: correct the line or prepare again.')
    label, path = int(label_text), PurePosixPath(name)
    if not 0 <= label < len(class_names):
        raise DataError(
            f'{where}: label {label} is outside 0..{len(class_names) - 1} ({len(class_names)} classes in '
            f'{CLASSES_FILE}). Fix: correct the label or prepare again.'
        )
    if path.is_absolute() or '..' in path.parts:
        raise DataError(f'{where}: {name} leads out of the data folder. Fix: name files inside it.')
    if path.parent.name != class_names[label]:
        raise DataError(
            f'{where}: {name} has label {label}, which is {class_names[label]} in {CLASSES_FILE}, not '
            f'{path.parent.name}. Fix: correct the label, or prepare again so that {CLASSES_FILE} and the annotations '
            'agree.'
        )
    return name, label


def is_system_file(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or left by a system; it is no photo of the user."""
    return name.startswith('.') or name.casefold() in SYSTEM_NAMES


def nfc(name: str) -> str:
    """Return the name of a class or folder as names are compared: macOS may store é as e + accent."""
    return unicodedata.normalize('NFC', name)


def has_test_set(data_root: str | os.PathLike) -> bool:
    """Return whether the prepared folder has a test set of its own."""
    return (Path(data_root) / ANN_FILES['test']).is_file()


def manifest_hash(data_root: str | os.PathLike) -> str | None:
    """Return the SHA-256 of a prepared folder's manifest in hex; None without a manifest."""
    manifest = Path(data_root, MANIFEST_FILE)
    return sha256_of(manifest) if manifest.is_file() else None


def value_range(data_root: str | os.PathLike) -> dict[str, list[float]]:
    """Return the least and greatest value of each kind of deep pixels in the photos of a prepared folder.

    Empty for ordinary photos, and for a folder without a manifest of ours.
    """
    try:
        head = json.loads(Path(data_root, MANIFEST_FILE).read_bytes())
        return checked_ranges(head.get('value_range', {}))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def checked_ranges(ranges: object) -> dict[str, list[float]]:
    """Return a ``value_range`` that was read from a file.

    Raises:
        ValueError: if it is none.
    """
    rows = list(ranges.items()) if isinstance(ranges, dict) else [('', ranges)]
    for kind, ends in rows:
        are_numbers = isinstance(ends, list | tuple) and all(type(end) in (int, float) for end in ends)
        if kind not in DEEP_KINDS or not are_numbers or len(ends) != 2 or not -math.inf < ends[0] <= ends[1] < math.inf:
            raise ValueError(f'value_range: {kind}: {ends}')
    return {kind: list(ends) for kind, ends in rows}


def photo_groups(data_root: str | os.PathLike, digest: str) -> dict[str, int]:
    """Return the number of the group of each photo of a prepared folder, by ``<set>/<class>/<file>``.

    Photos are in one group if they look alike (``duplicate_group`` of the manifest), or belong together by the user's
    word (``group``). Groups that share a photo are one. A photo on its own is a group of one.

    Args:
        data_root: The prepared folder.
        digest: SHA-256 of its manifest in hex.

    Raises:
        DataError: As `photo_rows`.
    """
    return connected_groups(photo_rows(data_root, 'duplicate_group', 'group', digest=digest))


def photo_rows(data_root: str | os.PathLike, *columns: str, digest: str | None = None) -> list[tuple]:
    """Return what the manifest of a prepared folder says of each photo: ``<set>/<class>/<file>``, then ``columns``.

    Args:
        data_root: The prepared folder.
        columns: Names; the value is None where a row lacks one.
        digest: SHA-256 of the manifest in hex; None takes any manifest.

    Raises:
        DataError: if the folder has no manifest, another one, or one that cannot be read.
    """
    manifest = Path(data_root, MANIFEST_FILE)
    try:
        content = manifest.read_bytes()
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f'{manifest}: has changed since.')
        rows = [(row['file'], *(row.get(name) for name in columns)) for row in json.loads(content)['images']]
        hash(tuple(rows))  # a list in place of a name is a TypeError
        return rows
    except FileNotFoundError as error:
        raise DataError(f'{manifest}: no such file.') from error
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise DataError(f'{manifest}: cannot be read ({type(error).__name__}).') from error


def connected_groups(rows: list[tuple]) -> dict[str, int]:
    """Return a number for each photo, equal for photos that share any label, also by way of others.

    Args:
        rows: Name and labels of each photo; a label is hashable and belongs to its column, and None is none.
    """
    parents: dict = {}  # of photos and labels; a group is a tree

    def root(node):
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = node = parents[parent]
        return node

    for file, *labels in rows:
        for label in [(column, label) for column, label in enumerate(labels) if label is not None]:
            parents[root(label)] = root(file)
    numbers: dict = {}
    return {file: numbers.setdefault(root(file), len(numbers)) for file, *_ in rows}


def prepare_command(data_root: str | os.PathLike, raw_dir: str | os.PathLike = 'RAW_DIR') -> str:
    """Return the fix for a folder that must be prepared."""
    overwrite = ['--overwrite'] if Path(data_root).is_dir() and any(Path(data_root).iterdir()) else []
    return f'Fix: {tool_command("prepare", raw_dir, data_root, *overwrite)}'


def _not_prepared(folder: Path, missing: list[str]) -> str:
    if all((folder.parent / name).is_file() for name in REQUIRED_FILES):
        return f'data_root {folder}: is a part of a prepared folder. Fix: data_root={folder.parent}'
    if not folder.is_dir():
        return f'data_root {folder}: no such folder. {prepare_command(folder)}'
    class_folders = [entry for entry in folder.iterdir() if entry.is_dir()]
    if len(missing) == len(REQUIRED_FILES) and any(
        photo.suffix.lower() in PHOTO_SUFFIXES for entry in class_folders for photo in entry.iterdir()
    ):
        prepared = folder.with_name(f'{folder.name}_prepared')
        return (
            f'data_root {folder}: is a raw folder (one folder of photos per class), not a prepared one. '
            f'Fix: to test a model on all its photos as they are: {tool_command("test", "MODEL", "--data", folder)}\n'
            f'To train on it: {prepare_command(prepared, folder).removeprefix("Fix: ")}\nThen set data_root={prepared}'
        )
    return f'data_root {folder}: is not a prepared folder: {", ".join(missing)} missing. {prepare_command(folder)}'
