"""The predictions of all folds as one file."""

from dataclasses import replace

import numpy as np
import pytest

from flowercls.config.sweep_file import Choice, SweepFile
from flowercls.errors import DataError
from flowercls.evaluation.predictions import Predictions
from flowercls.sweep.ledger import FAILED, FINISHED
from flowercls.sweep.out_of_fold import FOLD_KEY, collect_out_of_fold, mean_over_seeds
from flowercls.sweep.progress import Progress


def predictions(images, labels, hit):
    scores = np.array([[0.75, 0.25] if (label == 0) == hit else [0.25, 0.75] for label in labels], np.float32)
    return Predictions(images, np.array(labels), scores, ['daisy', 'rose'])


@pytest.fixture
def folds(make_trial, tmp_path):
    """Two folds of a sweep: in the first, both photos are hit, in the second, none of one."""
    made = []
    parts = {'fold=0': (['rose/b', 'daisy/c'], [1, 0], True), 'fold=1': (['daisy/a'], [0], False)}
    for name, part in parts.items():
        folder = tmp_path / name
        folder.mkdir()
        predictions(*part).write_csv(folder / 'predictions_val.csv')
        made.append(Progress(make_trial(name), folder, FINISHED))
    return made


def sweep(*factors):
    return SweepFile('s.py', 'a.py', tuple(factors), (0,), {})


FOLDS = tuple(Choice(f'fold={k}', {FOLD_KEY: f'folds/fold_{k}_val.txt'}) for k in range(2))


def test_every_photo_is_in_the_file_once_in_order(folds, tmp_path):
    (found,) = collect_out_of_fold(sweep(FOLDS), folds, tmp_path)
    assert found.path == tmp_path / 'oof_predictions.csv' and found.top1 == pytest.approx(100 * 2 / 3)
    read = Predictions.read_csv(found.path)
    assert read.images == ['daisy/a', 'daisy/c', 'rose/b'] and read.labels.tolist() == [0, 0, 1]
    assert read.scores[:, 0].tolist() == [0.25, 0.75, 0.25]


def test_a_fold_that_is_missing_leaves_no_file(folds, tmp_path):
    folds[1].state = FAILED
    assert collect_out_of_fold(sweep(FOLDS), folds, tmp_path) == []
    assert not (tmp_path / 'oof_predictions.csv').exists()


def test_an_ordinary_sweep_has_none(folds, tmp_path):
    assert collect_out_of_fold(sweep((Choice('a', {'x': 1}),)), folds, tmp_path) == []


def test_other_factors_and_seeds_get_files_of_their_own(folds, make_trial, tmp_path):
    both = [
        Progress(replace(p.trial, choices=(lr, *p.trial.choices), seed=seed), p.folder, FINISHED)
        for p in folds
        for lr in ('lr=1', 'lr=2')
        for seed in (0, 1)
    ]
    lrs = tuple(Choice(name, {'lr': 1}) for name in ('lr=1', 'lr=2'))
    names = [found.path.name for found in collect_out_of_fold(sweep(lrs, FOLDS), both, tmp_path)]
    assert sorted(names) == [f'oof_predictions_lr={lr},seed{seed}.csv' for lr in (1, 2) for seed in (0, 1)]


def test_folds_that_overlap_are_refused(folds, tmp_path):
    predictions(['rose/b'], [1], True).write_csv(folds[1].folder / 'predictions_val.csv')
    with pytest.raises(DataError, match='--folds'):
        collect_out_of_fold(sweep(FOLDS), folds, tmp_path)


def test_seeds_are_averaged_photo_by_photo(folds, tmp_path):
    (found,) = collect_out_of_fold(sweep(FOLDS), folds, tmp_path)
    other = replace(found, predictions=replace(found.predictions, scores=np.full((3, 2), 0.5, np.float32)))
    assert mean_over_seeds([found, other]).scores[:, 0].tolist() == [0.375, 0.625, 0.375]
    fewer = replace(found, predictions=replace(found.predictions, images=['daisy/a', 'daisy/c', 'rose/x']))
    with pytest.raises(DataError, match='other photos'):
        mean_over_seeds([found, fewer])
