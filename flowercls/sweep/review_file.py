"""``doubtful_labels.csv``: a list for a person to review, written anew without losing what the person wrote into it."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowercls.files import write_whole

OURS = ('rank', 'image', 'label', 'suggested', 'score_label', 'score_suggested', 'margin')
REVIEW = 'review'  # the first of the columns that are the person's
DELIMITERS = ',;\t'  # spreadsheets choose one by the language they speak


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


def delimiter_of(table: str) -> str:
    """What stands between the cells of a CSV table, judged by its first line."""
    return max(DELIMITERS, key=''.join(table.splitlines()[:1]).count)


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
    with write_whole(path) as file:
        # Spreadsheets take a file for one of their own old encodings unless it begins with this mark.
        file.write(text.getvalue() if text.getvalue().isascii() else f'\ufeff{text.getvalue()}')
