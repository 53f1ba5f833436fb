"""What a model said about every photo of a set: the file that all comparisons work from, and its metrics."""

import csv
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from flowercls.core.errors import DataError
from flowercls.core.files import atomic_write
from flowercls.evaluate import metrics
from flowercls.evaluate.intervals import wilson_interval


def image_name(path: str | Path) -> str:
    """``<class>/<file>``, as a photo is named in annotation files and predictions."""
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

    def metrics(self) -> dict:
        """The figures of ``metrics.json``; percentages are 0-100, ``nll`` is in nats, ``confusion`` in photos."""
        per_class = metrics.per_class_scores(self.scores, self.labels)
        confusion = metrics.confusion_matrix(self.scores, self.labels)
        return {
            'top1': metrics.top1_accuracy(self.scores, self.labels),
            'top1_interval': list(wilson_interval(int(confusion.trace()), len(self.labels))),
            'n': len(self.labels),
            'nll': metrics.negative_log_likelihood(self.scores, self.labels),
            'ece': metrics.expected_calibration_error(self.scores, self.labels),
            'per_class': dict(zip(self.class_names, _rows(per_class), strict=True)),
            'macro': metrics.macro_scores(per_class),
            'confusion': confusion.tolist(),
            'most_confused': [
                {'true': self.class_names[true], 'pred': self.class_names[pred], 'photos': photos}
                for true, pred, photos in metrics.most_confused(confusion)
            ],
            'reliability': _rows(metrics.reliability_bins(self.scores, self.labels)),
        }

    def mistakes(self) -> list[int]:
        """Numbers of the photos whose prediction is wrong, the most confident first."""
        wrong = np.flatnonzero(metrics.predicted_labels(self.scores) != self.labels)
        return wrong[np.argsort(-self.scores[wrong].max(axis=1), kind='stable')].tolist()

    def write_mistakes_csv(self, path: str | Path) -> None:
        """Write the `mistakes`, one row each: ``image,label,pred,score``, the score being the predicted class's."""
        names = self.class_names
        with atomic_write(path) as file:
            writer = csv.writer(file, lineterminator='\n')
            writer.writerow(['image', 'label', 'pred', 'score'])
            for i in self.mistakes():
                scores = self.scores[i]
                pred = names[scores.argmax()]
                writer.writerow([self.images[i], names[self.labels[i]], pred, f'{scores.max():.9g}'])

    def write_csv(self, path: str | Path) -> None:
        """Write one row per photo: ``image,label,pred,score_<class>...``, whole or not at all."""
        names = self.class_names
        with atomic_write(path) as file:
            writer = csv.writer(file, lineterminator='\n')
            writer.writerow(['image', 'label', 'pred', *(f'score_{name}' for name in names)])
            for image, label, scores in zip(self.images, self.labels, self.scores, strict=True):
                # Nine digits bring back every float32 exactly.
                writer.writerow([image, names[label], names[scores.argmax()], *(f'{score:.9g}' for score in scores)])

    @classmethod
    def read_csv(cls, path: str | Path) -> 'Predictions':
        """Read what `write_csv` wrote.

        Raises:
            DataError: if the file is missing or is not a predictions file.
        """
        try:
            with Path(path).open(encoding='utf-8', newline='') as file:
                header, *rows = csv.reader(file)
            if not rows:
                raise ValueError('no photos in it')
            names = [column.removeprefix('score_') for column in header[3:]]
            labels = [names.index(row[1]) for row in rows]
            scores = np.array([[float(score) for score in row[3:]] for row in rows], np.float32)
            if not names or scores.shape != (len(rows), len(names)):
                raise ValueError('not one score for each class in every row')
            if not np.isfinite(scores).all():
                raise ValueError('a score is no number')
        except (OSError, ValueError, IndexError, csv.Error) as error:
            raise DataError(
                f'{path}: is not a predictions file ({error}). Expected the header image,label,pred,score_<class>... '
                'Fix: python tools/test.py CONFIG CHECKPOINT writes one.'
            ) from error
        return cls([row[0] for row in rows], np.array(labels), scores, names)


def _rows(columns: dict[str, np.ndarray]) -> list[dict]:
    """One dict of plain numbers for each row of a table given by columns."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]
