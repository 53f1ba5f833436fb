"""The scores of a model for every photo of a set, and the predictions file that all comparisons work from."""

import csv
import hashlib
import io
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath

import numpy as np

from flowercls.core.errors import DataError
from flowercls.core.files import atomic_write
from flowercls.core.layout import PREDICTIONS_FILE, PREDICTIONS_VAL_LAST_FILE
from flowercls.core.terminal import tool_command
from flowercls.evaluate.metrics import all_figures, predicted_labels

FIX_FOLDS = 'Fix: use the lists of one call of prepare --folds.'
FIX_REPEATED = 'Fix: put back the file. If the list of photos names it twice, delete one of its rows here.'


def image_name(path: str | Path) -> str:
    """Return ``<class>/<file>``, the name of a photo in annotation files and predictions."""
    return '/'.join(PurePath(path).parts[-2:])


# A spreadsheet runs a cell that begins with one of these; a quote before it, or several, would be one of ours.
_RUNNABLE = re.compile(r"'*[=+\-@\t\r]")


def escaped(text: str) -> str:
    """Return a name as a CSV cell that no spreadsheet runs: a quote comes first where it begins as a formula does.

    Source:
        OWASP, "CSV Injection".
    """
    return f"'{text}" if _RUNNABLE.match(text) else text


def unescaped(cell: str) -> str:
    """Return the name in a cell of `escaped`."""
    return cell[1:] if cell.startswith("'") and _RUNNABLE.match(cell) else cell


def csv_line(cells: Iterable[str]) -> str:
    """Return a row of a CSV file with its line end."""
    line = io.StringIO()
    csv.writer(line, lineterminator='\r\n').writerow(cells)  # with another end it would not quote a return in a name
    return line.getvalue().removesuffix('\r\n') + '\n'


def header_line(columns: Iterable[str], class_names: Iterable[str]) -> str:
    """Return the header of a predictions file: ``columns``, and then a score of each class."""
    return csv_line([*columns, *(f'score_{name}' for name in class_names)])


def row_line(names: Iterable[str], scores: Iterable[float]) -> str:
    """Return a row of a predictions file: names, which are escaped, and then the probabilities of a photo."""
    # Nine digits restore every float32 exactly.
    return csv_line([*map(escaped, names), *(f'{score:.9g}' for score in scores)])


def first_repeated(images: Sequence[str]) -> str | None:
    """Return the first photo, in alphabetical order, that is listed more than once; None if there is none."""
    if len(set(images)) == len(images):
        return None
    return next(image for image, following in pairwise(sorted(images)) if image == following)


@dataclass(frozen=True)
class Predictions:
    """Scores of N photos for C classes.

    Attributes:
        images: ``<class>/<file>`` as in the annotation file, in its order; length N.
        labels: True classes, int64, shape (N,).
        scores: Probabilities, float32, shape (N, C).
        class_names: In the order of classes.txt; length C.
    """

    images: list[str]
    labels: np.ndarray
    scores: np.ndarray
    class_names: list[str]

    @classmethod
    def join(cls, folds: Sequence['Predictions'], source: str | Path) -> 'Predictions':
        """Return the predictions for all folds as one, sorted by photo.

        Args:
            folds: Predictions for different photos; one set alone is sorted.
            source: Where they are from, for an error.

        Raises:
            DataError: if a photo is predicted twice, or the folds have different classes.
        """
        names, images = folds[0].class_names, [image for fold in folds for image in fold.images]
        if any(fold.class_names != names for fold in folds):
            raise DataError(f'{source}: the folds have different classes. Fix: train all folds on one prepared folder.')
        for fold in folds:
            if repeated := first_repeated(fold.images):
                raise DataError(f'{source}: {repeated} is listed twice in one predictions file. {FIX_REPEATED}')
        if repeated := first_repeated(images):
            raise DataError(f'{source}: {repeated} is in two folds. {FIX_FOLDS}')
        order = sorted(range(len(images)), key=images.__getitem__)
        labels, scores = (np.concatenate([getattr(fold, name) for fold in folds]) for name in ('labels', 'scores'))
        return cls([images[i] for i in order], labels[order], scores[order], names)

    @property
    def hits(self) -> np.ndarray:
        """Whether each photo is predicted right, bool, shape (N,)."""
        return predicted_labels(self.scores) == self.labels

    def metrics(self) -> dict:
        """Return the figures of ``metrics.json``, see `all_figures`."""
        return all_figures(self.scores, self.labels, self.class_names)

    def mistakes(self) -> list[int]:
        """Return the numbers of the wrongly predicted photos, the most confident first."""
        wrong = np.flatnonzero(~self.hits)
        return wrong[np.argsort(-self.scores[wrong].max(axis=1), kind='stable')].tolist()

    def write_csv(self, path: str | Path) -> None:
        """Write one row per photo, atomically: ``image,label,pred,score_<class>...``."""
        header = header_line(('image', 'label', 'pred'), self.class_names)
        self._write(path, header, self.scores, range(len(self.images)))

    def write_mistakes_csv(self, path: str | Path) -> None:
        """Write one row per photo of `mistakes`: ``image,label,pred,score`` with the predicted class's score."""
        header = csv_line(['image', 'label', 'pred', 'score'])
        self._write(path, header, self.scores.max(axis=1, keepdims=True), self.mistakes())

    def _write(self, path: str | Path, header: str, scores: np.ndarray, numbers: Sequence[int]) -> None:
        names, predicted = self.class_names, predicted_labels(self.scores)
        with atomic_write(path) as file:
            file.write(header)
            for i in numbers:
                file.write(row_line((self.images[i], names[self.labels[i]], names[predicted[i]]), scores[i]))

    @classmethod
    def read_csv(cls, path: str | Path) -> 'Predictions':
        """Read a file of `write_csv`.

        Every row is checked: its classes, its scores, and that ``pred`` has the highest score.

        Raises:
            DataError: if the file is missing or is not a predictions file.
        """
        images, labels, scores, line = [], [], [], 1
        try:
            with Path(path).open(encoding='utf-8', newline='') as file:
                reader = csv.reader(file)
                names = _class_names(next(reader, []))
                for cells in reader:
                    row = [*map(unescaped, cells[:3]), *cells[3:]]
                    label, scores_of_row = _parse_row(row, names)
                    images.append(row[0])
                    labels.append(label)
                    scores.append(scores_of_row)
                    line = reader.line_num + 1
            if not images:
                raise ValueError('it lists no photos')
        except OSError as error:
            raise _no_predictions(path, error.strerror) from error
        except UnicodeDecodeError as error:
            raise _no_predictions(path, 'it is not UTF-8 text') from error
        except (ValueError, csv.Error) as error:
            raise _no_predictions(path, f'line {line}: {error}') from error
        return cls(images, np.array(labels), np.array(scores, np.float32), names)


