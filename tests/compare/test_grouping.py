"""Which runs are one setting, and its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from flowercls.compare.grouping import group_settings
from flowercls.compare.runs import FinishedRun
from flowercls.core.errors import DataError


def runs_of(*configs, seeds=None):
    seeds = seeds or range(len(configs))
    return [
        FinishedRun(
            folder=Path(f'run{i}'),
            config=config,
            seed=seed,
            metrics={},
            answers=None,
            is_last_epoch=True,
            test=None,
            fold=None,
        )
        for i, (config, seed) in enumerate(zip(configs, seeds, strict=True))
    ]


def config(frozen=0, lr=0.01, backbone='ResNet', **more):
    return {'model': {'frozen_stages': frozen, 'backbone': {'type': backbone}}, 'optim': {'lr': lr}, **more}


def settings_of(runs):
    """Group runs of which none is left out."""
    settings, left_out = group_settings(runs)
    assert left_out == []
    return settings


def names_of(*configs):
    return [setting.name for setting in settings_of(runs_of(*configs))]


def test_seeds_folders_and_loader_workers_make_no_setting():
    first = config(randomness={'seed': 0}, data_root='a', work_dir='x', load_from='here/net-0123abcd.pth')
    second = config(randomness={'seed': 1}, data_root='b', work_dir='y', load_from='there/net-0123abcd.pth')
    second['train_dataloader'] = {'num_workers': 4}
    (setting,) = settings_of(runs_of(first, second))
    assert sorted(setting.runs) == [0, 1] and setting.name == 'run0'


def test_names_are_what_differs_in_the_order_of_values():
    assert names_of(config('all'), config(3), config(0)) == [f'frozen_stages={v}' for v in ('0', '3', 'all')]
    assert names_of(config(2, 0.01), config(10, 0.001)) == ['frozen_stages=2', 'frozen_stages=10']
    assert names_of(config(backbone='ResNet'), config(backbone='VGG')) == ['backbone=ResNet', 'backbone=VGG']


def test_a_second_key_that_differs_with_the_first_is_told_beside_the_name():
    first, second = settings_of(runs_of(config(2, 0.01), config(3, 0.001)))
    assert (first.also, second.also) == ({'optim.lr': '0.01'}, {'optim.lr': '0.001'})


def test_weights_are_named_only_if_they_tell_settings_apart():
    configs = [config(frozen, load_from=weights) for frozen, weights in ((0, 'a/net.pth'), (0, None), (1, 'a/net.pth'))]
    assert names_of(*configs) == [
        'frozen_stages=0, load_from=net.pth',
        'frozen_stages=0, load_from=none',
        'frozen_stages=1, load_from=net.pth',
    ]
    assert names_of(config(0, load_from='a.pth'), config(1, load_from='b.pth')) == [
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
    assert settings_of([run])[0].name == 'run0'
    assert settings_of([replace(run, folder=Path('work_dirs/folds/trials/fold=0_seed0'))])[0].name == 'folds'


def test_a_seed_without_all_folds_is_left_out():
    runs = [replace(run, seed=seed, fold=k) for seed in (0, 1) for k in (0, 1) for run in runs_of(config())]
    kept, lines = group_settings(runs[:3])
    assert [sorted(setting.runs) for setting in kept] == [[0]] and lines == ['run0, seed 1: fold 1 missing']
    assert group_settings(runs)[1] == []


def trials_of(settings, configs, folds=None):
    """The trials of one sweep, with the names that it gave the settings; folds have one seed."""
    runs = runs_of(*configs, seeds=folds and [0] * len(folds))
    folds = folds or [None] * len(settings)
    return [
        replace(run, folder=Path(f'w/my_sweep/trials/{i}'), setting=name, fold=fold)
        for i, (run, name, fold) in enumerate(zip(runs, settings, folds, strict=True))
    ]


def test_trials_are_named_as_their_sweep_named_them():
    trials = trials_of(['resnet,f=10', 'resnet,f=2', 'vgg,f=2'], [config(10), config(2), config(2, backbone='VGG')])
    settings = settings_of(trials)
    assert [setting.name for setting in settings] == ['resnet, f=2', 'resnet, f=10', 'vgg, f=2']
    assert settings[0].levels == {'config': 'resnet', 'f': '2'}
    assert settings[0].also == {'model.backbone.type': 'ResNet', 'model.frozen_stages': '2'}


def test_keys_that_a_factor_of_the_sweep_is_called_after_are_not_told_again():
    trials = trials_of(['frozen_stages=0', 'frozen_stages=1'], [config(0, lr=1.0), config(1, lr=2.0)])
    assert [setting.also for setting in settings_of(trials)] == [{'optim.lr': '1'}, {'optim.lr': '2'}]


def test_a_fold_is_no_part_of_a_setting():
    names, configs = [f'f={f},fold={k}' for f in (0, 1) for k in (0, 1)], [config(f) for f in (0, 1) for _ in (0, 1)]
    settings = settings_of(trials_of(names, configs, folds=[0, 1, 0, 1]))
    assert [(setting.name, setting.levels) for setting in settings] == [('f=0', {'f': '0'}), ('f=1', {'f': '1'})]
    folds_only = trials_of(['fold=0', 'fold=1'], [config(), config()], folds=[0, 1])
    assert [setting.name for setting in settings_of(folds_only)] == ['my_sweep']


def test_trials_of_an_edited_sweep_and_of_several_sweeps_are_named_by_their_configs():
    edited = trials_of(['f=0', 'f=0'], [config(lr=0.1), config(lr=0.2)])
    assert [setting.name for setting in settings_of(edited)] == ['lr=0.1', 'lr=0.2']
    first, second = trials_of(['f=0', 'f=1'], [config(0), config(1)])
    mixed = [first, replace(second, folder=Path('w/other_sweep/trials/0'))]
    assert [setting.name for setting in settings_of(mixed)] == ['frozen_stages=0', 'frozen_stages=1']


def test_keys_that_go_together_are_one_factor():
    grid = [
        {'model': {'frozen_stages': f, 'backbone': {'type': t, 'depth': d}}}
        for f in (2, 3)
        for t, d in (('ResNet', 101), ('ResNet', 152), ('VGG', 11))
    ]
    levels = [setting.levels for setting in settings_of(runs_of(*grid))]
    assert {frozenset(row) for row in levels} == {frozenset({'backbone, depth', 'frozen_stages'})}
    assert {row['backbone, depth'] for row in levels} == {'ResNet, 101', 'ResNet, 152', 'VGG, 11'}


def test_the_same_run_twice_is_refused():
    with pytest.raises(DataError, match='run0 and run1.*same seed'):
        group_settings(runs_of(config(), config(), seeds=[0, 0]))


def test_folds_and_whole_validation_sets_are_not_mixed():
    whole, fold = (replace(run, fold=k, seed=s) for s, k in enumerate((None, 0)) for run in runs_of(config()))
    with pytest.raises(DataError, match='on a fold'):
        group_settings([whole, fold])
