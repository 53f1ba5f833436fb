"""The true class of each photo of a folder, as its folders or a table say."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowercls.config.suggest import nearest_name
from flowercls.core.errors import DataError
from flowercls.core.layout import CLASSES_FILE, SET_TITLES
from flowercls.core.prepared_folder import nfc
from flowercls.core.terminal import listed, printable, shortened
from flowercls.data.prepare.raw.label_table import NO_ROW, PhotoTable, read_photo_table
from flowercls.data.prepare.raw.table_columns import NONE, ColumnChoice
from flowercls.use.photos import Photos, find_photos

NEAR, SURE = 0.66, 0.85  # of names: daisies and daisy, not aster and daisy; roses and rose, not flower and sunflower
NAME_LENGTH = 60
GUESSED = ColumnChoice()


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos of a folder, N of them with a class that the model knows.

    Attributes:
        photos: Those N.
        labels: Their classes, numbers in the order of the model's; length N.
        left_out: Photos of no class of the model, by what they are called instead: a folder or a label.
        suggestions: Of what is left out, the class that was probably meant, where one is near.
        notes: What was seen in the table.
        sets: Photos of each set, where the folder is a prepared one.
    """

    photos: Photos
    labels: list[int]
    left_out: dict[str, int]
    suggestions: dict[str, str]
    sets: dict[str, int]
    notes: list[str]


def find_labelled(
    folder: Path,
    class_names: Sequence[str],
    model: str,
    table: Path | None = None,
    columns: ColumnChoice = GUESSED,
) -> LabelledPhotos:
    """Return the photos at any depth of a folder, with their classes.

    Args:
        folder: With photos.
        class_names: Of the model, in the order of its labels.
        model: Its name in messages.
        table: Says the class of each photo; None takes the innermost folder that is called as a class.
        columns: Of the table, where the user names them.

    Raises:
        DataError: if there are no photos, none is of a class of the model, or the table cannot be read.
        ConfigError: if the columns of the table cannot be told.
    """
    found, notes = find_photos([folder], any_name=True), []
    numbers = {nfc(name): number for number, name in enumerate(class_names)}
    if table is None:
        names = _names_of_folders(found, numbers)
    else:
        # A row that does not say a set or a group says a class all the same.
        read = read_photo_table(table, found.images, folder, replace(columns, set=NONE, group=NONE))
        names, notes = _names_in_table(found, read, numbers), read.notes
    is_prepared = (folder / CLASSES_FILE).is_file()
    sets = Counter(parts[1] for parts in found.folders if is_prepared and parts[1:2] and parts[1] in SET_TITLES)
    left_out = dict(Counter(name for name in names if isinstance(name, str)))
    suggestions = {name: meant for name in left_out if (meant := _meant_by(name, class_names))}
    good = [i for i, name in enumerate(names) if isinstance(name, int)]
    if not good:
        raise DataError(
            f'--data {folder}: none of its {len(names):,} photos is of a class of {model}.\n'
            f'  there: {listed(_called(name, number, suggestions) for name, number in left_out.items())}\n'
            f'  classes of the model: {listed(class_names)}\n'
            f'Fix: {"correct the table" if table else "call the folders as the classes, or add --labels TABLE"}.'
        )
    labels = [names[i] for i in good]
    return LabelledPhotos(found.chosen(good), labels, left_out, suggestions, dict(sets), notes)


def _meant_by(name: str, class_names: Sequence[str]) -> str | None:
    """Return the class that a label or a path of folders is probably meant to be."""
    innermost = name.rpartition('/')[2]
    tries = [(innermost, NEAR), *((word, SURE) for word in reversed(re.findall(r'[^\W\d_]+', name)))]
    near = (nearest_name(text, class_names, cutoff) for text, cutoff in tries if text)
    return next(filter(None, near), None)


def _names_of_folders(found: Photos, numbers: dict[str, int]) -> list[int | str]:
    """Return the number of the class of each photo, or its folder if that is called as no class."""
    # The folder's own name is its photos' class only where none of its folders is one.
    start = int(any(nfc(part) in numbers for parts in set(found.folders) for part in parts[1:]))
    names: list[int | str] = []
    for parts in found.folders:
        inside = [numbers[nfc(part)] for part in parts[start:] if nfc(part) in numbers]
        names.append(inside[-1] if inside else '/'.join(parts[1:]))
    return names


def _names_in_table(found: Photos, table: PhotoTable, numbers: dict[str, int]) -> list[int | str]:
    """Return the number of the class of each photo, or its label if that is no class, or why it has none."""
    names: list[int | str] = []
    for image in found.images:
        if image in table.rows:
            label = table.rows[image].label
            names.append(numbers.get(nfc(label), label))
        else:
            names.append(table.problems.get(image, (NO_ROW, ''))[0])
    return names


def describe_labelled(found: LabelledPhotos) -> list[str]:
    """Return lines on what was found beside the photos of the model's classes."""
    lines = [f'labels      {note}' for note in found.notes]
    if found.sets:
        sets = ', '.join(f'{number:,} {SET_TITLES[name]}' for name, number in sorted(found.sets.items()))
        lines.append(f'sets        a prepared folder: {sets} photos, all of them counted')
    if found.left_out:
        named = listed(_called(name, number, found.suggestions) for name, number in found.left_out.items())
        number = sum(found.left_out.values())
        lines.append(
            f'LEFT OUT    {number:,} of {number + len(found.labels):,} photos, which are of no class of the model and '
            f'count in no figure: {named}'
        )
    return lines


def _called(name: str, number: int, suggestions: dict[str, str]) -> str:
    shown = shortened(printable(name), NAME_LENGTH) if name else 'photos in no folder'
    meant = f", did you mean '{suggestions[name]}'?" if name in suggestions else ''
    return f'{shown} ({number:,}{meant})'
