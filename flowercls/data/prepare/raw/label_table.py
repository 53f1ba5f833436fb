"""Table of photos → class, set and group of each file of a raw folder.

Start reading at `label_files`. `read_photo_table` does the same for any list of files.
"""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from flowercls.core.errors import ConfigError, DataError
from flowercls.core.layout import SET_TITLES, TRAIN_DIR
from flowercls.core.terminal import listed
from flowercls.data.prepare.raw.given_split import set_of
from flowercls.data.prepare.raw.listing import Listing, nfc, path_order
from flowercls.data.prepare.raw.photo_names import PhotoNames
from flowercls.data.prepare.raw.raw_folder import RawFile, RawFolder, Skipped
from flowercls.data.prepare.raw.table_columns import NONE, ColumnChoice, Columns, find_columns, set_of_cell, zero_one
from flowercls.data.prepare.raw.table_file import Table, read_table

NO_ROW = 'no row in the table'
# As spreadsheets and pandas write a cell without a value. "None" is not here: it may well be a class.
_EMPTY = {'', 'nan', '-nan', 'na', 'n/a', '#n/a', '#na', '<na>', 'null', '#ref!', '#value!', '#name?', '#div/0!'}
_BAD_LETTERS = ('Cc', 'Zl', 'Zp', 'Cs')
MAX_CLASS_BYTES = 255  # a class is a folder
MAX_SHARE_OF_CLASSES, FEW_PHOTOS = 0.9, 20  # more classes for each photo: a column of measurements, or of names


class PhotoRow(NamedTuple):
    """What a table says of a photo; empty text where it says nothing."""

    label: str = ''
    set_name: str = ''
    group: str = ''


@dataclass
class PhotoTable:
    """What a table says of the files of a folder.

    Attributes:
        rows: Path → what the table says.
        problems: Path of a file that cannot be used → reason, detail.
        notes: Lines for the summary.
        columns: How the table was read.
    """

    columns: Columns
    rows: dict[str, PhotoRow] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def label_files(
    raw_dir: str | os.PathLike, labels: str | os.PathLike, choice: ColumnChoice, split: str = 'auto'
) -> RawFolder:
    """Find the photos at any depth of a raw folder, and their classes in a table.

    Args:
        raw_dir: The folder.
        labels: The table; a path as on the command line.
        choice: Columns, where the user names them.
        split: ``'auto'`` or ``'keep'`` keep sets that the table or folders tell; ``'new'`` and ``'ignore'`` do not.

    Raises:
        DataError: if folder or table cannot be read, no row is about a photo, or there are fewer than two classes.
        ConfigError: if the columns cannot be told.
    """
    raw_dir, labels = Path(raw_dir), Path(labels)
    if not raw_dir.is_dir():
        problem = 'is not a folder' if raw_dir.exists() else 'does not exist'
        raise DataError(f'{raw_dir}: the raw folder {problem}. Expected: the folder of the photos in {labels}.')
    if not labels.exists() and (raw_dir / labels).is_file():
        raise DataError(f'{labels}: no such file here. Fix: --labels {raw_dir / labels}')
    files, skipped = [], []
    listing = Listing(raw_dir)
    for folder, same in listing.walk(''):
        if same is not None:
            skipped.append(Skipped(folder, 'folder read already', f'the same as {same or "the raw folder"}'))
            continue
        try:
            entries = listing.entries(folder)
        except OSError as error:
            skipped.append(Skipped(folder or '.', 'unreadable folder', error.strerror or str(error)))
            continue
        files += [path for path, kind in entries if kind == 'file']
        skipped += [Skipped(path, kind) for path, kind in entries if kind not in ('file', 'folder')]
    if split not in ('auto', 'keep') and choice.set is None:
        choice = replace(choice, set=NONE)
    found = read_photo_table(labels, files, raw_dir, choice)
    photos = []
    for path in sorted(files, key=path_order):
        if path in found.rows:
            label, set_name, group = found.rows[path]
            photos.append(RawFile(path, label, set_name or None, group or None))
        elif (raw_dir / path).resolve() == labels.resolve():
            skipped.append(Skipped(path, 'the table of labels'))
        else:
            skipped.append(Skipped(path, *found.problems.get(path, (NO_ROW, ''))))
    if choice.set is None and found.columns.set is None:
        photos = _with_sets_of_folders(photos, found.notes)
    if split == 'keep' and not any(photo.set_name for photo in photos):
        raise ConfigError(
            f'--split keep: neither {labels} nor the folders of {raw_dir} say the set of each photo. Fix: name its '
            'column with --set-column, or leave --split out.'
        )
    if any(photo.set_name for photo in photos):
        counts = Counter(photo.set_name for photo in photos)
        sets = ', '.join(f'{title} {counts[name]:,}' for name, title in SET_TITLES.items() if counts[name])
        found.notes.append(f'split kept as it is: {sets}')
    classes = sorted({photo.class_name for photo in photos})
    if len(classes) < 2:
        only = f'all {len(photos):,} photos are {classes[0]!r}' if classes else 'no photo has a class'
        raise DataError(
            f'{labels}: {only} ({found.columns.described()}). Expected: at least 2 classes. Fix: correct the table, or '
            'name another column with --label-column.\n' + '\n'.join(found.notes)
        )
    sets = frozenset(photo.set_name for photo in photos if photo.set_name)
    return RawFolder(tuple(classes), tuple(photos), tuple(skipped), tuple(found.notes), sets)


