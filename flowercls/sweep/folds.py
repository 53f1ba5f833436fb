"""Out-of-fold predictions: each prepared photo, predicted by a model that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowercls.core.errors import DataError
from flowercls.core.layout import OOF_PREDICTIONS_STEM, PREDICTIONS_VAL_FILE
from flowercls.evaluate.predictions import Predictions, image_name
from flowercls.sweep.ledger import FINISHED
from flowercls.sweep.scheduler import TrialState
from flowercls.sweep.spec import SweepSpec
from flowercls.sweep.trials import annotation_lines, shorten_name

FOLD_KEY = 'val_dataloader.dataset.ann_file'  # a factor that sets it chooses the fold


@dataclass(frozen=True)
class OutOfFold:
    """The joined predictions of one setting's folds with one seed.

    Attributes:
        path: The file that holds them.
        predictions: Its content.
        top1: Over all photos, in percent.
        setting: The levels of the sweep's other factors.
        folds: The trials of the folds.
    """

    path: Path
    predictions: Predictions
    top1: float
    setting: tuple[str, ...]
    folds: Sequence[TrialState]


def collect_out_of_fold(
    spec: SweepSpec, states: Sequence[TrialState], folder: Path
) -> tuple[list[OutOfFold], list[str]]:
    """Write ``oof_predictions.csv`` from the predictions of all folds' best checkpoints; nothing without folds.

    With several seeds or other factors, each combination has a file named after it. A file is written if all its
    folds are finished and their validation sets make up all photos in their lists.

    Returns:
        The files written, and a note for each file that was not written or is older.

    Raises:
        DataError: if a photo is in two folds, or a list or predictions cannot be read.
    """
    is_fold = [all(FOLD_KEY in level.overrides for level in levels) for levels in spec.factors]
    if not any(is_fold):
        return [], []
    factor = is_fold.index(True)
    groups: dict[tuple[tuple[str, ...], int], list[TrialState]] = {}
    for state in states:
        levels = state.trial.setting.levels
        groups.setdefault((levels[:factor] + levels[factor + 1 :], state.trial.seed), []).append(state)
    written, notes = [], []
    for (setting, seed), folds in groups.items():
        name = shorten_name(','.join([*setting, f'seed{seed}']))
        if unfinished := [state.folder.name for state in folds if state.status != FINISHED]:
            notes.append(f'no out-of-fold predictions for {name}: {", ".join(unfinished)} not finished')
            continue
        of_folds = [Predictions.read_csv(state.folder / PREDICTIONS_VAL_FILE) for state in folds]
        predictions = Predictions.join(of_folds, name)
        lines = [line for state in folds for line in annotation_lines(state.trial.cfg)]
        listed = {image_name(line.rpartition(' ')[0]) for line in lines}
        if listed != set(predictions.images):
            notes.append(
                f'no out-of-fold predictions for {name}: its {len(folds)} folds validate '
                f'{len(listed.intersection(predictions.images)):,} of {len(listed):,} photos. Fix: run all folds that '
                'one call of prepare --folds has written'
            )
            continue
        path = folder / f'{OOF_PREDICTIONS_STEM}{"" if len(groups) == 1 else f"_{name}"}.csv'
        predictions.write_csv(path)
        written.append(OutOfFold(path, predictions, predictions.metrics()['top1'], setting, folds))
    older = {path.name for path in folder.glob(f'{OOF_PREDICTIONS_STEM}*.csv')} - {item.path.name for item in written}
    if older:
        notes.append(f'from an earlier start, and kept: {", ".join(sorted(older))}')
    return written, notes


def mean_over_seeds(seeds: Sequence[OutOfFold]) -> Predictions:
    """Return predictions with the mean of each photo's scores over several seeds of one setting.

    Raises:
        DataError: if the seeds have different photos or classes.
    """
    first = seeds[0].predictions
    for seed in seeds[1:]:
        if (seed.predictions.images, seed.predictions.class_names) != (first.images, first.class_names):
            raise DataError(
                f'{seed.path}: has other photos or classes than {seeds[0].path.name}, so their scores cannot be '
                'averaged. Fix: run both seeds with the lists of one call of prepare --folds.'
            )
    return replace(first, scores=np.mean([seed.predictions.scores for seed in seeds], axis=0))
