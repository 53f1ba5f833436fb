import json
import os

import pytest

from flowercls.evaluate import optimism
from flowercls.report.sweep_page import write_sweep_report

COMPARISON = {
    'verdict': ['lr=0.1 has the highest top-1.', 'A <b> second sentence.'],
    'num_photos': 1569, 'num_test_photos': 0, 'num_folds': 0, 'left_out': ['lr=9_seed0: failed'],
    'effects': [], 'to_tell_apart': [],
    'settings': [
        {'setting': 'lr=0.1', 'seeds': 2, 'top1': 92.618, 'top1_spread': 0.571, 'top1_low': 90.17, 'top1_high': 94.49,
         'difference': None, 'difference_low': None, 'difference_high': None, 'p_value': None, 'verdict': 'best',
         'also_differ': {}},
        {'setting': 'lr=1 <i>', 'seeds': 2, 'top1': 90.685, 'top1_spread': None, 'top1_low': 88.02, 'top1_high': 92.81,
         'difference': -1.933, 'difference_low': -4.461, 'difference_high': 0.594, 'p_value': 0.15962,
         'verdict': 'may be best', 'best_epoch_top1': 91.2, 'best_epoch_optimism': 0.66, 'also_differ': {}},
    ],
}  # fmt: skip
SECTIONS = ['comparison', 'trials', 'data', 'config', 'commands', 'environment']


@pytest.fixture
def page(sweep_folder, read_page):
    return lambda **options: read_page(write_sweep_report(sweep_folder, **options))


def test_the_settings_stand_with_intervals_and_verdicts(page, sweep_folder):
    (sweep_folder / 'comparison.json').write_text(json.dumps(COMPARISON))
    (sweep_folder / 'comparison.png').write_bytes((sweep_folder / 'trials/lr=0.1 #_seed0/curves.png').read_bytes())
    content = page()
    assert content.ids == SECTIONS and len(content.pictures) == 1
    assert 'lr=0.1 best 92.62 ± 0.57 90.2-94.5 2 - - -' in content.text
    row = 'lr=1 <i> may be best 90.69 88.0-92.8 2 -1.93 (-4.46 to +0.59) 0.16 91.20 (0.7 too high)'
    assert row in content.text
    assert '1,569 validation photos' in content.text and 'A <b> second sentence.' in content.text
    assert 'lr=9_seed0: failed' in content.text
    assert 'or of the best one' in content.text  # an older version compared best epochs, and did not say so


def test_runs_that_count_with_their_last_epoch_need_no_word_on_others(page, sweep_folder):
    (sweep_folder / 'comparison.json').write_text(json.dumps({**COMPARISON, 'best_epoch_only': []}))
    assert 'Top-1 is of the last epoch' in page().text and 'or of the best one' not in page().text


def test_a_single_setting_has_no_verdict(page, sweep_folder):
    alone = {**COMPARISON, 'settings': [{**COMPARISON['settings'][0], 'verdict': None}]}
    (sweep_folder / 'comparison.json').write_text(json.dumps(alone))
    assert 'seeds best epoch (%) lr=0.1 92.62 ± 0.57 90.2-94.5 2 - ' in page().text


def test_each_trial_stands_with_state_figure_time_and_link(page):
    content = page()
    assert 'lr=0.1 #_seed0 finished 83.33 1 h 02 min report' in content.text
    assert 'lr=9_seed0 failed - - -' in content.text and 'lr=1_seed0 not finished - - -' in content.text
    assert 'exit code 6: <b>& diverged' in content.text and '--retry-failed' in content.text
    assert [link for link in content.links if link[0] != '#'] == ['trials/lr%3D0.1%20%23_seed0/report.html']


def test_the_best_epochs_are_called_optimistic_with_the_size_of_it(page, sweep_folder, monkeypatch):
    monkeypatch.setattr(optimism, 'best_epoch_optimism', lambda folder: 1.23 if 'lr=0.1' in folder.name else None)
    (sweep_folder / 'oof_predictions.csv').write_text('image,label,pred,score_a,score_b\na/1,a,a,0.9,0.1\n')
    assert page().text.count('about 1.2 points less on other photos') == 2  # under the trials and out of fold


def test_a_reason_that_stopped_several_stands_once(page, sweep_folder):
    entry = {'setting': 'x', 'seed': 0, 'state': 'failed', 'error': 'exit code 6: no numbers'}
    lines = [json.dumps({'key': name, 'run': f'trials/{name}', **entry}) for name in ('x_seed0', 'x_seed1')]
    with (sweep_folder / 'ledger.jsonl').open('a') as ledger:
        ledger.write('\n' + '\n'.join(lines) + '\n')
    text = page().text
    assert text.count('no numbers') == 1 and 'x_seed0, x_seed1 failed: exit code 6: no numbers.' in text


def test_data_and_environment_are_those_of_a_trial(page):
    text = page().text
    assert '1,234 = 1,225 copied' in text and 'Great <Card>' in text


def test_what_is_missing_is_said(page, sweep_folder):
    assert f'no comparison.json. To make it: python tools/compare.py {sweep_folder}' in page().text
    assert 'could not be compared. They share no photo.' in page(problem='They share no photo.').text


def test_an_old_comparison_is_called_old(page, sweep_folder):
    path = sweep_folder / 'comparison.json'
    path.write_text(json.dumps(COMPARISON))
    assert 'has ended since' not in page().text
    os.utime(path, (1, 1))
    assert 'has ended since' in page().text


