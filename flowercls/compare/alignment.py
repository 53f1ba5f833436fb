"""Hits of every run on the same photos in one order; anything else is not compared."""

from collections.abc import Callable

import numpy as np

from flowercls.compare.grouping import Setting
from flowercls.compare.runs import FinishedRun
from flowercls.core.errors import DataError
from flowercls.evaluate.predictions import Predictions

NAMED = 3  # photos in a message
FIX = 'Fix: compare runs on one prepared folder and one list of photos, or leave one of these out.'


def validation_hits(settings: list[Setting]) -> dict[str, np.ndarray]:
    """By setting: whether each seed was right, bool, shape (seeds, photos); the folds of a seed are put together.

    Raises:
        DataError: if data manifests, photos or labels are not the same everywhere.
    """
    _check_same_manifest([run for setting in settings for runs in setting.runs.values() for run in runs])
    rows = {setting.name: [runs for _, runs in sorted(setting.runs.items())] for setting in settings}
    return _aligned(rows, lambda run: run.predictions)


def test_hits(settings: list[Setting]) -> dict[str, np.ndarray]:
    """The same on the test set: of each setting the runs that were tested, shape (tested runs, photos).

    Raises:
        DataError: if photos or labels are not the same everywhere.
    """
    rows = {
        setting.name: [[run] for _, runs in sorted(setting.runs.items()) for run in runs if run.test is not None]
        for setting in settings
    }
    return _aligned({name: runs for name, runs in rows.items() if runs}, lambda run: run.test)


def _aligned(
    rows: dict[str, list[list[FinishedRun]]], read: Callable[[FinishedRun], Predictions]
) -> dict[str, np.ndarray]:
    """Hits of each row of runs that together have seen every photo once."""
    hits, first = {}, None
    for name, groups in rows.items():
        found = []
        for runs in groups:
            said = _together(runs, read)
            where = ', '.join(str(run.folder) for run in runs)
            first = first or (where, said)
            _check_same_photos(*first, where, said)
            found.append([said[image][0] == said[image][1] for image in first[1]])
        hits[name] = np.array(found)
    return hits


def _together(runs: list[FinishedRun], read: Callable[[FinishedRun], Predictions]) -> dict[str, tuple[str, str]]:
    """By image its label and what was predicted; folds are disjoint, a photo in two of them is not counted twice."""
    said: dict[str, tuple[str, str]] = {}
    for run in runs:
        found = read(run)
        names = found.class_names
        for image, label, scores in zip(found.images, found.labels, found.scores, strict=True):
            if image in said:
                raise DataError(f'{run.folder}: {image} is in more than one fold, or twice in one list. {FIX}')
            said[image] = names[label], names[scores.argmax()]
    return said


def _check_same_manifest(runs: list[FinishedRun]) -> None:
    first = runs[0]
    for run in runs:
        ours, theirs = first.metrics.get('data_manifest'), run.metrics.get('data_manifest')
        if ours != theirs:
            raise DataError(
                f'{first.folder} and {run.folder}: were trained on differently prepared folders (data manifest '
                f'{str(ours)[:12]} and {str(theirs)[:12]}), so their figures cannot be compared. {FIX}'
            )


def _check_same_photos(where: str, said: dict, other_where: str, other: dict) -> None:
    if said.keys() != other.keys():
        only, only_other = sorted(said.keys() - other.keys()), sorted(other.keys() - said.keys())
        raise DataError(
            f'{where} and {other_where}: have predictions for different photos: {len(only):,} only in the first'
            f'{_some(only)}, {len(only_other):,} only in the second{_some(only_other)}. {FIX}'
        )
    differ = [image for image in said if said[image][0] != other[image][0]]
    if differ:
        image = differ[0]
        raise DataError(
            f'{where} and {other_where}: {len(differ):,} photos have different labels{_some(differ)}; {image} is '
            f'{said[image][0]} in the first and {other[image][0]} in the second. {FIX}'
        )


def _some(images: list[str]) -> str:
    more = ', ...' if len(images) > NAMED else ''
    return f' ({", ".join(images[:NAMED])}{more})' if images else ''
