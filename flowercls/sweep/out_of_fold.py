"""From the folds of a sweep: what was predicted for every prepared photo by a model that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowercls.config.sweep_file import SweepFile
from flowercls.errors import DataError
from flowercls.evaluation.predictions import Predictions
from flowercls.sweep.ledger import FINISHED
from flowercls.sweep.progress import Progress

FOLD_KEY = 'val_dataloader.dataset.ann_file'  # a factor that sets it is a factor of folds


def fold_factor(sweep: SweepFile) -> int | None:
    """Which of the sweep's factors chooses the fold; None in an ordinary sweep."""
    found = [i for i, choices in enumerate(sweep.factors) if all(FOLD_KEY in choice.overrides for choice in choices)]
    return found[0] if found else None


@dataclass(frozen=True)
class OutOfFold:
    """The joined predictions of one setting's folds with one seed.

    Attributes:
        path: The file they are in.
        predictions: Its content.
        top1: Over all photos, in percent.
        setting: The choices of the sweep's other factors.
        folds: The runs they come from.
    """

    path: Path
    predictions: Predictions
    top1: float
    setting: tuple[str, ...]
    folds: Sequence[Progress]


def collect_out_of_fold(sweep: SweepFile, all_progress: Sequence[Progress], folder: Path) -> list[OutOfFold]:
    """Write ``oof_predictions.csv`` from the best checkpoints' predictions of all folds.

    With several seeds or further factors there is one file for each, named after it. Folds that are not all finished
    are passed over.

    Raises:
        DataError: if the folds do not hold every photo once.
    """
    factor = fold_factor(sweep)
    if factor is None:
        return []
    groups: dict[tuple[tuple[str, ...], int], list[Progress]] = {}
    for progress in all_progress:
        others = tuple(choice for i, choice in enumerate(progress.trial.choices) if i != factor)
        groups.setdefault((others, progress.trial.seed), []).append(progress)
    written = []
    for (setting, seed), folds in groups.items():
        if all(progress.state == FINISHED for progress in folds):
            name = '' if len(groups) == 1 else f'_{",".join([*setting, f"seed{seed}"])}'
            path = folder / f'oof_predictions{name}.csv'
            joined = join_folds([progress.folder / 'predictions_val.csv' for progress in folds])
            joined.write_csv(path)
            written.append(OutOfFold(path, joined, joined.metrics()['top1'], setting, folds))
    return written


def join_folds(paths: Sequence[Path]) -> Predictions:
    """The predictions of all folds as one, sorted by photo.

    Raises:
        DataError: if a photo is in two folds, or the folds have other classes.
    """
    folds = [Predictions.read_csv(path) for path in paths]
    images = [image for fold in folds for image in fold.images]
    if len(set(images)) < len(images) or any(fold.class_names != folds[0].class_names for fold in folds):
        raise DataError(
            f'{paths[0].parents[1]}: the validation photos of its folds overlap, or have other classes, so they do not '
            'make up one set. Fix: name the lists of one python tools/prepare_data.py ... --folds in the sweep file.'
        )
    order = sorted(range(len(images)), key=images.__getitem__)
    labels, scores = (np.concatenate([getattr(fold, name) for fold in folds]) for name in ('labels', 'scores'))
    return Predictions([images[i] for i in order], labels[order], scores[order], folds[0].class_names)


def mean_over_seeds(seeds: Sequence[OutOfFold]) -> Predictions:
    """The mean of each photo's scores over several seeds of one setting.

    Raises:
        DataError: if they are of different photos.
    """
    first = seeds[0].predictions
    for found in seeds[1:]:
        other = found.predictions
        if (other.images, other.class_names) != (first.images, first.class_names):
            raise DataError(
                f'{found.path}: is of other photos or classes than {seeds[0].path.name}, so their mean says nothing. '
                'Fix: run both seeds with the lists of one python tools/prepare_data.py ... --folds.'
            )
    return replace(first, scores=np.mean([found.predictions.scores for found in seeds], axis=0))
