"""Labels for a user to review, from out-of-fold predictions; no label is ever changed."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowercls.config.loader import shorten
from flowercls.core.files import atomic_write, delimiter_of, numbered
from flowercls.core.layout import DATA_PREFIXES, DOUBTFUL_LABELS_FILE
from flowercls.evaluate.label_errors import LabelCheck, check_labels, count_pairs
from flowercls.evaluate.predictions import Predictions, escaped
from flowercls.sweep.folds import OutOfFold, mean_over_seeds

COLUMNS = ('rank', 'image', 'label', 'suggested', 'score_label', 'score_suggested', 'margin')
IMAGE = COLUMNS.index('image')
REVIEW = 'review'  # the first of the user's columns
MAX_PAIRS_SHOWN = 3
MIN_TOP1 = 75.0  # percent; a weaker model is a poor judge of labels


@dataclass(frozen=True)
class DoubtfulLabels:
    """The result of a label check.

    Attributes:
        predictions: Of all photos, with the mean scores over the seeds.
        check: The doubtful labels.
        origin: Where the predictions are from, ``5 folds``.
        data_root: The prepared folder.
        path: The list that was written.
        unread: Earlier lists that could not be read and were left alone.
    """

    predictions: Predictions
    check: LabelCheck
    origin: str
    data_root: Path
    path: Path
    unread: Sequence[Path] = ()

    @property
    def picture(self) -> Path:
        """Path of the gallery of doubtful photos."""
        return self.path.with_suffix('.png')

    def photo(self, number: int) -> Path:
        """Return the file of a photo, or where it was if it is gone."""
        places = [self.data_root / prefix / self.predictions.images[number] for prefix in DATA_PREFIXES.values()]
        return next((place for place in places if place.is_file()), places[0])

    def describe(self) -> list[str]:
        """Return lines for the end of a sweep."""
        num_doubtful, num_photos = len(self.check.numbers), len(self.predictions.images)
        lines = [f'{shorten(path)}: could not be read and was left as it is' for path in self.unread]
        if not num_doubtful:
            return [*lines, f'labels to review: none of {num_photos:,} photos, {self.origin}']
        where = f'{shorten(self.path)}, {self.picture.suffix}'
        names = self.predictions.class_names
        pairs = count_pairs(self.predictions.labels, self.check)[:MAX_PAIRS_SHOWN]
        frequent = ', '.join(f'{names[old]} that may be {names[new]} ({count})' for old, new, count in pairs)
        lines += [
            f'labels to review: {num_doubtful:,} of {num_photos:,} photos, {where}; nothing was changed',
            f'  most often: {frequent}; {self.origin}',
        ]
        top1 = self.predictions.metrics()['top1']
        if top1 < MIN_TOP1:
            lines.append(f'  the models are right on only {top1:.0f} % of the photos, so many doubts are wrong')
        return lines


def find_doubtful_labels(out_of_fold: Sequence[OutOfFold], folder: Path) -> DoubtfulLabels | None:
    """Write ``doubtful_labels.csv`` into a sweep folder, and keep the user's remarks in an earlier one.

    The setting with the best mean top-1 is used, with scores averaged over its seeds.

    Args:
        out_of_fold: All out-of-fold predictions of the sweep.
        folder: The sweep folder.

    Returns:
        None without out-of-fold predictions.

    Raises:
        DataError: if the seeds have different photos.
        DiskError: if the list cannot be written.
    """
    if not out_of_fold:
        return None
    settings: dict[tuple[str, ...], list[OutOfFold]] = {}
    for item in out_of_fold:
        settings.setdefault(item.setting, []).append(item)
    seeds = max(settings.values(), key=lambda seeds: np.mean([seed.top1 for seed in seeds]))
    origin = [f'{len(seeds[0].folds)} folds']
    if len(seeds) > 1:
        origin.append(f'mean of {len(seeds)} seeds')
    if len(settings) > 1:
        origin.append(','.join(seeds[0].setting))
    predictions = mean_over_seeds(seeds)
    check = check_labels(predictions.scores, predictions.labels)
    names, rows = predictions.class_names, []
    for rank, (i, suggested, margin) in enumerate(zip(check.numbers, check.suggested, check.margins, strict=True), 1):
        label, scores = predictions.labels[i], predictions.scores[i]
        percentages = [f'{100 * figure:.2f}' for figure in (scores[label], scores[suggested], margin)]
        photo = map(escaped, (predictions.images[i], names[label], names[suggested]))
        rows.append([str(rank), *photo, *percentages])
    path, unread = write_review(folder / DOUBTFUL_LABELS_FILE, rows)
    data_root = Path(seeds[0].folds[0].trial.cfg.data_root)
    return DoubtfulLabels(predictions, check, ', '.join(origin), data_root, path, unread)


def write_review(path: Path, rows: Sequence[Sequence[str]]) -> tuple[Path, list[Path]]:
    """Write the list of doubtful labels, with the user's remarks from an earlier list of this name.

    After our columns come ``review`` and any columns that the user has added. Remarks about photos that are not
    listed any more stay at the end, without a rank. A file that cannot be read is left alone; the new list is then
    named ``-2``.

    Args:
        path: The CSV file, which may exist.
        rows: Cells of our columns.

    Returns:
        The file written, and the files that could not be read.

    Raises:
        DiskError: if the list cannot be written.
    """
    unread = []
    for place in numbered(path, path.suffix):
        try:
            delimiter, titles, old_rows = _read_review(place)
            break
        except (OSError, ValueError, csv.Error):
            unread.append(place)
    listed, remarks, rest = {row[IMAGE] for row in rows}, {}, []
    for ours, theirs in old_rows:
        image = ours[IMAGE]
        if not any(cell.strip() for cell in (theirs if image else ours + theirs)):  # no photo: below the table
            continue
        if image in listed and image not in remarks:
            remarks[image] = theirs
        else:
            rest.append(['' if image else ours[0], *ours[1:], *theirs])
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator='\n')
    writer.writerow([*COLUMNS, *titles])
    writer.writerows([*row, *remarks.get(row[IMAGE], [''] * len(titles))] for row in rows)
    writer.writerows(rest)
    with atomic_write(place) as file:
        # Without this mark, spreadsheets read the file in an old encoding.
        file.write(text.getvalue() if text.getvalue().isascii() else f'\ufeff{text.getvalue()}')
    return place, unread


def _read_review(path: Path) -> tuple[str, list[str], list[tuple[list[str], list[str]]]]:
    """Return the delimiter, the titles of the user's columns, and for each row the cells of our and their columns.

    Raises:
        OSError, ValueError, csv.Error: if the file is not such a list.
    """
    if not path.exists():
        return ',', [REVIEW], []
    text = path.read_bytes().decode('utf-8-sig')
    delimiter = delimiter_of(text)
    # Strict: a quote that is never closed would hide the lines after it.
    lines = [line for line in csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True) if line]
    if not lines:
        return delimiter, [REVIEW], []
    header = [title.strip() for title in lines[0]]
    header += [''] * (max(map(len, lines)) - len(header))  # a remark to the right of the table has no title
    if 'image' not in header:
        raise ValueError('no column for the photos')
    empty = len(header)  # a column for the titles that are missing
    *ours, review = (header.index(title) if title in header else empty for title in (*COLUMNS, REVIEW))
    added = [i for i in range(empty) if i not in (*ours, review)]
    rows = []
    for line in lines[1:]:
        cells = [*line, *[''] * (empty + 1 - len(line))]
        rows.append(([cells[i] for i in ours], [cells[i] for i in (review, *added)]))
    return delimiter, [REVIEW, *(header[i] for i in added)], rows
