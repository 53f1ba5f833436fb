"""Which column of a table holds the photos, the labels, the sets and the groups: as the user says, else as is obvious.

Start reading at `find_columns`. Nothing is guessed where two columns could be meant: the error lists them all.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from flowercls.core.errors import ConfigError
from flowercls.core.layout import TRAIN_DIR, VAL_DIR
from flowercls.core.prepared_folder import PHOTO_SUFFIXES
from flowercls.core.terminal import listed
from flowercls.data.prepare.raw.photo_names import PhotoNames
from flowercls.data.prepare.raw.table_file import Table

NONE = 'none'  # the value of a flag that says: no column
# Usual names of columns, in lower case and without spaces, dots, dashes and underscores.
_USUAL_NAMES = {
    'image': re.compile(
        r'(image|img|photo|picture|pic|file|filename|filepath|path|relpath|relativepath)s?(id|name|file|path|filename|'
        r'filepath|url)?s?|id|ids|name|imageindex|uuid|fname|observationid|bild(name|datei)?|datei(name|pfad)?|foto|'
        r'imagen|archivo|fichier|图片|文件名?'
    ),
    'label': re.compile(
        r'(label|class|category|target|species|breed|diagnosis|dx|genus|variety|cultivar|disease|cultivarname|'
        r'commonname|scientificname|taxon|tag|groundtruth|truth|gt|y|level|grade|finding|sentiment|emotion|type)'
        r'(s|es)?(id|name|text|code|number|index|label)?s?|labels?|categories|classes|findinglabels?|klasse|art|'
        r'kategorie|sorte|clase|especie|categor[ií]a|classe|esp[eè]ce|cat[eé]gorie|标签|类别'
    ),
    'set': re.compile(
        r'(data)?(set|split|subset|partition|phase|usage|fold)(s|name|type)?|splitname|tvt|train(val)?test(split)?'
    ),
    'group': re.compile(
        r'(group|patient|subject|plant|individual|animal|specimen|lesion|case|person|participant|burst|sequence|'
        r'sequenceid|seq|camera|cameratrap|camtrap|tree|study|slide|donor|eye|exam|gruppe|pflanze|patientin|kamera|'
        r'planta|paciente|grupo|plante|groupe)(s|id|ids|name|no|nr|number|code)?'
    ),
}
_ZERO_ONE = {'0': False, '0.0': False, 'false': False, '1': True, '1.0': True, 'true': True}
MAX_SAMPLE = 300
MIN_ONE_LABEL = 0.5  # share of rows with one label, of columns of 0 and 1


@dataclass(frozen=True)
class ColumnChoice:
    """What the user says of the columns: name or number from 1, ``'none'`` for no such column, None to guess."""

    image: str | None = None
    label: str | None = None
    set: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns of a table, by their place from 0.

    Attributes:
        names: Of all columns; numbers from 1 where the table has no header.
        first_row: The first row after the header.
        image: The column of photos.
        labels: One column of labels, or several of 0 and 1, one for each class; none if no labels are wanted.
        set: The column of sets, None if there is none.
        group: The column of groups, None if there is none.
        unused: Columns that are called as one of sets, but whose cells name no sets.
    """

    names: tuple[str, ...]
    first_row: int
    image: int
    labels: tuple[int, ...] = ()
    set: int | None = None
    group: int | None = None
    unused: tuple[int, ...] = ()

    def described(self) -> str:
        """Return where everything comes from, ``images from 'id', labels from 'breed'``."""
        parts = [f'images from {self.shown(self.image)}']
        if len(self.labels) > 1:
            parts.append(f'labels from {len(self.labels)} columns of 0 and 1')
        elif self.labels:
            parts.append(f'labels from {self.shown(self.labels[0])}')
        parts += [
            f'{what} from {self.shown(column)}'
            for what, column in (('sets', self.set), ('groups', self.group))
            if column is not None
        ]
        return ', '.join(parts)

    def shown(self, column: int) -> str:
        """Return a column's name in quotation marks, or its number."""
        name = self.names[column]
        return f'{name!r}' if self.first_row and name else f'column {column + 1}'


