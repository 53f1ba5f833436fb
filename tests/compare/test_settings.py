"""Which runs are one setting, and its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from flowercls.compare.grouping import drop_incomplete_folds, group_settings
from flowercls.compare.runs import FinishedRun
from flowercls.core.errors import DataError


def runs_of(*configs, seeds=None):
    seeds = seeds or range(len(configs))
    return [
        FinishedRun(
            folder=Path(f'run{i}'), config=config, seed=seed, metrics={}, predictions=None, test=None, fold=None
        )
        for i, (config, seed) in enumerate(zip(configs, seeds, strict=True))
    ]


def config(frozen=0, lr=0.01, backbone='ResNet', **more):
    return {'model': {'frozen_stages': frozen, 'backbone': {'type': backbone}}, 'optim': {'lr': lr}, **more}


def names_of(*configs):
    return [setting.name for setting in group_settings(runs_of(*configs))]


def test_seeds_folders_and_loader_workers_make_no_setting():
    one = config(randomness={'seed': 0}, data_root='a', work_dir='x', load_from='here/net-0123abcd.pth')
    other = config(randomness={'seed': 1}, data_root='b', work_dir='y', load_from='there/net-0123abcd.pth')
    other['train_dataloader'] = {'num_workers': 4}
    (setting,) = group_settings(runs_of(one, other))
    assert sorted(setting.runs) == [0, 1] and setting.name == 'run0'


def test_names_are_what_differs_in_the_order_of_values():
    assert names_of(config('all'), config(3), config(0)) == [f'frozen_stages={v}' for v in ('0', '3', 'all')]
    assert names_of(config(2, 0.01), config(10, 0.001)) == ['frozen_stages=2', 'frozen_stages=10']
    assert names_of(config(backbone='ResNet'), config(backbone='VGG')) == ['backbone=ResNet', 'backbone=VGG']


def test_a_second_key_that_differs_with_the_first_is_told_beside_the_name():
    first, second = group_settings(runs_of(config(2, 0.01), config(3, 0.001)))
    assert (first.also, second.also) == ({'optim.lr': '0.01'}, {'optim.lr': '0.001'})


def test_weights_go_without_saying_unless_there_are_none_or_others():
    assert names_of(config(0, load_from='net.pth'), config(0, load_from=None), config(1, load_from='net.pth')) == [
        'frozen_stages=0, load_from=none',
        'frozen_stages=0',
        'frozen_stages=1',
    ]
    assert names_of(config(load_from='a.pth'), config(load_from='b.pth')) == ['load_from=a.pth', 'load_from=b.pth']


def test_weights_of_one_name_may_be_others_unless_the_name_has_their_hash():
    assert names_of(config(load_from='one/net.pth'), config(load_from='other/net.pth')) == [
        'load_from=one/net.pth',
        'load_from=other/net.pth',
    ]


def test_values_that_read_the_same_are_written_in_full():
    assert names_of(config(lr=0.0012345678), config(lr=0.0012345679)) == ['lr=0.0012345678', 'lr=0.0012345679']
    assert names_of(config(lists='a/train.txt'), config(lists='b/train.txt')) == [
        'lists=a/train.txt',
        'lists=b/train.txt',
    ]
    assert names_of(config(frozen='1'), config(frozen=1)) == ['frozen_stages=1', "frozen_stages='1'"]


def test_what_differs_in_nothing_is_called_after_the_run_or_its_sweep():
    (run,) = runs_of(config())
    assert group_settings([run])[0].name == 'run0'
    assert group_settings([replace(run, folder=Path('work_dirs/folds/trials/fold=0_seed0'))])[0].name == 'folds'


def test_a_seed_without_all_folds_is_left_out():
    runs = [replace(run, seed=seed, fold=k) for seed in (0, 1) for k in (0, 1) for run in runs_of(config())]
    kept, lines = drop_incomplete_folds(group_settings(runs[:3]))
    assert [sorted(setting.runs) for setting in kept] == [[0]] and lines == ['run0, seed 1: fold 1 missing']
    assert drop_incomplete_folds(group_settings(runs))[1] == []


def test_keys_that_go_together_are_one_factor():
    grid = [
        {'model': {'frozen_stages': f, 'backbone': {'type': t, 'depth': d}}}
        for f in (2, 3)
        for t, d in (('ResNet', 101), ('ResNet', 152), ('VGG', 11))
    ]
    levels = [setting.levels for setting in group_settings(runs_of(*grid))]
    assert {frozenset(row) for row in levels} == {frozenset({'backbone, depth', 'frozen_stages'})}
    assert {row['backbone, depth'] for row in levels} == {'ResNet, 101', 'ResNet, 152', 'VGG, 11'}


def test_the_same_run_twice_is_refused():
    with pytest.raises(DataError, match='run0 and run1: are the same setting with the same seed'):
        group_settings(runs_of(config(), config(), seeds=[0, 0]))


def test_folds_and_whole_validation_sets_are_not_mixed():
    whole, fold = (replace(run, fold=k, seed=s) for s, k in enumerate((None, 0)) for run in runs_of(config()))
    with pytest.raises(DataError, match='some of these runs were validated on a fold'):
        drop_incomplete_folds(group_settings([whole, fold]))