def _with_sets_of_folders(photos: list[RawFile], notes: list[str]) -> list[RawFile]:
    """Return the photos with the sets that their folders are called after, if all are in one, and some in training."""
    set_of_folder = {photo.path.rpartition('/')[0]: None for photo in photos}
    for folder in set_of_folder:
        set_of_folder[folder] = next(filter(None, map(set_of, folder.split('/'))), None)
    sets = set(set_of_folder.values())
    if len(sets) < 2 or TRAIN_DIR not in sets:
        return photos
    if None in sets:
        named = [folder for folder, set_name in set_of_folder.items() if set_name]
        notes.append(f'split anew: {listed(named)} are called as sets, but hold only some of the photos')
        return photos
    return [replace(photo, set_name=set_of_folder[photo.path.rpartition('/')[0]]) for photo in photos]


def read_photo_table(
    path: str | os.PathLike,
    files: Sequence[str],
    folder: str | os.PathLike,
    choice: ColumnChoice | None = None,
    labels: bool = True,
) -> PhotoTable:
    """Read what a table says of the files of a folder.

    Args:
        path: The table, see `flowercls.data.prepare.raw.table_file.read_table`.
        files: Paths relative to the folder, with ``/``.
        folder: The folder.
        choice: Columns, where the user names them; others are guessed.
        labels: Whether the table has labels; else it has groups.

    Raises:
        DataError: if the table cannot be read, a row leads out of the folder, or no row is about a file.
        ConfigError: if the columns cannot be told.
    """
    table = read_table(path)
    photos = PhotoNames(files, Path(folder))
    columns = find_columns(table, photos, choice or ColumnChoice(), set_of, labels)
    found = PhotoTable(columns, notes=[*table.notes, f'{table.path.name}: {columns.described()}'])
    if columns.unused:
        names = listed(map(columns.shown, columns.unused))
        found.notes.append(f'{table.path.name}: {names} may say the sets, but its cells are not train, val or test')
    _assign(table, photos, found, Path(folder))
    if labels:
        _check_labels(table, found)
        if len(columns.labels) == 1:
            found.notes += _taken_for_no_label(table, columns)
    return found


