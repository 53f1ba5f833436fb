"""Comparisons of run folders and sweeps: runs that are read, refused and left out, the verdict and the files."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from flowercls import commands
from flowercls.compare.comparison import compare_runs
from flowercls.compare.comparison_files import comparison_stem, write_comparison
from flowercls.compare.wording import as_markdown, verdict_lines
from flowercls.core.errors import ConfigError, DataError
from helpers.run_folders import write_run, write_test


def words(*folders):
    return '\n'.join(verdict_lines(compare_runs(list(folders))))


def test_report_as_frozen_2_and_3_cannot_be_told_apart_in_words(tmp_path):
    """548 and 551 of 568."""
    two = write_run(tmp_path / 'two', range(20), frozen=2)
    three = write_run(tmp_path / 'three', [*range(10), *range(100, 107)], frozen=3)
    text = words(two, three)
    assert 'frozen_stages=3 has the highest top-1, 97.01 %' in text and 'frozen_stages=2 (-0.53 points' in text
    assert 'differ by 0.53 points: about 8,400 photos' in text
    assert all(keyword in text for keyword in ('Tied with it', 'one seed a setting', 'optimistic', 'No test set'))


def test_seeds_are_counted_and_the_worse_setting_is_named(tmp_path):
    folders = [write_run(tmp_path / f'a{s}', range(s, 20 + s), frozen=2, seed=s) for s in range(3)]
    folders += [write_run(tmp_path / f'b{s}', range(s, 100 + s), frozen=4, seed=s) for s in range(3)]
    comparison = compare_runs(folders)
    assert [score.num_seeds for score in comparison.scores] == [3, 3]
    (difference,) = comparison.differences
    text = words(*folders)
    assert 'frozen_stages=4 is worse than frozen_stages=2: -14.08 points' in text
    assert f'at least {difference.at_least:.2f} points' in text
    assert 'better than every other' in text and 'one seed a setting' not in text


def test_a_full_grid_has_the_effect_of_each_factor(tmp_path):
    folders = [
        write_run(
            tmp_path / f'{frozen}_{lr}_{s}', range(s, s + (100 if lr == 0.1 else 20)), frozen=frozen, lr=lr, seed=s
        )
        for frozen in (0, 2)
        for lr in (0.1, 0.01)
        for s in (0, 1)
    ]
    comparison = compare_runs(folders)
    effects = {(e.factor, e.level): e for e in comparison.effects}
    assert effects['lr', '0.1'].points == pytest.approx(-100 * 80 / 568) and not effects['lr', '0.1'].tied
    assert effects['frozen_stages', '2'].tied
    text = as_markdown(comparison)
    assert '## Each factor by itself' in text and 'at most 5 a level of a factor (assuming equal seed variance)' in text


def test_the_test_set_confirms_the_best(tmp_path):
    worse, best = write_run(tmp_path / 'a', range(30), frozen=1), write_run(tmp_path / 'b', range(20), frozen=2)
    write_test(best, range(10))
    write_test(best, range(50), checkpoint='epoch_1.pth', name='test_epoch_1')  # another checkpoint
    write_test(worse, range(3), split='val')  # the same photos again
    confirmed = 'frozen_stages=2 has top-1 95.00 % (200 photos'
    text = words(worse, best)
    assert 'Confirmed on the test set' in text and confirmed in text and 'runs tested' not in text
    text = words(worse, best, write_run(tmp_path / 'c', range(20), frozen=2, seed=1))
    assert confirmed in text and '1 of its 2 runs tested' in text


@pytest.mark.parametrize('odd', [{'data_manifest': 'other'}, {'tta': True}])
def test_a_test_on_other_data_or_of_an_augmented_network_confirms_nothing(tmp_path, odd):
    folder = write_run(tmp_path / 'a', range(30))
    write_test(folder, range(10), **odd)
    assert 'No test set has confirmed' in words(folder)


def test_one_setting_alone_has_a_figure_and_no_verdict(tmp_path):
    text = words(write_run(tmp_path / 'a', range(30)))
    assert 'only one setting' in text and 'chosen by these same photos' in text
    assert 'of 100 such' not in text and 'Three seeds' not in text


def test_folds_of_a_seed_are_put_together(tmp_path):
    photos = [f'training_set/{i}.jpg' for i in range(100)]
    folders = [
        write_run(
            tmp_path / f'{frozen}_{k}',
            range(misses),
            images=photos[50 * k : 50 * k + 50],
            frozen=frozen,
            train=f'folds/fold_{k}_train.txt',
            val=f'folds/fold_{k}_val.txt',
        )
        for frozen, misses in ((1, 5), (2, 10))
        for k in (0, 1)
    ]
    comparison = compare_runs(folders)
    assert (comparison.num_photos, comparison.num_folds) == (100, 2)
    assert [score.top1 for score in comparison.scores] == pytest.approx([90, 80])
    assert 'every photo counts once' in words(*folders)
    left = compare_runs(folders[:3])
    assert [score.name for score in left.scores] == ['frozen_stages=1']
    assert left.left_out == ['frozen_stages=2, seed 0: fold 1 missing']
    with pytest.raises(DataError, match='all its folds'):
        compare_runs(folders[1:3])


# ---------------------------------------------------------------- refused


def test_other_photos_other_labels_and_other_data_are_refused(tmp_path):
    first = write_run(tmp_path / 'a', [1], num_photos=20)
    fewer = write_run(tmp_path / 'b', [1], num_photos=18, frozen=1)
    with pytest.raises(DataError, match=r'2 only in the first \(flower/018.jpg, flower/019.jpg\), 0 only'):
        compare_runs([first, fewer])
    turned = [f'flower/{i:03d}.jpg' for i in [1, 0, *range(2, 20)]]
    swapped = write_run(tmp_path / 'c', [1], images=turned, frozen=1)
    with pytest.raises(DataError, match='2 photos .* flower/000.jpg is daisy'):
        compare_runs([first, swapped])
    with pytest.raises(DataError, match='differently prepared .*abc and xyz'):
        compare_runs([first, write_run(tmp_path / 'd', [1], num_photos=20, frozen=1, manifest='xyz')])


def test_what_is_no_run_or_has_no_results_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='nothing, .*gone: neither'):
        compare_runs([tmp_path / 'nothing', tmp_path / 'gone'])
    folder = write_run(tmp_path / 'a', [1], num_photos=20)
    (folder / 'predictions_val.csv').unlink()
    with pytest.raises(DataError, match='predictions_val.csv missing'):
        compare_runs([folder])
    write_run(tmp_path / 'b', [1], num_photos=20)
    (tmp_path / 'b' / 'metrics.json').write_text('{"top1"')
    with pytest.raises(DataError, match='metrics.json: cannot'):
        compare_runs([tmp_path / 'b'])


# ---------------------------------------------------------------- sweeps and files


@pytest.fixture
def sweep(tmp_path):
    for frozen in (0, 1):
        for seed in (0, 1):
            name = f'frozen{frozen}_seed{seed}'
            write_run(tmp_path / 'sweep' / 'trials' / name, range(seed, 20 + seed), frozen=frozen, seed=seed)
    return tmp_path / 'sweep'


def test_a_trial_under_way_is_left_out_and_said_so(sweep):
    write_ledger(sweep, frozen1_seed1={'state': 'started'})
    with (sweep / 'ledger.jsonl').open('ab') as file:
        file.write('{"run": "é'.encode()[:-1])  # torn inside a letter
    comparison = compare_runs([sweep])
    assert [score.num_seeds for score in comparison.scores] == [2, 1]
    assert comparison.left_out == ['frozen1_seed1: not finished']
    assert 'frozen1_seed1: not finished' in as_markdown(comparison)


def test_the_reason_of_a_failed_trial_is_kept_and_a_run_counts_once(sweep):
    write_ledger(sweep, frozen0_seed0={'state': 'failed', 'error': 'exit code 6: diverged'})
    comparison = compare_runs([sweep, sweep / 'trials' / 'frozen1_seed1'])
    assert comparison.left_out[0] == 'frozen0_seed0: failed: exit code 6: diverged'
    assert comparison.left_out[1].endswith('frozen1_seed1: named twice, counted once')


def test_a_sweep_without_results_says_why(sweep):
    failed = {'state': 'failed', 'error': 'out of memory'}
    write_ledger(sweep, **{trial.name: failed for trial in (sweep / 'trials').iterdir()})
    with pytest.raises(DataError, match='frozen0_seed0: failed: out of memory; '):
        compare_runs([sweep])


def write_ledger(sweep, **changed):
    """Write a ledger in which all trials are finished, but for changed lines."""
    names = sorted(trial.name for trial in (sweep / 'trials').iterdir())
    lines = [
        {'key': name, 'setting': name[:7], 'run': f'trials/{name}', 'state': 'finished', **changed.get(name, {})}
        for name in names
    ]
    (sweep / 'ledger.jsonl').write_text('\n'.join(map(json.dumps, lines)) + '\n')


def test_of_a_trial_that_was_run_again_the_newer_run_counts(sweep):
    """The weights lie in another folder, so the sweep has run the trial again; for a comparison nothing differs."""
    moved = {'frozen': 1, 'seed': 0, 'load_from': 'elsewhere/net-0123abcd.pth'}
    shutil.rmtree(sweep / 'trials' / 'frozen1_seed0')
    write_run(sweep / 'trials' / 'frozen1_seed0-9', [1], **moved)
    write_run(sweep / 'trials' / 'frozen1_seed0-10', [1], **{**moved, 'load_from': 'here/net-0123abcd.pth'})
    os.utime(sweep / 'trials' / 'frozen1_seed0-9' / 'metrics.json', (1, 1))
    write_ledger(sweep)
    comparison = compare_runs([sweep])
    assert comparison.left_out == ['frozen1_seed0-9: run again as frozen1_seed0-10, which counts']


@pytest.mark.parametrize('text', ['val_dataloader = None', 'train_cfg = 3', "custom_hooks = [3, dict(type='A')]"])
def test_a_config_edited_by_hand_is_compared(tmp_path, text):
    folder = write_run(tmp_path / 'a', [1])
    with (folder / 'config.py').open('a') as file:
        file.write(f'{text}\n')
    assert compare_runs([folder]).left_out == []


def test_one_setting_is_no_best(tmp_path):
    text = commands.compare([write_run(tmp_path / 'a', [1])], out=tmp_path / 'out')
    assert '| a | 99.82 | 1 | 99.0-100.0 | - | - | - | - |' in text and 'best**' not in text
    (row,) = json.loads((tmp_path / 'out' / 'comparison.json').read_text())['settings']
    assert row['verdict'] is None


def test_of_equal_settings_both_are_highest(tmp_path):
    text = words(write_run(tmp_path / 'a', [1], frozen=1), write_run(tmp_path / 'b', [2], frozen=2))
    assert 'highest top-1, 99.82 %, and so has frozen_stages=2. ' in text


def test_of_photos_prepared_anew_only_the_newest_trials_are_compared(sweep):
    for seed in (0, 1):
        write_run(sweep / 'trials' / f'frozen0_seed{seed}-2', [seed], seed=seed, manifest='new')
    comparison = compare_runs([sweep])
    assert [(score.name, score.num_seeds) for score in comparison.scores] == [('sweep', 2)]
    assert len(comparison.left_out) == 4 and 'other photos than frozen0_seed1-2' in comparison.left_out[0]


def test_files_of_a_sweep_are_renewed_in_its_folder_and_nowhere_else(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    comparison, run = compare_runs([sweep]), next((sweep / 'trials').iterdir())
    for out, stems in ((None, ['comparison'] * 2), (tmp_path / 'out', ['comparison', 'comparison-2'])):
        for expected in stems:
            stem = comparison_stem([sweep], out)
            assert stem == (out or sweep) / expected
            write_comparison(comparison, stem)
    assert comparison_stem([run], None) == Path('comparison/comparison')


def test_csv_and_json_say_the_same(sweep):
    text = commands.compare([sweep])
    assert text.startswith((sweep / 'comparison.md').read_text().partition('\n![')[0])
    assert (sweep / 'comparison.png').read_bytes().startswith(b'\x89PNG')
    with (sweep / 'comparison.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    settings = json.loads((sweep / 'comparison.json').read_text())['settings']
    assert [row['setting'] for row in rows] == ['frozen_stages=0', 'frozen_stages=1']
    assert [float(row['top1']) for row in rows] == pytest.approx([s['top1'] for s in settings])
    assert [row['verdict'] for row in rows] == ['best', 'tied'] and rows[0]['difference'] == ''
    assert all(len(setting['runs']) == 2 for setting in settings)
