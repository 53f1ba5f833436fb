"""Hits of all runs on the same photos in the same order; runs on different photos are refused."""

from collections.abc import Callable
from itertools import permutations

import numpy as np

from flowercls.compare.grouping import Setting
from flowercls.compare.runs import FinishedRun
from flowercls.core.errors import DataError
from flowercls.evaluate.predictions import Predictions

NUM_NAMED = 3  # photos in a message
FIX = 'Fix: compare runs on one prepared folder and one list of photos, or leave one of these out.'


def validation_hits(settings: list[Setting]) -> dict[str, np.ndarray]:
    """Return, by setting, whether each seed was right: bool, shape (seeds, photos). The folds of a seed are joined.

    Raises:
        DataError: if data manifests, photos or labels are not the same everywhere.
    """
    first, *others = [run for setting in settings for run in setting.all_runs]
    for run in others:
        manifests = (first.data_manifest, run.data_manifest)
        if manifests[0] != manifests[1]:
            raise DataError(
                f'{first.folder} and {run.folder}: were trained on differently prepared folders (data manifest '
                f'{" and ".join(str(digest)[:12] for digest in manifests)}), so they cannot be compared. {FIX}'
            )
    rows = {s.name: [list(folds.values()) for _, folds in sorted(s.runs.items())] for s in settings}
    return _align(rows, lambda run: run.predictions)


def test_hits(settings: list[Setting]) -> dict[str, np.ndarray]:
    """Return, by setting, whether each run tested on the test set was right: bool, shape (tested runs, photos).

    Raises:
        DataError: if photos or labels are not the same everywhere.
    """
    rows = {setting.name: [[run] for run in setting.all_runs if run.test is not None] for setting in settings}
    return _align({name: runs for name, runs in rows.items() if runs}, lambda run: run.test)


def _align(
    rows: dict[str, list[list[FinishedRun]]], read: Callable[[FinishedRun], Predictions]
) -> dict[str, np.ndarray]:
    """Return the hits of each row of runs, which together have seen every photo once."""
    hits: dict[str, np.ndarray] = {}
    first: tuple[str, Predictions] | None = None
    for name, groups in rows.items():
        hits_of_setting = []
        for runs in groups:
            source = ', '.join(str(run.folder) for run in runs)
            joined = Predictions.join([read(run) for run in runs], source)
            first = first or (source, joined)
            _check_same_photos(*first, source, joined)
            hits_of_setting.append(joined.hits)
        hits[name] = np.array(hits_of_setting)
    return hits


def _check_same_photos(first_folders: str, first: Predictions, second_folders: str, second: Predictions) -> None:
    if first.images != second.images:
        only_first, only_second = (sorted(set(a) - set(b)) for a, b in permutations((first.images, second.images)))
        raise DataError(
            f'{first_folders} and {second_folders}: have predictions for different photos: {len(only_first):,} only in '
            f'the first{_examples(only_first)}, {len(only_second):,} only in the second{_examples(only_second)}. {FIX}'
        )
    first_labels, second_labels = (np.array(p.class_names)[p.labels] for p in (first, second))
    relabelled = np.flatnonzero(first_labels != second_labels)
    if len(relabelled):
        i = relabelled[0]
        raise DataError(
            f'{first_folders} and {second_folders}: {len(relabelled):,} photos have different labels'
            f'{_examples([first.images[k] for k in relabelled])}; {first.images[i]} is {first_labels[i]} in the first '
            f'and {second_labels[i]} in the second. {FIX}'
        )


def _examples(images: list[str]) -> str:
    more = ', ...' if len(images) > NUM_NAMED else ''
    return f' ({", ".join(images[:NUM_NAMED])}{more})' if images else ''