def _assign(table: Table, photos: PhotoNames, found: PhotoTable, folder: Path) -> None:
    """Fill ``found`` with the rows of the table, those of one photo joined."""
    columns = found.columns
    places_of: dict[str, list[int]] = defaultdict(list)
    nowhere, ambiguous = [], {}
    names = [row[columns.image] for row in table.rows]
    for place, name in enumerate(names):
        if place >= columns.first_row and photos.leads_out(name):
            raise DataError(
                f'{table.path}, row {table.numbers[place]}: {name!r} leads out of {folder}. Expected: a path relative '
                'to that folder. Fix: correct the table, or give the folder that holds all photos.'
            )
    needless = _needless_folder(names[columns.first_row :], photos, folder)
    if needless:
        found.notes.append(f'{table.path.name}: {needless} before each name is not in the folder, and not counted')
    for place, name in enumerate(names[columns.first_row :], start=columns.first_row):
        paths = photos.find(name[len(needless) :]) if name else []
        if len(paths) > 1:
            ambiguous[name] = paths
        elif paths:
            places_of[paths[0]].append(place)
        else:
            nowhere.append(name or f'(empty, row {table.numbers[place]})')
    if not places_of:
        raise DataError(_no_match(table, columns, photos, folder, nowhere, ambiguous))
    for name, paths in ambiguous.items():
        for path in paths:
            found.problems[path] = 'several photos of one name', f'{name!r} in the table may be {" or ".join(paths)}'
    told = {'labels': _labels(table, columns), 'sets': _sets(table, columns), 'groups': _cells(table, columns.group)}
    for path, places in places_of.items():
        found.problems.pop(path, None)
        values = {what: list(dict.fromkeys(filter(None, (of[place] for place in places)))) for what, of in told.items()}
        for what, different in values.items():
            if len(different) > 1:
                rows = ' and '.join(str(table.numbers[place]) for place in places[:5])
                detail = f'{", ".join(map(repr, different[:5]))} in rows {rows}'
                found.problems[path] = f'several {what} for one photo', detail
        if path not in found.problems:
            found.rows[path] = PhotoRow(*(''.join(value) for value in values.values()))
    repeated = [path for path, places in places_of.items() if len(places) > 1 and path in found.rows]
    for problem, names in (
        ('rows that name no photo of the folder', nowhere),
        ('names that mean several photos, which are left out', list(ambiguous)),
        ('photos with several rows that say the same', repeated),
    ):
        if names:
            found.notes.append(f'{table.path.name}: {problem} ({len(names):,}): {listed(names)}')


def _needless_folder(names: Iterable[str], photos: PhotoNames, folder: Path) -> str:
    """Return the folder that all names begin with, if photos are found only without it; else nothing."""
    names = [name.replace('\\', '/') for name in names if name]
    if any(map(photos.find, names)):
        return ''
    shared = os.path.commonprefix(names)
    needless = shared[: shared.rfind('/') + 1]
    sets, own_sets = (set(map(set_of, parts)) - {None} for parts in (needless.split('/'), folder.resolve().parts[-2:]))
    if sets - own_sets:  # train/1.jpg is not the photo test/1.jpg
        return ''
    rests = [name[len(needless) :] for name in names]
    is_found = any(path.count('/') == rest.count('/') for rest in rests for path in photos.find(rest))
    return needless if is_found else ''


def _no_match(
    table: Table,
    columns: Columns,
    photos: PhotoNames,
    folder: Path,
    nowhere: Sequence[str],
    ambiguous: dict[str, list[str]],
) -> str:
    if not photos.paths:
        return f'{folder}: holds no files. Expected: the photos in {table.path}.'
    if ambiguous:
        name, paths = next(iter(ambiguous.items()))
        problem = f'every row means several photos: {name!r} may be {" or ".join(paths[:3])}'
        return f'{table.path}: {problem}. Fix: write the path of each photo, relative to {folder}.'
    shown = [', '.join(map(repr, names)) for names in (nowhere[:3], sorted(photos.paths)[:3])]
    return (
        f'{table.path}: no row names a file in {folder} (images from {columns.shown(columns.image)}).\n'
        f'  the table has {shown[0] or "no row"}\n  the folder has {shown[1]}\n'
        'Fix: name the column with --image-column, or give the folder in which these names lie.'
    )


def _cells(table: Table, column: int | None) -> list[str]:
    """Return a cell of each row, empty where it has no value."""
    if column is None:
        return [''] * len(table.rows)
    return ['' if row[column].casefold() in _EMPTY else row[column] for row in table.rows]


def _sets(table: Table, columns: Columns) -> list[str]:
    cells = _cells(table, columns.set)
    column = '' if columns.set is None else columns.names[columns.set]
    sets = {cell: set_of_cell(cell, column, set_of) if cell else '' for cell in set(cells[columns.first_row :])}
    if strange := sorted(cell for cell, set_name in sets.items() if set_name is None):
        raise DataError(
            f'{table.path}: {columns.shown(columns.set)} is to hold sets, but {listed(map(repr, strange))} is none. '
            'Expected: train, val or test. Fix: correct these cells, or name another column with --set-column.'
        )
    return [sets.get(cell) or '' for cell in cells]


