"""Comparisons of run folders and sweeps: the verdict, and the runs that are refused or left out."""

import os
import shutil

import pytest

from flowercls.compare.comparison import compare_runs
from flowercls.compare.comparison_files import as_markdown
from flowercls.compare.wording import verdict_lines
from flowercls.core.errors import ConfigError, DataError
from helpers.run_folders import write_test


def words(*folders):
    return '\n'.join(verdict_lines(compare_runs(list(folders))))


def test_report_as_frozen_2_and_3_cannot_be_told_apart_in_words(run):
    """548 and 551 of 568."""
    text = words(run('two', range(20), frozen=2), run('three', [*range(10), *range(100, 107)], frozen=3))
    assert 'this model of frozen_stages=3 got the most photos right, 551 of 568' in text
    assert 'Not told apart from this model of frozen_stages=3: frozen_stages=2 (548 right' in text
    assert all(keyword in text for keyword in ('no setting can be called better', '--seed-scatter', 'No test set'))


def test_seeds_are_counted_and_the_worse_setting_is_named(run):
    settings = ((2, 20), (4, 100))
    folders = [run(f'{f}_{s}', range(s, misses + s), frozen=f, seed=s) for f, misses in settings for s in range(3)]
    comparison = compare_runs(folders)
    assert [score.num_seeds for score in comparison.verdict.scores] == [3, 3]
    (difference,) = comparison.verdict.differences
    text = words(*folders)
    at_least = f'at least {difference.at_least:.2f} worse (p < 0.001)'
    assert f'frozen_stages=4 is worse than frozen_stages=2: -14.08 points, {at_least}' in text
    assert 'better than every other' in text and 'one seed' not in text.lower()


def test_a_full_grid_has_the_effect_of_each_factor(grid):
    comparison = compare_runs(grid(num_seeds=2))
    effects = {(e.factor, e.level): e for e in comparison.factors.effects}
    assert effects['lr', '0.1'].points == pytest.approx(-15) and effects['lr', '0.1'].is_worse
    assert effects['frozen_stages', '2'].is_worse is False
    text = as_markdown(comparison)
    assert '## Each factor by itself' in text and 'at most 5 a level of a factor' in text
    assert '## Every combination' in text and '| 0             | 95.00 best        | 80.00 worse |' in text


def test_the_test_set_confirms_the_best(run):
    worse, best = run('a', range(30), frozen=1), run('b', range(20), frozen=2)
    write_test(best, range(10))
    write_test(best, range(50), checkpoint='epoch_1.pth', name='test_epoch_1')  # another checkpoint
    write_test(worse, range(3), split='val')  # the same photos again
    confirmed = 'frozen_stages=2 has top-1 95.00 % (200 photos'
    text = words(worse, best)
    assert 'Confirmed on the test set' in text and confirmed in text and 'runs tested' not in text
    text = words(worse, best, run('c', range(20), frozen=2, seed=1))
    assert confirmed in text and '1 of its 2 runs tested' in text


@pytest.mark.parametrize('odd', [{'data_manifest': 'other'}, {'tta': True}])
def test_a_test_on_other_data_or_of_an_augmented_network_confirms_nothing(run, odd):
    folder = run('a', range(30))
    write_test(folder, range(10), **odd)
    assert 'No test set has confirmed' in words(folder)


def test_one_setting_alone_has_a_figure_and_no_verdict(run):
    text = words(run('a', range(30)))
    assert 'only one setting' in text and 'was chosen' not in text
    assert 'Of 100 such' not in text and 'seed' not in text


def test_folds_of_a_seed_are_put_together(run):
    photos, lists = [f'training_set/{i}.jpg' for i in range(100)], ('train', 'val')
    folders = [
        run(
            f'{frozen}_{k}',
            range(misses),
            images=photos[50 * k : 50 * k + 50],
            frozen=frozen,
            **{name: f'folds/fold_{k}_{name}.txt' for name in lists},
        )
        for frozen, misses in ((1, 5), (2, 10))
        for k in (0, 1)
    ]
    comparison = compare_runs(folders)
    assert (comparison.num_photos, comparison.num_folds) == (100, 2)
    assert [score.top1 for score in comparison.verdict.scores] == pytest.approx([90, 80])
    assert 'every photo counts once' in words(*folders)
    incomplete = compare_runs(folders[:3])
    assert [score.name for score in incomplete.verdict.scores] == ['frozen_stages=1']
    assert incomplete.left_out == ['frozen_stages=2, seed 0: fold 1 missing']
    with pytest.raises(DataError, match='all its folds'):
        compare_runs(folders[1:3])


def test_runs_on_one_and_the_same_fold_are_compared_without_folds(run):
    folders = [run(f'{misses}', range(misses), frozen=misses, val='folds/fold_3_val.txt') for misses in (20, 60)]
    comparison = compare_runs(folders)
    assert (comparison.num_folds, comparison.hits.is_single_runs) == (0, True)
    assert 'folds:' not in words(*folders)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ('second', 'message'),
    [
        ({'num_photos': 18}, r'2 only in the first \(flower/018.jpg, flower/019.jpg\), 0 only'),
        ({'images': [f'flower/{i:03d}.jpg' for i in [1, 0, *range(2, 20)]]}, '2 photos .* flower/000.jpg is daisy'),
        ({'num_photos': 20, 'manifest': 'xyz'}, 'differently prepared .*abc and xyz'),
    ],
)
def test_other_photos_other_labels_and_other_data_are_refused(run, second, message):
    with pytest.raises(DataError, match=message):
        compare_runs([run('a', [1], num_photos=20), run('b', [1], frozen=1, **second)])


