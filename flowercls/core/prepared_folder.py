"""What a config takes from its prepared folder: the class names, and which sets there are."""

import os
from pathlib import Path

from flowercls.core.errors import DataError

ANN_FILES = {'train': 'train.txt', 'val': 'val.txt', 'test': 'test.txt'}
DATA_PREFIXES = {'train': 'training_set', 'val': 'val_set', 'test': 'test_set'}
NEEDED = ('classes.txt', 'train.txt', 'val.txt')
PHOTO_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp', '.gif', '.tif', '.tiff', '.avif'}


def class_names(data_root: str | os.PathLike) -> list[str]:
    """Class names in the order of `classes.txt`, which is the order of the labels.

    Raises:
        DataError: if ``data_root`` is not a prepared folder, or its `classes.txt` is empty or names a class twice.
    """
    folder = Path(data_root)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise DataError(_not_prepared(folder, missing))
    try:
        text = (folder / 'classes.txt').read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{folder / "classes.txt"}: cannot be read ({error}). {_fix("RAW_DIR", folder)}') from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        what = f'names {", ".join(twice)} more than once' if twice else 'is empty'
        raise DataError(f'{folder / "classes.txt"}: {what}. Expected: one class a line. {_fix("RAW_DIR", folder)}')
    return names


def has_test_set(data_root: str | os.PathLike) -> bool:
    """Whether the prepared folder has a test set of its own."""
    return (Path(data_root) / ANN_FILES['test']).is_file()


def _not_prepared(folder: Path, missing: list[str]) -> str:
    if _is_prepared(folder.parent):
        return f'data_root {folder}: is a part of a prepared folder. Fix: data_root={folder.parent}'
    if not folder.is_dir():
        return f'data_root {folder}: no such folder. {_fix("RAW_DIR", folder)}'
    if len(missing) == 3 and _looks_raw(folder):
        prepared = folder.with_name(f'{folder.name}_prepared')
        return (
            f'data_root {folder}: is a raw folder (one folder of photos per class), not a prepared one. '
            f'{_fix(str(folder), prepared)} and set data_root={prepared}'
        )
    return f'data_root {folder}: is not a prepared folder: {", ".join(missing)} missing. {_fix("RAW_DIR", folder)}'


def _is_prepared(folder: Path) -> bool:
    return all((folder / name).is_file() for name in NEEDED)


def _looks_raw(folder: Path) -> bool:
    inner = [entry for entry in folder.iterdir() if entry.is_dir()]
    return any(photo.suffix.lower() in PHOTO_SUFFIXES for entry in inner for photo in entry.iterdir())


def _fix(raw: str, prepared: Path) -> str:
    return f'Fix: python tools/prepare_data.py {raw} {prepared}'
