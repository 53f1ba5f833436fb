"""The scores of a model for every photo of a set, and the predictions file that all comparisons work from."""

import csv
import hashlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from flowercls.core.errors import DataError
from flowercls.core.files import atomic_write
from flowercls.core.terminal import tool_command
from flowercls.evaluate.metrics import all_figures, predicted_labels


def image_name(path: str | Path) -> str:
    """Return ``<class>/<file>``, the name of a photo in annotation files and predictions."""
    return '/'.join(PurePath(path).parts[-2:])


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
        if len(set(images)) < len(images) or any(fold.class_names != names for fold in folds):
            raise DataError(
                f'{source}: a photo is listed twice, or is in two folds, or the folds have different classes. Fix: use '
                'the lists of one call of prepare --folds.'
            )
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
        columns = [f'score_{name}' for name in self.class_names]
        self._write(path, columns, self.scores, range(len(self.images)))

    def write_mistakes_csv(self, path: str | Path) -> None:
        """Write one row per photo of `mistakes`: ``image,label,pred,score`` with the predicted class's score."""
        self._write(path, ['score'], self.scores.max(axis=1, keepdims=True), self.mistakes())

    def _write(self, path: str | Path, columns: list[str], scores: np.ndarray, numbers: Sequence[int]) -> None:
        names, predicted = self.class_names, predicted_labels(self.scores)
        with atomic_write(path) as file:
            writer = csv.writer(file, lineterminator='\n')
            writer.writerow(['image', 'label', 'pred', *columns])
            for i in numbers:
                # Nine digits restore every float32 exactly.
                cells = [f'{score:.9g}' for score in scores[i]]
                writer.writerow([self.images[i], names[self.labels[i]], names[predicted[i]], *cells])

    @classmethod
    def read_csv(cls, path: str | Path) -> 'Predictions':
        """Read a file of `write_csv`.

        Raises:
            DataError: if the file is missing or is not a predictions file.
        """
        try:
            with Path(path).open(encoding='utf-8', newline='') as file:
                header, *rows = csv.reader(file)
            if not rows:
                raise ValueError('it lists no photos')
            names = [column.removeprefix('score_') for column in header[3:]]
            labels = [names.index(row[1]) for row in rows]
            scores = np.array([[float(score) for score in row[3:]] for row in rows], np.float32)
            if not names or scores.shape != (len(rows), len(names)):
                raise ValueError('a row does not have one score per class')
            if not np.isfinite(scores).all():
                raise ValueError('a score is NaN or infinite')
        except (OSError, ValueError, IndexError, csv.Error) as error:
            raise DataError(
                f'{path}: is not a predictions file ({error}). Expected the header image,label,pred,score_<class>... '
                f'Fix: write it again with {tool_command("test", "CONFIG", "CHECKPOINT")}'
            ) from error
        return cls([row[0] for row in rows], np.array(labels), scores, names)


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
    if b'"' in content or b'\r' in content:
        raise ValueError('has quotes or other line ends')
    lines = io.BytesIO(content)
    names = [column.removeprefix('score_') for column in lines.readline().decode().rstrip('\n').split(',')[3:]]
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
    return images, labels, answers