def test_one_photo_with_another_label_is_one_photo(run):
    first, second = run('a', [1], num_photos=20), run('b', [1], num_photos=20, frozen=1)
    for file in second.glob('predictions_val*.csv'):
        file.write_text(file.read_text().replace('flower/000.jpg,daisy', 'flower/000.jpg,rose'))
    with pytest.raises(DataError, match='1 photo has different labels'):
        compare_runs([first, second])


def test_what_is_no_run_or_has_no_results_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match='nothing, .*gone: neither'):
        compare_runs([tmp_path / 'nothing', tmp_path / 'gone'])
    folder = run('a', [1], num_photos=20)
    (folder / 'metrics.json').write_text('{"top1"')
    with pytest.raises(DataError, match='metrics.json: cannot'):
        compare_runs([folder])
    (folder / 'predictions_val.csv').unlink()
    with pytest.raises(DataError, match='predictions_val.csv missing'):
        compare_runs([folder])


@pytest.mark.parametrize('text', ['val_dataloader = None', 'train_cfg = 3', "custom_hooks = [3, dict(type='A')]"])
def test_a_config_edited_by_hand_is_compared(run, text):
    folder = run('a', [1])
    with (folder / 'config.py').open('a') as file:
        file.write(f'{text}\n')
    assert compare_runs([folder]).left_out == []


# ---------------------------------------------------------------- sweeps


def test_a_trial_under_way_is_left_out_and_said_so(sweep, write_ledger):
    write_ledger(frozen1_seed1={'state': 'started'})
    with (sweep / 'ledger.jsonl').open('ab') as file:
        file.write('{"run": "é'.encode()[:-1])  # torn inside a letter
    comparison = compare_runs([sweep])
    assert [score.num_seeds for score in comparison.verdict.scores] == [2, 1]
    assert comparison.left_out == ['frozen1_seed1: not finished']
    assert 'frozen1_seed1: not finished' in as_markdown(comparison)


@pytest.mark.parametrize('has_ledger', [False, True])
def test_a_trial_that_was_resumed_by_hand_and_interrupted_is_left_out(sweep, write_ledger, has_ledger):
    (sweep / 'trials' / 'frozen1_seed1' / 'last_checkpoint').write_text('iter_3.pth')
    if has_ledger:
        write_ledger()
    assert compare_runs([sweep]).left_out == ['frozen1_seed1: interrupted at iter_3.pth of None epochs']
    with pytest.raises(DataError, match='interrupted at iter_3.pth .*--resume'):
        compare_runs([sweep / 'trials' / 'frozen1_seed1'])


def test_the_reason_of_a_failed_trial_is_kept_and_a_run_counts_once(sweep, write_ledger):
    failed = {'state': 'failed', 'error': 'exit code 6: diverged'}
    write_ledger(frozen0_seed0=failed)
    comparison = compare_runs([sweep, sweep / 'trials' / 'frozen1_seed1'])
    assert comparison.left_out[0] == 'frozen0_seed0: failed: exit code 6: diverged'
    assert comparison.left_out[1].endswith('frozen1_seed1: named twice, counted once')
    write_ledger(**{trial.name: failed for trial in (sweep / 'trials').iterdir()})
    with pytest.raises(DataError, match=r'no finished run .*frozen0_seed0: failed: exit code 6: diverged; '):
        compare_runs([sweep])


def test_of_a_trial_that_was_run_again_the_newer_run_counts(sweep, write_ledger, run):
    """The weights lie in another folder, so the sweep has run the trial again; for a comparison nothing differs."""
    shutil.rmtree(sweep / 'trials' / 'frozen1_seed0')
    for number, folder in ((9, 'elsewhere'), (10, 'here')):
        run(f'sweep/trials/frozen1_seed0-{number}', [1], frozen=1, seed=0, load_from=f'{folder}/net-0123abcd.pth')
    os.utime(sweep / 'trials' / 'frozen1_seed0-9' / 'metrics.json', (1, 1))
    write_ledger()
    assert compare_runs([sweep]).left_out == ['frozen1_seed0-9: run again as frozen1_seed0-10, which counts']
    write_ledger(**{'frozen1_seed0-9': {'setting': 'log_level=INFO'}})  # another setting, without a difference
    with pytest.raises(DataError, match='the same setting and the same seed'):
        compare_runs([sweep])


def test_of_photos_prepared_anew_only_the_newest_trials_are_compared(sweep, run):
    for seed in (0, 1):
        run(f'sweep/trials/frozen0_seed{seed}-2', [seed], seed=seed, manifest='new')
    comparison = compare_runs([sweep])
    assert [(score.name, score.num_seeds) for score in comparison.verdict.scores] == [('sweep', 2)]
    assert len(comparison.left_out) == 4 and 'other photos than frozen0_seed1-2' in comparison.left_out[0]
