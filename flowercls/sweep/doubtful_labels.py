"""``doubtful_labels.csv``: a list for a person to review, written anew without losing what the person wrote into it.

From the out-of-fold predictions of a sweep: which labels a person should look at. None is ever changed.
"""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowercls.config import resolve_config
from flowercls.core.files import atomic_write, delimiter_of
from flowercls.core.layout import DATA_PREFIXES
from flowercls.evaluate.label_errors import LabelCheck, check_labels, count_pairs
from flowercls.evaluate.predictions import Predictions
from flowercls.sweep.folds import OutOfFold, mean_over_seeds
from flowercls.sweep.scheduler import shown_path

OURS = ('rank', 'image', 'label', 'suggested', 'score_label', 'score_suggested', 'margin')
REVIEW = 'review'  # the first of the columns that are the person's


class _UnreadableReview(Exception):  # noqa: N818  reads as what it is; no error of the user's, the file is just left alone
    """A file that may hold a person's work and cannot be taken apart."""


@dataclass(frozen=True)
class _Row:
    ours: list[str]
    theirs: list[str]

    @property
    def image(self) -> str:
        return self.ours[OURS.index('image')]

    @property
    def is_worth_keeping(self) -> bool:
        # A line without a photo is a remark below the table.
        return any(cell.strip() for cell in (self.theirs if self.image else self.ours + self.theirs))


@dataclass(frozen=True)
class _Review:
    delimiter: str
    own_columns: list[str]
    rows: list[_Row]


