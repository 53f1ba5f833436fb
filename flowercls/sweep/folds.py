"""From the folds of a sweep: what was predicted for every prepared photo by a model that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowercls.config import resolve_config
from flowercls.core.errors import DataError
from flowercls.evaluate.predictions import Predictions, image_name
from flowercls.sweep.ledger import FINISHED
from flowercls.sweep.scheduler import Progress
from flowercls.sweep.spec import SweepFile
from flowercls.sweep.trials import short_name

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


def collect_out_of_fold(
    sweep: SweepFile, all_progress: Sequence[Progress], folder: Path
) -> tuple[list[OutOfFold], list[str]]:
    """Write ``oof_predictions.csv`` from the best checkpoints' predictions of all folds.

    With several seeds or further factors there is one file for each, named after it. It is written where all folds
    are finished and hold every photo of their lists.

    Returns:
        What was written, and a line for each file that was not, or is older.

    Raises:
        DataError: if a photo is in two folds, or a list or predictions cannot be read.
    """
    factor = fold_factor(sweep)
    if factor is None:
        return [], []
    groups: dict[tuple[tuple[str, ...], int], list[Progress]] = {}
    for progress in all_progress:
        others = tuple(choice for i, choice in enumerate(progress.trial.choices) if i != factor)
        groups.setdefault((others, progress.trial.seed), []).append(progress)
    written, notes = [], []
    for (setting, seed), folds in groups.items():
        name = short_name(','.join([*setting, f'seed{seed}']))
        if reason := _unfinished(folds) or _uncovered(folds):
            notes.append(f'no out-of-fold figure for {name}: {reason}')
            continue
        path = folder / ('oof_predictions.csv' if len(groups) == 1 else f'oof_predictions_{name}.csv')
        joined = join_folds(_files(folds))
        joined.write_csv(path)
        written.append(OutOfFold(path, joined, joined.metrics()['top1'], setting, folds))
    return written, notes + _older(folder, written)


def _files(folds: Sequence[Progress]) -> list[Path]:
    return [progress.folder / 'predictions_val.csv' for progress in folds]


def _unfinished(folds: Sequence[Progress]) -> str:
    names = [progress.folder.name for progress in folds if progress.state != FINISHED]
    return f'{", ".join(names)} not finished' if names else ''


def _uncovered(folds: Sequence[Progress]) -> str:
    """Why the folds are not all that belong together: together they validate every photo of their lists."""
    listed = {name for progress in folds for name in _listed(progress)}
    validated = {image for path in _files(folds) for image in Predictions.read_csv(path).images}
    if validated == listed:
        return ''
    return (
        f'its {len(folds)} folds validate {len(validated & listed):,} of {len(listed):,} photos. Fix: run all folds '
        'of one python tools/prepare_data.py ... --folds'
    )


def _listed(progress: Progress) -> set[str]:
    """The photos that a trial was trained or validated on."""
    cfg, _ = resolve_config(progress.trial.config, progress.trial.overrides)
    names = set()
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        path = Path(cfg.data_root, loader.dataset.ann_file)
        try:
            lines = path.read_text(encoding='utf-8-sig').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f'{path}: cannot be read ({error}). Fix: prepare the photos again.') from error
        names |= {image_name(line.rpartition(' ')[0]) for line in lines if line.strip()}
    return names


def _older(folder: Path, written: Sequence[OutOfFold]) -> list[str]:
    names = {path.name for path in folder.glob('oof_predictions*.csv')} - {found.path.name for found in written}
    if not names:
        return []
    which = 'is of an earlier start and was' if len(names) == 1 else 'are of earlier starts and were'
    return [f'{", ".join(sorted(names))}: {which} left there']


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
