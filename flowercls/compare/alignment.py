"""Hits of all runs on the same photos in the same order; runs on different photos are refused."""

from collections.abc import Callable

import numpy as np

from flowercls.compare.grouping import Setting
from flowercls.compare.runs import FinishedRun
from flowercls.core.errors import DataError
from flowercls.evaluate.predictions import Predictions

NUM_NAMED = 3  # photos in a message
FIX = 'Fix: compare runs on one prepared folder and one list of photos, or leave one of these out.'

Answers = dict[str, tuple[str, str]]  # by image: its label and its prediction


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
    reference: tuple[str, Answers] | None = None
    for name, groups in rows.items():
        hits_of_setting = []
        for runs in groups:
            answers, where = _join(runs, read), ', '.join(str(run.folder) for run in runs)
            reference = reference or (where, answers)
            _check_same_photos(*reference, where, answers)
            hits_of_setting.append([answers[image][0] == answers[image][1] for image in reference[1]])
        hits[name] = np.array(hits_of_setting)
    return hits


def _join(runs: list[FinishedRun], read: Callable[[FinishedRun], Predictions]) -> Answers:
    answers: Answers = {}
    for run in runs:
        predictions = read(run)
        names = predictions.class_names
        for image, label, scores in zip(predictions.images, predictions.labels, predictions.scores, strict=True):
            if image in answers:
                raise DataError(f'{run.folder}: {image} is in more than one fold, or twice in one list. {FIX}')
            answers[image] = names[label], names[scores.argmax()]
    return answers


def _check_same_photos(first_folders: str, first: Answers, second_folders: str, second: Answers) -> None:
    if first.keys() != second.keys():
        only_first, only_second = sorted(first.keys() - second.keys()), sorted(second.keys() - first.keys())
        raise DataError(
            f'{first_folders} and {second_folders}: have predictions for different photos: {len(only_first):,} only in '
            f'the first{_examples(only_first)}, {len(only_second):,} only in the second{_examples(only_second)}. {FIX}'
        )
    relabelled = [image for image in first if first[image][0] != second[image][0]]
    if relabelled:
        image = relabelled[0]
        raise DataError(
            f'{first_folders} and {second_folders}: {len(relabelled):,} photos have different labels'
            f'{_examples(relabelled)}; {image} is {first[image][0]} in the first and {second[image][0]} in the second. '
            f'{FIX}'
        )


def _examples(images: list[str]) -> str:
    more = ', ...' if len(images) > NUM_NAMED else ''
    return f' ({", ".join(images[:NUM_NAMED])}{more})' if images else ''