def write_review(path: Path, rows: Sequence[Sequence[str]]) -> tuple[Path, list[Path]]:
    """Write the doubtful labels, and beside each what a person has written to it in an earlier file of this name.

    Columns are those of ``OURS``, then ``review``, then any that the person has added. What they wrote about photos
    that are not listed any more stays at the end, without a rank. A file that cannot be read stays as it is; the new
    one is then named ``-2``.

    Args:
        path: CSV file, there already or not.
        rows: The cells of our own columns.

    Returns:
        The file written, and those that could not be read.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    unread = []
    for place in _names(path):
        try:
            review = _read(place)
        except _UnreadableReview:
            unread.append(place)
        else:
            _write(place, review, _merge(rows, review))
            return place, unread
    raise AssertionError('the names are endless')


def _names(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_stem(f'{path.stem}-{number}') for number in itertools.count(2))


def _read(path: Path) -> _Review:
    try:
        text = path.read_bytes().decode('utf-8-sig')
        delimiter = delimiter_of(text)
        # Strict: a quote that is never closed would swallow the lines after it.
        lines = [line for line in csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True) if line]
    except FileNotFoundError:
        return _Review(',', [REVIEW], [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _UnreadableReview from error
    return _taken_apart(delimiter, lines) if lines else _Review(delimiter, [REVIEW], [])


def _taken_apart(delimiter: str, lines: list[list[str]]) -> _Review:
    header = [name.strip() for name in lines[0]]
    if 'image' not in header:
        raise _UnreadableReview
    header += [''] * (max(map(len, lines)) - len(header))  # a remark to the right of the table has no title
    ours = [header.index(name) if name in header else None for name in OURS]
    own = [i for i, name in enumerate(header) if i not in ours and name != REVIEW]
    theirs = [header.index(REVIEW) if REVIEW in header else None, *own]
    rows = [_Row(_cells(line, ours), _cells(line, theirs)) for line in lines[1:]]
    return _Review(delimiter, [REVIEW, *(header[i] for i in own)], rows)


def _cells(line: list[str], places: list[int | None]) -> list[str]:
    return [line[i] if i is not None and i < len(line) else '' for i in places]


def _merge(rows: Sequence[Sequence[str]], review: _Review) -> list[list[str]]:
    listed = {row[OURS.index('image')] for row in rows}
    written: dict[str, list[str]] = {}
    kept = []
    for old in filter(lambda row: row.is_worth_keeping, review.rows):
        if old.image in listed and old.image not in written:
            written[old.image] = old.theirs
        else:
            kept.append(['' if old.image else old.ours[0], *old.ours[1:], *old.theirs])
    nothing = [''] * len(review.own_columns)
    return [[*row, *written.get(row[OURS.index('image')], nothing)] for row in rows] + kept


def _write(path: Path, review: _Review, rows: list[list[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=review.delimiter, lineterminator='\n')
    writer.writerows([[*OURS, *review.own_columns], *rows])
    with atomic_write(path) as file:
        # Spreadsheets take a file for one of their own old encodings unless it begins with this mark.
        file.write(text.getvalue() if text.getvalue().isascii() else f'\ufeff{text.getvalue()}')


pass


FILE = 'doubtful_labels.csv'
PAIRS_SHOWN = 3
WEAK = 75.0  # percent: models that are wrong more often than this are poor judges of labels


@dataclass(frozen=True)
class DoubtfulLabels:
    """What a label check came to.

    Attributes:
        predictions: Of all photos, the mean over the seeds.
        check: The doubtful ones among them.
        origin: What the predictions are of, ``5 folds``.
        data_root: The prepared folder.
        path: The list written.
        unread: Earlier lists that could not be read and were left as they are.
    """

    predictions: Predictions
    check: LabelCheck
    origin: str
    data_root: Path
    path: Path
    unread: Sequence[Path] = ()

    @property
    def picture(self) -> Path:
        """Where the gallery of them belongs."""
        return self.path.with_suffix('.png')

    def photo(self, number: int) -> Path:
        """The file of a photo; if it is in no set any more, where it may have been."""
        places = [self.data_root / prefix / self.predictions.images[number] for prefix in DATA_PREFIXES.values()]
        return next((place for place in places if place.is_file()), places[0])

    def describe(self) -> list[str]:
        """Lines for the end of a sweep."""
        num_doubtful, num_photos = len(self.check.numbers), len(self.predictions.images)
        lines = [f'{shown_path(path)}: could not be read and was left as it is' for path in self.unread]
        if not num_doubtful:
            return [*lines, f'labels to review: none of {num_photos:,} photos, {self.origin}']
        where = f'{shown_path(self.path)}, {self.picture.suffix}'
        lines.append(f'labels to review: {num_doubtful:,} of {num_photos:,} photos, {where}; nothing was changed')
        names = self.predictions.class_names
        pairs = count_pairs(self.predictions.labels, self.check)[:PAIRS_SHOWN]
        most = ', '.join(f'{names[label]} that may be {names[other]} ({photos})' for label, other, photos in pairs)
        lines.append(f'  most often: {most}; {self.origin}')
        if self.top1 < WEAK:
            lines.append(
                f'  by models that are right on {self.top1:.0f} % of the photos: much of this may be their fault'
            )
        return lines

    @property
    def top1(self) -> float:
        """Of the predictions, in percent."""
        return self.predictions.metrics()['top1']


def find_doubtful_labels(out_of_fold: Sequence[OutOfFold], folder: Path) -> DoubtfulLabels | None:
    """Write ``doubtful_labels.csv`` into a sweep's folder; what was written into an earlier one is kept in it.

    Of several settings the one with the best mean top-1 is taken; the scores of its seeds are averaged.

    Args:
        out_of_fold: All of the sweep.
        folder: Of the sweep.

    Returns:
        None if there are no out-of-fold predictions.

    Raises:
        DataError: if the seeds were run on different photos.
        DiskError: if the disk is full or may not be written to.
    """
    if not out_of_fold:
        return None
    settings: dict[tuple[str, ...], list[OutOfFold]] = {}
    for found in out_of_fold:
        settings.setdefault(found.setting, []).append(found)
    best = max(settings.values(), key=lambda seeds: np.mean([found.top1 for found in seeds]))
    predictions = mean_over_seeds(best)
    check = check_labels(predictions.scores, predictions.labels)
    path, unread = write_review(folder / FILE, _rows(predictions, check))
    trial = best[0].folds[0].trial
    data_root = Path(resolve_config(trial.config, trial.overrides)[0].data_root)
    return DoubtfulLabels(predictions, check, _origin(best, len(settings) > 1), data_root, path, unread)


def _origin(seeds: Sequence[OutOfFold], is_one_of_several: bool) -> str:
    parts = [f'{len(seeds[0].folds)} folds']
    parts += [f'mean of {len(seeds)} seeds'] * (len(seeds) > 1)
    parts += [','.join(seeds[0].setting)] * is_one_of_several
    return ', '.join(parts)


def _rows(predictions: Predictions, check: LabelCheck) -> list[list[str]]:
    """Cells of the list; scores and margins in percent."""
    names, rows = predictions.class_names, []
    for rank, (i, suggested, margin) in enumerate(zip(check.numbers, check.suggested, check.margins, strict=True), 1):
        label, scores = predictions.labels[i], predictions.scores[i]
        figures = (scores[label], scores[suggested], margin)
        percentages = [f'{100 * figure:.2f}' for figure in figures]
        rows.append([str(rank), predictions.images[i], names[label], names[suggested], *percentages])
    return rows
