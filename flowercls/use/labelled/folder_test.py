"""The story of ``test MODEL --data FOLDER``: the answers for all photos of the folder, and their figures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowercls.core.errors import ConfigError, OutOfMemoryError
from flowercls.core.files import atomic_write
from flowercls.core.prepared_folder import manifest_hash
from flowercls.evaluate.metrics import DATA_SPLIT
from flowercls.evaluate.predictions import Predictions, csv_line, escaped
from flowercls.use.labelled.overlap import Seen, seen_photos, training_of
from flowercls.use.labelled.truth import LabelledPhotos
from flowercls.use.model import Model
from flowercls.use.predict import predict


@dataclass(frozen=True)
class FolderTest:
    """What a test of a folder gives.

    Attributes:
        predictions: Of every photo that could be read.
        metrics: The content of metrics.json.
        paths: The files of the photos, in the same order.
        seen: Which of them the model has seen.
        broken: Name and reason of the photos and folders that could not be read.
    """

    predictions: Predictions
    metrics: dict
    paths: list[Path]
    seen: Seen
    broken: list[tuple[str, str]]

    def write_seen_csv(self, path: Path) -> None:
        """Write a row for each photo that the model has seen: ``image,seen``."""
        with atomic_write(path) as file:
            file.write(csv_line(['image', 'seen']))
            rows = [(number, 'trained on') for number in self.seen.trained_on]
            rows += [(number, 'chose the epoch') for number in self.seen.chose_epoch]
            for number, how in sorted(rows):
                file.write(csv_line([escaped(self.predictions.images[number]), how]))


class WithMirrorImages(Model):
    """A model that averages its scores for each photo and its mirror image.

    Raises:
        ConfigError: if the config of the run has a ``tta_pipeline`` of its own, which is for its data sets.
    """

    def __init__(self, model: Model) -> None:
        if (getattr(model, 'config', None) or {}).get('tta_pipeline'):
            raise ConfigError('--tta: with --data the tta_pipeline of a config is not used. Fix: leave --tta out.')
        self._model = model
        self.source, self.class_names, self.facts = model.source, model.class_names, model.facts
        self.calibration, self.batch_size = None, model.batch_size

    def prepare(self, rgb):
        """Return what the model takes."""
        return self._model.prepare(rgb)

    def classify(self, prepared):
        """Return mean probabilities, shape (N, C)."""
        mirrored = [self._model.mirrored(photo) for photo in prepared]
        return (self._model.classify(prepared) + self._model.classify(mirrored)) / 2


def evaluate_folder(model: Model, folder: Path, found: LabelledPhotos, *, tta: bool = False) -> FolderTest | None:
    """Classify photos of known classes and compute the figures of a test.

    Args:
        model: To test.
        folder: Where the photos lie.
        found: The photos.
        tta: Whether to average the scores of each photo and its mirror image.

    Returns:
        None if no photo could be read.
    """
    photos, rows = found.photos, []
    answering = WithMirrorImages(model) if tta else model
    try:
        summary = predict(answering, photos, topk=1, explain=rows.extend)
    except OutOfMemoryError as error:
        raise OutOfMemoryError(
            f'{model.batch_size} photos at once do not fit into memory. Fix: free memory, or test an export of the '
            'model, which takes fewer at once.'
        ) from error
    broken = summary.broken + photos.unreadable
    if not rows:
        return None
    good = [row.number for row in rows]
    photos = photos.chosen(good)
    labels = np.array([found.labels[number] for number in good])
    predictions = Predictions(photos.images, labels, np.stack([row.scores for row in rows]), model.class_names)
    seen = seen_photos(model, folder, photos)
    training = training_of(model)
    metrics = {
        **predictions.metrics(),
        'epoch': training.get('epoch'),
        'checkpoint': model.source.name,
        'split': DATA_SPLIT,
        'data': folder.resolve().name,
        'data_manifest': manifest_hash(folder),
        'seed': training.get('seed'),
        'tta': tta,
        'left_out': found.left_out,
        'unreadable': len(broken),
        'seen': _seen_figures(seen, predictions),
    }
    return FolderTest(predictions, metrics, photos.paths, seen, broken)


def _seen_figures(seen: Seen, predictions: Predictions) -> dict:
    """Return how many photos the model has seen, and its hits among the ``n`` others."""
    if seen.unknown:
        return {'unknown': seen.unknown}
    others = sorted({*range(len(predictions.images))} - seen.all)
    return {
        'trained_on': len(seen.trained_on),
        'chose_epoch': len(seen.chose_epoch),
        'n': len(others),
        'hits': int(predictions.hits[others].sum()),
    }
