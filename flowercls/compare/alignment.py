"""Hits of all runs on the same photos in the same order; runs on different photos are refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np

from flowercls.compare.grouping import Setting
from flowercls.compare.runs import FinishedRun
from flowercls.config.schema import at_path
from flowercls.core.errors import DataError
from flowercls.core.layout import SET_TITLES, TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.core.prepared_folder import photo_groups
from flowercls.evaluate.predictions import FIX_FOLDS, Answers, first_repeated
from flowercls.evaluate.significance.hits import Hits

NUM_NAMED = 3  # photos in a message
FIX = 'Fix: compare runs on one prepared folder and one list of photos, or leave one of these out.'


@dataclass(frozen=True)
class Alignment:
    """The hits of a comparison.

    Attributes:
        validation: Of all settings. The folds of a seed are joined.
        test: Of each run that was tested on the test set; None without such runs.
        groups_unknown: Why nobody knows which photos belong together; empty if that is known.
    """

    validation: Hits
    test: Hits | None
    groups_unknown: str


@dataclass(frozen=True)
class _Row:
    """The joined answers of some runs, which together have seen every photo once, sorted by photo."""

    folders: str
    images: list[str]
    labels: list[str]
    hits: np.ndarray
    folds: np.ndarray


def align(settings: list[Setting]) -> Alignment:
    """Find which run was right about which photo.

    Raises:
        DataError: if data manifests, photos, labels or folds are not the same everywhere.
    """
    runs = [run for setting in settings for run in setting.all_runs]
    _check_same_manifest(runs)
    rows = {s.name: [list(folds.values()) for _, folds in sorted(s.runs.items())] for s in settings}
    validation, images = _align(rows, lambda run: run.answers)
    if len({run.fold for run in runs}) == 1:  # also one and the same fold of all
        validation = replace(validation, folds=None)
    tested = {s.name: [[run] for run in s.all_runs if run.test is not None] for s in settings}
    tested = {name: runs for name, runs in tested.items() if runs}
    test, test_images = _align(tested, lambda run: run.test) if tested else (None, [])
    if test:
        test = replace(test, folds=None)
    prefix = str(at_path(runs[0].config, 'val_dataloader.dataset.data_prefix'))
    try:
        groups = _read_groups(runs)
        sets = (prefix,) if prefix in SET_TITLES else (TRAIN_DIR, VAL_DIR)  # folds mix these two
        validation = replace(validation, groups=_groups_of(images, groups, sets))
        if test:
            test = replace(test, groups=_groups_of(test_images, groups, (TEST_DIR,)))
    except DataError as error:
        return Alignment(validation, test, str(error))
    return Alignment(validation, test, '')


def _check_same_manifest(runs: list[FinishedRun]) -> None:
    first, *others = runs
    for run in others:
        manifests = (first.data_manifest, run.data_manifest)
        if manifests[0] != manifests[1]:
            raise DataError(
                f'{first.folder} and {run.folder}: were trained on differently prepared folders (data manifest '
                f'{" and ".join(str(digest)[:12] for digest in manifests)}), so they cannot be compared. {FIX}'
            )


def _align(rows: dict[str, list[list[FinishedRun]]], read: Callable[[FinishedRun], Answers]) -> tuple[Hits, list[str]]:
    """Return the hits of each row of runs, with the fold of each photo, and the photos."""
    first, hits = None, {}
    for name, groups in rows.items():
        joined = [_join(runs, read) for runs in groups]
        first = first or joined[0]
        for row in joined:
            _check_same_photos(first, row)
        hits[name] = np.array([row.hits for row in joined])
    return Hits(hits, first.folds), first.images


def _join(runs: list[FinishedRun], read: Callable[[FinishedRun], Answers]) -> _Row:
    folders, answers = ', '.join(str(run.folder) for run in runs), [read(run) for run in runs]
    images, labels = ([item for part in answers for item in getattr(part, name)] for name in ('images', 'labels'))
    if repeated := first_repeated(images):
        raise DataError(f'{folders}: {repeated} is in two folds. {FIX_FOLDS}')
    order = sorted(range(len(images)), key=images.__getitem__)
    folds = np.repeat([0 if run.fold is None else run.fold for run in runs], [len(part.images) for part in answers])
    hits = np.concatenate([part.hits for part in answers])
    return _Row(folders, [images[i] for i in order], [labels[i] for i in order], hits[order], folds[order])


def _check_same_photos(first: _Row, second: _Row) -> None:
    where = f'{first.folders} and {second.folders}'
    if first.images != second.images:
        only_first, only_second = (sorted(set(a) - set(b)) for a, b in permutations((first.images, second.images)))
        raise DataError(
            f'{where}: have predictions for different photos: {len(only_first):,} only in '
            f'the first{_examples(only_first)}, {len(only_second):,} only in the second{_examples(only_second)}. {FIX}'
        )
    if first.labels != second.labels:
        relabelled = [
            i for i, labels in enumerate(zip(first.labels, second.labels, strict=True)) if len(set(labels)) > 1
        ]
        i = relabelled[0]
        raise DataError(
            f'{where}: {len(relabelled):,} {"photos have" if len(relabelled) > 1 else "photo has"} different labels'
            f'{_examples([first.images[k] for k in relabelled])}; {first.images[i]} is {first.labels[i]} in the first '
            f'and {second.labels[i]} in the second. {FIX}'
        )
    if len(moved := np.flatnonzero(first.folds != second.folds)):
        i = moved[0]
        raise DataError(
            f'{where}: {len(moved):,} {"photos were" if len(moved) > 1 else "photo was"} validated in different folds'
            f'{_examples([first.images[k] for k in moved])}; {first.images[i]} in fold {first.folds[i]} of the first '
            f'and in fold {second.folds[i]} of the second. {FIX}'
        )


def _examples(images: list[str]) -> str:
    more = ', ...' if len(images) > NUM_NAMED else ''
    return f' ({", ".join(images[:NUM_NAMED])}{more})' if images else ''


def _read_groups(runs: list[FinishedRun]) -> dict[str, int]:
    """Return the groups of the photos from the first place of the data where they are as the runs have seen them.

    Raises:
        DataError: saying why the groups are unknown.
    """
    digest = runs[0].data_manifest
    if not digest:
        raise DataError('these runs were trained on a folder without a manifest.')
    roots = dict.fromkeys(str(run.config.get('data_root')) for run in runs)
    errors = []
    for root in roots:
        try:
            return photo_groups(root, digest)
        except DataError as error:
            errors.append(error)
    if not any(root.is_absolute() or root.exists() for root in map(Path, roots)):
        raise DataError(f'{errors[0]} Fix: compare in the folder where the runs were trained.')
    raise errors[0]


def _groups_of(images: list[str], groups: dict[str, int], sets: Sequence[str]) -> np.ndarray:
    """Return the number of the group of each photo, from 0."""
    found = {}
    for file, group in groups.items():
        set_name, _, image = file.partition('/')
        if set_name in sets:
            found[image] = group
    if unknown := [image for image in images if image not in found]:
        raise DataError(f'the manifest does not list {len(unknown):,} of the photos{_examples(unknown)}.')
    return np.unique([found[image] for image in images], return_inverse=True)[1]