def find_columns(
    table: Table, photos: PhotoNames, choice: ColumnChoice, set_of: Callable[[str], str | None], labels: bool = True
) -> Columns:
    """Return the columns of a table of photos.

    Args:
        table: Its rows.
        photos: The files that they are about.
        choice: What the user says.
        set_of: Returns the set that a cell names, None if it names none.
        labels: Whether labels are wanted; else groups are.

    Raises:
        ConfigError: if a column that the user names is not there, or one is missing and cannot be guessed.
    """
    return _Finder(table, photos, set_of).columns(choice, labels)


class _Finder:
    def __init__(self, table: Table, photos: PhotoNames, set_of: Callable[[str], str | None]) -> None:
        self.table, self.photos, self.set_of = table, photos, set_of
        first = table.rows[0]
        self.first_row = 0 if any(map(self._is_photo, first)) and not _is_header(first) else 1
        self.names = first if self.first_row else tuple(str(place) for place in range(1, len(first) + 1))
        rows = table.rows[self.first_row :]
        self.sample = rows[:: max(1, len(rows) // MAX_SAMPLE)]
        self.unused: list[int] = []
        self.filled = [
            place for place in range(len(first)) if self.names[place] or any(row[place] for row in self.sample)
        ]

    def _is_photo(self, cell: str) -> bool:
        return PurePosixPath(cell).suffix.lower() in PHOTO_SUFFIXES or bool(cell and self.photos.find(cell))

    def columns(self, choice: ColumnChoice, labels: bool) -> Columns:
        chosen = {key: self._chosen(getattr(choice, key), key) for key in ('image', 'label', 'set', 'group')}
        image = self._image(chosen) if chosen['image'] is None else chosen['image']
        group = self._group(choice, chosen, image) if labels else chosen['group']
        given_set = self._set(choice, chosen, image) if labels else None
        taken = {image, given_set, group}
        if not labels:
            group = self._only_one('group', taken) if group is None else group
            return Columns(self.names, self.first_row, image, group=group)
        of_labels = (chosen['label'],) if chosen['label'] is not None else self._labels(taken)
        return Columns(self.names, self.first_row, image, of_labels, given_set, group, tuple(self.unused))

    def _chosen(self, name: str | None, key: str) -> int | None:
        if name is None or (name == NONE and name not in self.names):
            return None
        for spell in (str, lambda text: text.strip().casefold()):
            places = [place for place, other in enumerate(self.names) if other and spell(other) == spell(name)]
            if len(places) > 1:
                raise self._error(
                    f'{len(places)} columns are called {name!r}',
                    f'give a number, --{key}-column {places[0] + 1} or --{key}-column {places[1] + 1}',
                )
            if places:
                return places[0]
        if name.isascii() and name.isdecimal() and 0 < int(name) <= len(self.names):
            return int(name) - 1
        raise self._error(f'no column {name!r}', f'--{key}-column with one of these names, or a number from 1')

    def _image(self, chosen: dict[str, int | None]) -> int:
        """Return the column whose cells name the most photos."""
        places = [place for place in self.filled if place not in chosen.values()]
        for by_number in (False, True):
            found = {place: len(self._photos_named(place, by_number)) for place in places}
            if any(found.values()):
                usual = {place: _is_usual('image', self.names[place]) for place in places}
                return max(places, key=lambda place: (found[place], usual[place], -place))
        looks = [place for place in places if any(self._is_photo(row[place]) for row in self.sample)]
        usual = [place for place in places if _is_usual('image', self.names[place])]
        if looks or usual:
            return (looks or usual)[0]  # nothing matches; the error shows examples
        raise self._error('no column names a photo of the folder', '--image-column NAME')

    def _photos_named(self, place: int, by_number: bool) -> set[str]:
        names = {row[place] for row in self.sample if row[place]}
        return {path for name in names for path in self.photos.find(name, by_number)}

    def _labels(self, taken: set[int | None]) -> tuple[int, ...]:
        places = [place for place in self.filled if place not in taken and not _is_row_number(self.names[place])]
        usual = [place for place in places if _is_usual('label', self.names[place])]
        if len(usual) > 1 and len({tuple(self._partition(place)) for place in usual}) == 1:
            # The same classes as numbers and as names.
            usual = [next((place for place in usual if not self._is_number(place)), usual[0])]
        if len(usual) == 1:
            return (usual[0],)
        if len(places) == 1:
            return (places[0],)
        if self.first_row and len(places) > 1 and not usual and self._are_zero_one(places):
            return tuple(places)
        problem = 'no column is left for the labels' if not places else 'no column is plainly that of the labels'
        raise self._error(problem, '--label-column NAME')

    def _partition(self, place: int) -> list[int]:
        numbers: dict[str, int] = {}
        return [numbers.setdefault(row[place], len(numbers)) for row in self.sample]

    def _is_number(self, place: int) -> bool:
        return all(re.fullmatch(r'[+-]?\d+(\.\d+)?', row[place]) for row in self.sample if row[place])

    def _are_zero_one(self, places: Sequence[int]) -> bool:
        cells = [[zero_one(row[place]) for place in places] for row in self.sample]
        single = sum(sum(map(bool, row)) == 1 for row in cells)
        return all(cell is not None for row in cells for cell in row) and single >= MIN_ONE_LABEL * len(cells)

    def _set(self, choice: ColumnChoice, chosen: dict[str, int | None], image: int) -> int | None:
        if choice.set is not None:
            return chosen['set']
        for place in self.filled:
            name = self.names[place]
            if place in {image, *chosen.values()} or not (_is_usual('set', name) or _set_asked(name, self.set_of)):
                continue
            sets = [set_of_cell(row[place], name, self.set_of) for row in self.sample if row[place]]
            if None not in sets and len(set(sets)) > 1:
                return place
            self.unused.append(place)
        return None

    def _group(self, choice: ColumnChoice, chosen: dict[str, int | None], image: int) -> int | None:
        if choice.group is not None:
            return chosen['group']
        places = [
            place
            for place in self.filled
            if place not in {image, *chosen.values()} and _is_usual('group', self.names[place])
        ]
        return places[0] if len(places) == 1 else None

    def _only_one(self, key: str, taken: set[int | None]) -> int:
        places = [place for place in self.filled if place not in taken and not _is_row_number(self.names[place])]
        usual = [place for place in places if _is_usual(key, self.names[place])]
        if len(usual) != 1 and len(places) != 1:
            raise self._error(f'no column is plainly that of the {key}s', f'--{key}-column NAME')
        return (usual if len(usual) == 1 else places)[0]

    def _error(self, problem: str, fix: str) -> ConfigError:
        names = listed((repr(self.names[place]) for place in self.filled), 20)
        kind = 'Columns' if self.first_row else 'It has no header; columns by number'
        return ConfigError(f'{self.table.path}: {problem}. {kind}: {names}. Fix: {fix}.')


def set_of_cell(cell: str, column: str, set_of: Callable[[str], str | None]) -> str | None:
    """Return the set that a cell names, None if it names none; True in the column is_valid is validation."""
    answer, asked = _ZERO_ONE.get(cell.casefold()), _set_asked(column, set_of)
    if answer is None or asked is None:
        return set_of(cell)
    return asked if answer else VAL_DIR if asked == TRAIN_DIR else TRAIN_DIR


def _set_asked(column: str, set_of: Callable[[str], str | None]) -> str | None:
    """Return the set that a column such as is_valid asks for; a column called test may be anything."""
    return set_of(column) if column.casefold().startswith('is') else None


def zero_one(cell: str) -> bool | None:
    """Return what a cell of a column of 0 and 1 says, None if it says something else."""
    return _ZERO_ONE.get(cell.casefold()) if cell else False


def _is_usual(key: str, name: str) -> bool:
    return bool(_USUAL_NAMES[key].fullmatch(re.sub(r'[\W_]', '', name.casefold())))


def _is_header(cells: Sequence[str]) -> bool:
    counts = Counter(key for key in _USUAL_NAMES for cell in cells if cell and _is_usual(key, cell))
    return len(counts) > 1  # image.jpg is a photo, and a usual name of a column


def _is_row_number(name: str) -> bool:
    """Return whether a column is the row number that pandas writes."""
    return not name or name.startswith(('Unnamed: ', '__index_level_'))
