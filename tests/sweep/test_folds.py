"""The predictions of all folds as one file."""

from dataclasses import replace

import numpy as np
import pytest

from flowercls.config import resolve_config
from flowercls.core.errors import DataError
from flowercls.evaluate.predictions import Predictions
from flowercls.sweep.folds import FOLD_KEY, collect_out_of_fold, mean_over_seeds
from flowercls.sweep.ledger import FAILED, FINISHED
from flowercls.sweep.scheduler import TrialState
from flowercls.sweep.spec import Level, SweepSpec
from flowercls.sweep.sweeper import SweepPlan, run_sweep


def predictions(images, labels, hit):
    scores = np.array([[0.75, 0.25] if (label == 0) == hit else [0.25, 0.75] for label in labels], np.float32)
    return Predictions(images, np.array(labels), scores, ['daisy', 'rose'])


@pytest.fixture
def folds(make_trial, write_config, tmp_path):
    """Two folds of a sweep: two photos that are both predicted right, and one that is not."""
    made, config = [], str(write_config(tmp_path, data_root=tmp_path))
    first, second = 'val_set/rose/b.jpg 1\ntraining_set/daisy/c.jpg 0\n', 'training_set/daisy/a.jpg 0\n'
    for name, text in {'classes': 'daisy\nrose\n', 'train': '', 'val': '', 'fold_0_val': first, 'fold_1_train': first,
                       'fold_1_val': second, 'fold_0_train': second}.items():  # fmt: skip
        (tmp_path / f'{name}.txt').write_text(text)
    parts = {'fold=0': (['rose/b.jpg', 'daisy/c.jpg'], [1, 0], True), 'fold=1': (['daisy/a.jpg'], [0], False)}
    for k, (name, part) in enumerate(parts.items()):
        folder = tmp_path / name
        folder.mkdir()
        predictions(*part).write_csv(folder / 'predictions_val.csv')
        cfg, _ = resolve_config(config, lists_of(k))
        made.append(TrialState(make_trial(name, cfg=cfg), folder, FINISHED))
    return made


def with_levels(state, levels, seed):
    setting = replace(state.trial.setting, levels=tuple(levels))
    return replace(state, trial=replace(state.trial, setting=setting, seed=seed))


def sweep(*factors):
    return SweepSpec('s.py', 'a.py', tuple(factors), (0,), {})


def lists_of(k):
    return {'train_dataloader.dataset.ann_file': f'fold_{k}_train.txt', FOLD_KEY: f'fold_{k}_val.txt'}


FOLDS = tuple(Level(f'fold={k}', lists_of(k)) for k in range(2))


def test_every_photo_is_in_the_file_once_in_order(folds, tmp_path):
    (written,), notes = collect_out_of_fold(sweep(FOLDS), folds, tmp_path)
    assert written.path == tmp_path / 'oof_predictions.csv' and written.top1 == pytest.approx(100 * 2 / 3)
    read = Predictions.read_csv(written.path)
    assert read.images == ['daisy/a.jpg', 'daisy/c.jpg', 'rose/b.jpg'] and read.labels.tolist() == [0, 0, 1]
    assert read.scores[:, 0].tolist() == [0.25, 0.75, 0.25]


def test_lists_of_a_wrapped_dataset_are_read(folds, tmp_path):
    for state in folds:
        loader = state.trial.cfg.train_dataloader
        loader.dataset = dict(type='RepeatDataset', times=2, dataset=loader.dataset)
    assert len(collect_out_of_fold(sweep(FOLDS), folds, tmp_path)[0]) == 1


@pytest.mark.parametrize(
    ('number', 'words'),
    [(2, ['seed0: fold=1 not finished']), (1, ['its 1 folds validate 2 of 3 photos', '--folds'])],
)
def test_some_of_the_folds_leave_no_file(folds, tmp_path, number, words):
    folds[1].status = FAILED
    written, (note,) = collect_out_of_fold(sweep(FOLDS[:number]), folds[:number], tmp_path)
    assert written == [] and not (tmp_path / 'oof_predictions.csv').exists()
    assert all(word in note for word in words)


