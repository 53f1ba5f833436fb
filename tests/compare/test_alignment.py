"""Hits of runs: of which epoch, in which order, with which folds and groups of photos."""

import hashlib
import json
import re

import numpy as np
import pytest

from flowercls.compare import comparison
from flowercls.compare.alignment import align
from flowercls.compare.comparison import BestEpochs, compare_runs
from flowercls.compare.comparison_files import as_markdown
from flowercls.compare.grouping import group_settings
from flowercls.compare.runs import find_runs
from flowercls.compare.wording import verdict_lines
from flowercls.core.errors import DataError
from helpers.run_folders import write_test

PHOTOS = [f'rose/{letter}.jpg' for letter in 'abcdef']
ALONE = [(f'val_set/{image}', {}) for image in PHOTOS]  # rows of a manifest


def aligned(*folders):
    return align(group_settings(find_runs(list(folders))[0])[0])


@pytest.fixture
def prepared(tmp_path):
    """Write the manifest of a prepared folder: of each photo its file and its groups. Return the run's keys for it."""

    def write(photos):
        rows = [{'file': file, **groups} for file, groups in photos]
        (tmp_path / 'data').mkdir(exist_ok=True)
        manifest = tmp_path / 'data' / 'manifest.json'
        manifest.write_text(json.dumps({'images': rows}))
        return {'root': str(tmp_path / 'data'), 'manifest': hashlib.sha256(manifest.read_bytes()).hexdigest()}

    return write


# ---------------------------------------------------------------- the epoch that counts


def test_the_last_epoch_counts_and_the_best_epoch_is_known(run):
    result = compare_runs([run('a', range(30), best=range(10), num_photos=100)])
    assert result.hits.by_setting['a'].mean() == 0.7
    assert result.best_epochs['a'].top1 == 90 and not result.best_epoch_only


def test_runs_without_predictions_of_the_last_epoch_are_named(run):
    folders = [run(f'old{seed}', range(10), seed=seed, last=False, num_photos=100) for seed in range(4)]
    new = run('new', range(20), best=range(5), frozen=1, num_photos=100)
    result = compare_runs([*folders, new])
    assert [hits.mean() for hits in result.hits.by_setting.values()] == [0.9, 0.8]
    assert result.best_epoch_only == folders
    assert 'Top-1 is of the last epoch, or of the best one' in as_markdown(result)
    assert 'Top-1 is of the last epoch.' in as_markdown(compare_runs([new]))
    (sentence,) = [line for line in verdict_lines(result) if 'best epoch, as' in line]
    assert sentence.startswith('4 of 5 runs') and 'old0; old1; old2 and 1 more' in sentence and 'new' not in sentence


def test_the_best_epoch_of_folds_is_averaged_by_photo(run):
    folds = [
        run(f'fold{k}', [], best=[0], images=images, val=f'folds/fold_{k}_val.txt')
        for k, images in enumerate((PHOTOS[:4], PHOTOS[4:]))
    ]
    assert compare_runs(folds).best_epochs['fold0'].top1 == pytest.approx(100 * 4 / 6)


@pytest.mark.parametrize(('points', 'expected'), [((1.0, 2.0), 1.5), ((1.0, None), None)])
def test_the_optimism_of_the_best_epochs_is_the_mean_over_runs(run, monkeypatch, points, expected):
    folders = [run(f'run{seed}', [1], seed=seed) for seed in (0, 1)]
    monkeypatch.setattr(comparison, 'best_epoch_optimism', dict(zip(folders, points, strict=True)).get)
    assert compare_runs(folders).best_epochs['run0'].optimism == expected


@pytest.mark.parametrize('figure', ['', '"top1": NaN, ', '"top1": "x", ', '"top1": 1' + 400 * '0' + ', '])
def test_a_best_epoch_without_a_figure_has_none(run, figure):
    folder = run('a', [1])
    (folder / 'metrics.json').write_text(f'{{{figure}"data_manifest": "abc"}}')
    assert compare_runs([folder]).best_epochs == {'a': BestEpochs(None, None)}


# ---------------------------------------------------------------- order and folds


def test_photos_are_put_into_one_order(run):
    first = run('a', [0], images=PHOTOS)  # misses a
    second = run('b', [0], images=[*PHOTOS[4:], *PHOTOS[:4]], frozen=1)  # misses e; labels alternate in both
    hits = aligned(first, second).validation
    assert hits.folds is None and hits.num_photos == 6
    assert np.flatnonzero(~hits.by_setting['frozen_stages=0'][0]).tolist() == [0]
    assert np.flatnonzero(~hits.by_setting['frozen_stages=1'][0]).tolist() == [4]


def test_the_fold_of_each_photo_is_known(run):
    parts = {0: [PHOTOS[i] for i in (1, 2, 5)], 1: [PHOTOS[i] for i in (0, 3, 4)]}
    folders = [run(f'{k}', [], images=images, val=f'folds/fold_{k}_val.txt') for k, images in parts.items()]
    assert aligned(*folders).validation.folds.tolist() == [1, 0, 0, 1, 1, 0]


