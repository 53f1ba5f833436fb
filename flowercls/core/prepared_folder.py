"""A prepared folder as configs see it: its class names, and which sets it has."""

import os
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.files import sha256_of
from flowercls.core.layout import ANN_FILES, CLASSES_FILE, MANIFEST_FILE

REQUIRED_FILES = (CLASSES_FILE, ANN_FILES['train'], ANN_FILES['val'])
PHOTO_SUFFIXES = {
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.apng', '.gif', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.avif'),
    *('.jp2', '.j2k', '.ppm', '.pgm', '.pbm', '.pnm', '.mpo', '.heic'),
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


def has_test_set(data_root: str | os.PathLike) -> bool:
    """Return whether the prepared folder has a test set of its own."""
    return (Path(data_root) / ANN_FILES['test']).is_file()


def manifest_hash(data_root: str | os.PathLike) -> str | None:
    """Return the SHA-256 of a prepared folder's manifest in hex; None without a manifest."""
    manifest = Path(data_root, MANIFEST_FILE)
    return sha256_of(manifest) if manifest.is_file() else None


def prepare_command(data_root: str | os.PathLike, raw_dir: str | os.PathLike = 'RAW_DIR') -> str:
    """Return the fix for a folder that must be prepared."""
    return f'Fix: python tools/prepare_data.py {raw_dir} {data_root}'


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
            f'{prepare_command(prepared, folder)} and set data_root={prepared}'
        )
    return f'data_root {folder}: is not a prepared folder: {", ".join(missing)} missing. {prepare_command(folder)}'