def test_a_file_of_an_earlier_start_is_named(folds, tmp_path):
    assert collect_out_of_fold(sweep(FOLDS), folds, tmp_path)[1] == []
    (tmp_path / 'oof_predictions_seed1.csv').touch()
    (note,) = collect_out_of_fold(sweep(FOLDS), folds, tmp_path)[1]
    assert note.endswith('kept: oof_predictions_seed1.csv')
    folds[0].status = FAILED
    _, note = collect_out_of_fold(sweep(FOLDS), folds, tmp_path)[1]
    assert note.endswith('kept: oof_predictions.csv, oof_predictions_seed1.csv')


def test_lists_that_are_gone_or_overlap_are_refused(folds, tmp_path):
    (tmp_path / 'fold_0_train.txt').unlink()
    with pytest.raises(DataError, match='fold_0_train.txt: no such file'):
        collect_out_of_fold(sweep(FOLDS), folds, tmp_path)
    predictions(['daisy/a.jpg', 'rose/b.jpg'], [0, 1], True).write_csv(folds[1].folder / 'predictions_val.csv')
    with pytest.raises(DataError, match='--folds'):
        collect_out_of_fold(sweep(FOLDS), folds, tmp_path)


def test_an_ordinary_sweep_has_none(folds, tmp_path):
    assert collect_out_of_fold(sweep((Level('a', {'x': 1}),)), folds, tmp_path) == ([], [])


def test_other_factors_and_seeds_get_files_of_their_own(folds, make_trial, tmp_path):
    rates = ('lr=1', 'lr=2')
    both = [
        with_levels(state, [lr, *state.trial.setting.levels], seed)
        for state in folds
        for lr in rates
        for seed in (0, 1)
    ]
    lrs = tuple(Level(name, {'lr': 1}) for name in rates)
    names = [written.path.name for written in collect_out_of_fold(sweep(lrs, FOLDS), both, tmp_path)[0]]
    assert sorted(names) == [f'oof_predictions_lr={lr},seed{seed}.csv' for lr in (1, 2) for seed in (0, 1)]


def test_the_name_of_a_file_is_never_too_long(folds, tmp_path):
    factors = [f'{letter * 100}=1' for letter in 'abc']
    of_two_seeds = [
        with_levels(state, [*factors, *state.trial.setting.levels], seed) for state in folds for seed in (0, 1)
    ]
    all_factors = [(Level(name, {name[0]: 1}),) for name in factors]
    written, _ = collect_out_of_fold(sweep(*all_factors, FOLDS), of_two_seeds, tmp_path)
    assert len({item.path.name for item in written}) == 2 and all(item.path.is_file() for item in written)


def test_seeds_are_averaged_photo_by_photo(folds, tmp_path):
    (written,), notes = collect_out_of_fold(sweep(FOLDS), folds, tmp_path)
    half = replace(written, predictions=replace(written.predictions, scores=np.full((3, 2), 0.5, np.float32)))
    assert mean_over_seeds([written, half]).scores[:, 0].tolist() == [0.375, 0.625, 0.375]
    fewer = replace(written, predictions=replace(written.predictions, images=['daisy/a.jpg']))
    with pytest.raises(DataError, match='other photos'):
        mean_over_seeds([written, fewer])


def test_a_mistake_in_the_folds_does_not_lose_the_trials(folds, fake_launcher, tmp_path):
    (tmp_path / 'sweep').mkdir()
    plan = SweepPlan(sweep(FOLDS), {}, [state.trial for state in folds], tmp_path / 'sweep')
    result = run_sweep(plan, fake_launcher())  # whose runs have no predictions
    assert [state.status for state in result.states] == [FINISHED, FINISHED]
    assert isinstance(result.error, DataError) and list(result.out_of_fold) == []
    assert result.notes == [f'no out-of-fold predictions: {result.error}']