def test_without_a_ledger_the_folders_tell(page, sweep_folder):
    (sweep_folder / 'ledger.jsonl').unlink()
    assert 'lr=0.1 #_seed0 finished 83.33 - report' in page().text


def test_an_empty_sweep_has_a_page(tmp_path, read_page):
    (tmp_path / 'trials').mkdir()
    content = read_page(write_sweep_report(tmp_path))
    assert content.ids == SECTIONS and 'No trial was started.' in content.text


def test_folds_and_doubtful_labels_are_shown_where_they_are(page, sweep_folder):
    rows = [f'<b>/{i}.jpg,rose,tulip,{i}\n' for i in range(25)]
    (sweep_folder / 'doubtful_labels.csv').write_text('image;label;suggested;rank\n' + ''.join(rows).replace(',', ';'))
    (sweep_folder / 'oof_predictions.csv').write_text(
        'image,label,pred,score_a,score_b\na/1,a,a,0.9,0.1\na/2,a,b,0.2,0.8\nb/1,b,b,0.3,0.7\nb/2,b,b,0.4,0.6\n'
    )
    (sweep_folder / 'oof_predictions_seed1.csv').write_text('nonsense\nmore\n')
    content = page()
    assert content.ids == ['comparison', 'trials', 'folds', 'labels', *SECTIONS[2:]]
    # 3 of 4, with the interval of Wilson worked out by hand.
    assert 'top-1 75.00 % (3 of 4 photos, 95 % interval 30.1-95.4 %)' in content.text
    assert 'is not a predictions file' in content.text
    assert (
        '<b>/19.jpg rose tulip 19' in content.text
        and '<b>/20.jpg' not in content.text
        and 'first 20 of 25' in content.text
    )


def test_the_command_and_the_sweep_file_that_it_names_are_shown(page, sweep_folder, tmp_path):
    text = page().text
    assert 'cannot be shown' in text and 'Command: not recorded' in text
    assert f'python tools/sweep.py SWEEP_FILE --work-dir {sweep_folder}' in text
    (tmp_path / 'my sweep.py').write_text('grid = {"<b>": [1]}\n')
    (sweep_folder / 'command.txt').write_text(f"python tools/sweep.py '{tmp_path}/my sweep.py' --jobs 2\n")
    text = page().text
    assert 'grid = {"<b>": [1]}' in text and '--jobs 2' in text and 'not recorded' not in text


def test_effects_of_single_runs_stand_without_a_verdict(page, sweep_folder):
    effect = {'factor': 'lr', 'best': '0.1', 'half_width': None, 'p_value': None, 'is_worse': None, 'verdict': None}
    effects = [
        {**effect, 'level': '0.1', 'top1': 92.0, 'points': 0.0},
        {**effect, 'level': '1', 'top1': 90.5, 'points': -1.5},
    ]
    (sweep_folder / 'comparison.json').write_text(json.dumps({**COMPARISON, 'effects': effects}))
    content = page()
    assert 'lr 0.1 92.00 - - - lr 1 90.50 -1.50 - -' in content.text


def test_single_runs_have_a_verdict_on_the_models_and_one_on_the_settings(page, sweep_folder):
    best, other = COMPARISON['settings']
    settings = [
        {**best, 'model_verdict': 'most right'},
        {**other, 'verdict': 'ruled out', 'model_low': -3.5, 'model_high': -0.25, 'model_p_value': 0.0123,
         'model_verdict': 'fewer right'},
    ]  # fmt: skip
    (sweep_folder / 'comparison.json').write_text(
        json.dumps({**COMPARISON, 'single_runs': True, 'settings': settings, 'assumed_scatter': 0.5})
    )
    text = page().text
    assert 'As a setting: if seeds scatter by 0.5 points.' in text
    assert 'this model as a setting' in text and 'lr=0.1 most right best 92.62' in text
    assert 'fewer right ruled out 90.69 88.0-92.8 -1.93 (-3.50 to -0.25) 0.012' in text


def test_every_combination_of_a_grid_has_a_cell(page, sweep_folder):
    cells = {
        'row_factors': ['frozen'], 'column_factor': 'lr', 'rows': [{'frozen': '0'}, {'frozen': '2'}],
        'columns': ['0.1', '1'], 'settings': [['lr=0.1', 'lr=1 <i>'], [None, None]],
    }  # fmt: skip
    (sweep_folder / 'comparison.json').write_text(json.dumps({**COMPARISON, 'cells': cells}))
    assert 'frozen lr=0.1 lr=1 0 92.62 best 90.69 may be best 2 - -' in page().text


def test_a_comparison_of_an_older_version_has_the_words_of_today(page, sweep_folder):
    settings = [COMPARISON['settings'][0], {**COMPARISON['settings'][1], 'verdict': 'tied'}]
    effect = {'factor': 'lr', 'best': '1', 'half_width': 1.0, 'p_value': 0.5, 'points': -0.5, 'top1': 92.0}
    effects = [{**effect, 'level': level, 'tied': level != '3'} for level in '123']
    (sweep_folder / 'comparison.json').write_text(json.dumps({**COMPARISON, 'settings': settings, 'effects': effects}))
    text = page().text
    assert 'lr=1 <i> not told apart 90.69' in text and 'tied' not in text
    assert 'lr 1 92.00 - - best' in text and '0.5 not told apart lr 3 92.00 -0.50 (-1.50 to +0.50) 0.5 worse' in text