def _labels(table: Table, columns: Columns) -> list[str]:
    if len(columns.labels) > 1:
        return [_of_zero_one(table, columns, row) for row in table.rows]
    labels = _cells(table, columns.labels[0] if columns.labels else None)
    told = list(filter(None, labels[columns.first_row :]))
    if any(label.endswith('.0') for label in told) and all(re.fullmatch(r'[+-]?\d+(\.0+)?', label) for label in told):
        labels = [label.partition('.')[0] for label in labels]  # whole numbers, of a column with gaps
    return labels


def _of_zero_one(table: Table, columns: Columns, row: Sequence[str]) -> str:
    return '|'.join(columns.names[column] for column in columns.labels if zero_one(row[column]))


def _taken_for_no_label(table: Table, columns: Columns) -> list[str]:
    # R and pandas write NA and nan where there is no value. They may be the name of a class as well.
    texts = Counter(row[columns.labels[0]] for row in table.rows[columns.first_row :])
    empty = [f'{text!r} ({count:,})' for text, count in texts.items() if text and text.casefold() in _EMPTY]
    hint = 'If it is a class, give it another name'
    return [f'{table.path.name}: taken for no label: {listed(empty)}. {hint}'] if empty else []


def _check_labels(table: Table, found: PhotoTable) -> None:
    """Sort out photos without one label, and turn labels into names of classes."""
    columns = found.columns
    labels = {row.label for row in found.rows.values()}.union(
        *[columns.names[place : place + 1] for place in columns.labels]
    )
    several = {label for label in labels if _is_several(label, labels)}
    for path, row in list(found.rows.items()):
        if not row.label:
            found.problems[path] = 'no label in the table', ''
        elif row.label in several:
            found.problems[path] = 'several labels for one photo', row.label
        elif columns.set is not None and not row.set_name:
            found.problems[path] = 'no set in the table', ''
        else:
            continue
        del found.rows[path]
    labels = Counter(row.label for row in found.rows.values())
    if len(labels) > max(FEW_PHOTOS, MAX_SHARE_OF_CLASSES * len(found.rows)):
        raise DataError(
            f'{table.path}: {len(labels):,} different labels for {len(found.rows):,} photos, such as '
            f'{listed(map(repr, list(labels)[:3]))} ({columns.described()}). Fix: name the column that holds '
            'the classes with --label-column.'
        )
    told = set(filter(None, _labels(table, columns)[columns.first_row :])) - labels.keys()
    if lost := sorted(label for label in told if not _is_several(label, {*labels, *told})):
        found.notes.append(f'{table.path.name}: no photo is left of: {listed(lost)}')
    names = _class_names(table, labels)
    found.rows = {path: row._replace(label=names[row.label]) for path, row in found.rows.items()}
    changed = [f'{label!r} is {name!r}' for label, name in names.items() if label != name]
    if changed:
        found.notes.append(f'{table.path.name}: labels that cannot be names of folders: {listed(changed)}')


def _is_several(label: str, labels: Container[str]) -> bool:
    """Return whether a cell holds several labels: words that are labels elsewhere."""
    for separator, enough in ((r'\s*[|;]\s*', any), (r'\s*,\s*|\s+', all)):
        words = [word for word in re.split(separator, label) if word]
        if len(words) > 1 and enough(word in labels for word in words):
            return True
    return False


def _class_names(table: Table, labels: Iterable[str]) -> dict[str, str]:
    """Return the name of each label's class, which is a folder.

    Raises:
        DataError: if a label cannot be one, or two would be the same.
    """
    names, same = {}, defaultdict(list)
    for label in labels:
        letters = ('_' if unicodedata.category(x) in _BAD_LETTERS or x in '/\\' else x for x in nfc(label))
        name = names[label] = re.sub(r'^\.(?=[^.])', '_', ''.join(letters))
        if name.startswith('.') or name == '_' or len(name.encode()) > MAX_CLASS_BYTES:
            raise DataError(
                f'{table.path}: {label[:80]!r} cannot be the name of a class, which is a folder. Fix: give it another '
                'name in the table.'
            )
        same[nfc(name.casefold())].append(label)
    if twice := [' and '.join(map(repr, labels)) for labels in same.values() if len(labels) > 1]:
        raise DataError(
            f'{table.path}: {listed(twice)} would be one folder on macOS and Windows. Fix: if they are one class, '
            'spell them alike; else give one another name.'
        )
    return names