def _class_names(header: Sequence[str]) -> list[str]:
    if list(header[1:3]) != ['label', 'pred'] or len(header) < 4:
        raise ValueError('it is not the header')
    if others := [column for column in header[3:] if not column.startswith('score_')]:
        raise ValueError(f'the column {others[0]} is no score; answers of "unknown" cannot be compared')
    return [column.removeprefix('score_') for column in header[3:]]


def _parse_row(row: Sequence[str], names: Sequence[str]) -> tuple[int, np.ndarray]:
    """Return the number of the true class, and the scores.

    Raises:
        ValueError: saying in plain words what is wrong.
    """
    if len(row) != 3 + len(names):
        raise ValueError(f'it does not have one score per class: {len(row)} cells, not {3 + len(names)}')
    for column, name in zip(('label', 'pred'), row[1:3], strict=True):
        if name not in names:
            raise ValueError(f'{column} {name!r} is no class of the header')
    try:
        scores = np.array([float(score) for score in row[3:]], np.float32)
    except ValueError:
        raise ValueError('a score is not a number') from None
    if not np.isfinite(scores).all():
        raise ValueError('a score is NaN or infinite')
    if scores[names.index(row[2])] < scores.max():
        raise ValueError(f'pred {row[2]!r} does not have the highest score')
    return names.index(row[1]), scores


def _no_predictions(path: str | Path, reason: str | None) -> DataError:
    if Path(path).name == PREDICTIONS_VAL_LAST_FILE:
        fix = 'Fix: put back the file, or delete it (the run then counts with its best epoch).'
    elif Path(path).name == PREDICTIONS_FILE:
        fix = f'Fix: write it again with {tool_command("test", "CONFIG", "CHECKPOINT")}'
    else:
        fix = 'Fix: put back the file, or leave this run out.'
    return DataError(
        f'{path}: is not a predictions file ({reason}). Expected the header image,label,pred,score_<class>... and one '
        f'row per photo. {fix}'
    )


@dataclass(frozen=True)
class Answers:
    """What a predictions file says about N photos without their scores: enough to count, and quick to read.

    Attributes:
        images: As in `Predictions`; length N.
        labels: Names of the true classes, length N.
        hits: Whether each photo is predicted right, bool, shape (N,).
        digest: SHA-256 of the file, in hex.
    """

    images: list[str]
    labels: list[str]
    hits: np.ndarray
    digest: str

    @classmethod
    def read_csv(cls, path: str | Path) -> 'Answers':
        """Read a file of `Predictions.write_csv`.

        The classes of all rows are checked. That ``pred`` has the highest score is checked in the first and last row.

        Raises:
            DataError: as `Predictions.read_csv`.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
            images, labels, answers = _plain_columns(content)
        except (OSError, ValueError):  # quotes, or no predictions file
            predictions = Predictions.read_csv(path)
            content, images, names = path.read_bytes(), predictions.images, predictions.class_names
            labels, answers = (
                [names[i] for i in numbers] for numbers in (predictions.labels, predicted_labels(predictions.scores))
            )
        hits = np.array([label == answer for label, answer in zip(labels, answers, strict=True)])
        # Comparisons hold hundreds of such files, which name the same photos.
        images, labels = list(map(sys.intern, images)), list(map(sys.intern, labels))
        return cls(images, labels, hits, hashlib.sha256(content).hexdigest())


def _plain_columns(content: bytes) -> tuple[list[str], list[str], list[str]]:
    """Return image, label and pred of all rows, five times faster than a CSV reader.

    Raises:
        ValueError: if a cell may need a CSV reader, or if anything is unusual.
    """
    if any(found in content for found in (b'"', b'\r', b"\n'", b",'")):
        raise ValueError('has quotes or other line ends')
    lines = io.BytesIO(content)
    names = _class_names(lines.readline().decode().rstrip('\n').split(','))
    images, labels, answers = [], [], []
    for line in lines:  # keeps no list of rows: Python would look through it for garbage again and again
        image, label, answer, scores = line.split(b',', 3)
        images.append(image.decode())
        labels.append(label.decode())
        answers.append(answer.decode())
        # Neither NaN nor infinite, and as many as classes.
        if scores.count(b',') != len(names) - 1 or scores.translate(None, delete=b'0123456789.,e+-\n'):
            raise ValueError('scores are not plain numbers')
    if not images or not {*labels, *answers} <= set(names):
        raise ValueError('has no photos or unknown classes')
    for row in (content.split(b'\n', 2)[1], line):
        _parse_row(row.decode().rstrip('\n').split(','), names)
    return images, labels, answers