def test_the_same_photos_in_other_folds_are_refused(run):
    """Labels alternate in each part, so that only the folds differ."""

    def folds(frozen, *parts):
        return [
            run(f'{frozen}{k}', [], images=images, frozen=frozen, val=f'folds/fold_{k}_val.txt')
            for k, images in enumerate(parts)
        ]

    first = folds(0, PHOTOS[:2], PHOTOS[2:])
    second = folds(1, PHOTOS[:4], PHOTOS[4:])
    with pytest.raises(
        DataError, match=r'2 photos .* folds \(rose/c.jpg, rose/d.jpg\); rose/c.jpg in fold 1 .* fold 0'
    ):
        compare_runs([*first, *second])


def test_a_photo_in_two_folds_is_named(run):
    folders = [
        run(f'{k}', [], images=images, val=f'folds/fold_{k}_val.txt')
        for k, images in enumerate((PHOTOS[:4], PHOTOS[3:]))
    ]
    with pytest.raises(DataError, match='rose/d.jpg is in two folds.*Fix: .*--folds'):
        compare_runs(folders)


def test_a_photo_listed_twice_is_named_with_its_file(run):
    with pytest.raises(
        DataError, match=r'predictions_val_last.csv.*rose/a.jpg is listed twice.*Fix: put back'
    ) as error:
        compare_runs([run('a', [], images=[*PHOTOS[:2], *PHOTOS[:2]])])
    assert 'fold' not in str(error.value).split('predictions_val_last')[1]


# ---------------------------------------------------------------- groups


def test_photos_of_one_group_have_one_number(run, prepared):
    photos = [(f'val_set/{image}', {'duplicate_group': 3 if image in PHOTOS[1:3] else None}) for image in PHOTOS]
    result = compare_runs([run('a', [0], images=PHOTOS, **prepared(photos))])
    groups = result.hits.groups.tolist()
    assert groups[1] == groups[2] and sorted(set(groups)) == list(range(5))
    assert (result.num_groups, result.groups_unknown) == (5, '')


def test_a_photo_of_the_same_name_in_another_set_is_another_photo(run, prepared):
    files = [(f'{name}/{image}', {'group': name}) for name in ('val_set', 'training_set') for image in PHOTOS[:3]]
    folder = run('a', [0], images=PHOTOS[:3], **prepared([*files, ('val_set/rose/z.jpg', {})]))
    with (folder / 'config.py').open('a') as file:
        file.write("val_dataloader = dict(dataset=dict(ann_file='val.txt', data_prefix='val_set'))\n")
    assert compare_runs([folder]).num_groups == 1


@pytest.mark.parametrize('prefix', ["''", "dict(img_path='val_set')", '[1]'])
def test_folds_have_photos_of_two_sets(run, prepared, prefix):
    keys = prepared([(f'training_set/{image}', {}) for image in PHOTOS[:4]] + ALONE[4:])
    folders = [
        run(f'{k}', [], images=images, val=f'folds/fold_{k}_val.txt', **keys)
        for k, images in enumerate((PHOTOS[:3], PHOTOS[3:]))
    ]
    for k, folder in enumerate(folders):
        with (folder / 'config.py').open('a') as file:
            file.write(
                f"val_dataloader = dict(dataset=dict(ann_file='folds/fold_{k}_val.txt', data_prefix={prefix}))\n"
            )
    assert compare_runs(folders).num_groups == 6


def test_groups_of_the_test_set_are_known(run, prepared):
    tested = [(f'test_set/other/{i:03d}.jpg', {'duplicate_group': i // 10}) for i in range(200)]
    keys = prepared([*tested, *ALONE])
    folder = run('a', [0], images=PHOTOS, **keys)
    write_test(folder, [1], data_manifest=keys['manifest'])
    result = aligned(folder)
    assert len(np.unique(result.test.groups)) == 20 and len(np.unique(result.validation.groups)) == 6


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'root': 'gone'}, 'gone.manifest.json: no such file.* Fix: compare in the folder'),
        ({'manifest': 'f' * 64}, 'has changed since'),
        ({'manifest': None}, 'without a manifest'),
        ({'images': [*PHOTOS, 'rose/g.jpg']}, r'does not list 1 of the photos \(rose/g.jpg\)'),
    ],
)
def test_unknown_groups_are_said_with_the_reason(run, prepared, change, reason):
    keys = {'images': PHOTOS, **prepared(ALONE), **change}
    result = compare_runs([run('a', [0], **keys)])
    assert result.hits.groups is None and result.num_groups is None
    (sentence,) = [line for line in verdict_lines(result) if 'groups of look-alikes are unknown' in line]
    assert re.search(reason, sentence)


def test_groups_are_found_where_one_of_the_runs_has_its_data(run, prepared):
    keys = prepared(ALONE)
    folders = [run('a', [0], images=PHOTOS, **{**keys, 'root': 'gone'}), run('b', [0], images=PHOTOS, seed=1, **keys)]
    assert compare_runs(folders).num_groups == 6
