"""The files of a comparison: where they are written, and what the tables hold."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from flowercls import commands
from flowercls.compare.comparison import compare_runs
from flowercls.compare.comparison_files import as_markdown, comparison_folder, comparison_stem, write_comparison
from flowercls.compare.rows import setting_rows
from flowercls.core.errors import ConfigError


def read(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def read_effects(folder):
    return {(row['factor'], row['level']): row for row in read(folder / 'comparison_effects.csv')}


def test_csv_and_json_say_the_same(sweep):
    text = commands.compare([sweep])
    assert text.startswith((sweep / 'comparison.md').read_text().partition('\n![')[0])
    assert (sweep / 'comparison.png').read_bytes().startswith(b'\x89PNG')
    rows = read(sweep / 'comparison.csv')
    settings = json.loads((sweep / 'comparison.json').read_text())['settings']
    assert [row['setting'] for row in rows] == ['frozen_stages=0', 'frozen_stages=1']
    assert [float(row['top1']) for row in rows] == pytest.approx([s['top1'] for s in settings])
    assert [row['verdict'] for row in rows] == ['best', 'may be best']
    assert rows[0]['difference'] == '' and rows[0]['best_epoch_top1'] == rows[0]['top1']
    assert all(len(setting['runs']) == 2 for setting in settings)


def test_one_setting_is_no_best(run, tmp_path):
    text = commands.compare([run('a', [1])], out=tmp_path / 'out')
    assert '| a       | 99.82     | 99.0-100.0    | 1     | 99.82          |' in text and 'best**' not in text
    (row,) = json.loads((tmp_path / 'out' / 'comparison.json').read_text())['settings']
    assert row['verdict'] is None


def test_a_setting_is_no_formula_for_a_spreadsheet(run, tmp_path):
    commands.compare([run('=cmd', [1])], out=tmp_path / 'out')
    (row,) = read(tmp_path / 'out/comparison.csv')
    assert row['setting'] == "'=cmd"


def test_files_of_a_sweep_are_renewed_in_its_folder_and_nowhere_else(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    comparison, run = compare_runs([sweep]), next((sweep / 'trials').iterdir())
    for out, stems in ((None, ['comparison'] * 2), (tmp_path / 'out', ['comparison', 'comparison-2'])):
        for expected in stems:
            stem = comparison_stem([sweep], comparison_folder([sweep], out))
            assert stem == (out or sweep) / expected
            write_comparison(comparison, stem)
    assert comparison_stem([run], comparison_folder([run], None)) == Path('comparison/comparison')
    with pytest.raises(ConfigError, match='is a file'):
        comparison_folder([run], sweep / 'comparison.md')


def test_effects_of_factors_are_a_table_for_spreadsheets(tmp_path, grid):
    text = commands.compare(grid(num_seeds=2), out=tmp_path)
    assert text.endswith('comparison.md, .csv, .json, .png, _effects.csv')
    rows = read_effects(tmp_path)
    assert list(rows) == [('frozen_stages', '0'), ('frozen_stages', '2'), ('lr', '0.01'), ('lr', '0.1')]
    assert [float(row['top1']) for row in rows.values()] == pytest.approx([87.5, 87.5, 95, 80])
    assert [row['verdict'] for row in rows.values()] == ['best', 'not told apart', 'best', 'worse']
    worse = rows['lr', '0.1']
    low, high = float(worse['difference_low']), float(worse['difference_high'])
    assert float(worse['difference']) == pytest.approx(-15) == (low + high) / 2 and low < -15 < high < 0
    assert (worse['photos'], rows['lr', '0.01']['difference']) == ('100', '')
    effects = json.loads((tmp_path / 'comparison.json').read_text())['effects']
    assert [effect['p_value'] for effect in effects if effect['level'] == '0.1'] == [float(worse['p_value'])]


def test_effects_of_single_runs_have_no_interval_and_outdated_effects_are_removed(tmp_path, grid):
    comparison = compare_runs(grid(num_seeds=1))
    assert '| lr            | 0.1   | 80.00     | -15.00                   | - | -       |' in as_markdown(comparison)
    stem = comparison_stem([tmp_path], tmp_path)
    write_comparison(comparison, stem)
    worse = read_effects(tmp_path)['lr', '0.1']
    assert [worse[key] for key in ('difference_low', 'difference_high', 'p_value', 'verdict')] == [''] * 4
    for suffix in ('.md', '.csv', '.json'):
        stem.with_suffix(suffix).unlink()
    assert comparison_stem([tmp_path], tmp_path).name == 'comparison-2'  # the effects count as a file
    write_comparison(replace(comparison, factors=None), stem)
    assert not (tmp_path / 'comparison_effects.csv').exists()


def test_of_single_runs_no_setting_is_called_best_unless_all_others_are_worse(compared, runs):
    def verdicts(**hits):
        return [(row.model_verdict, row.verdict) for row in setting_rows(compared(hits))]

    assert verdicts(a=runs(20), b=runs(22)) == [('most right', 'may be best'), ('not told apart', 'may be best')]
    assert verdicts(a=runs(20), b=runs(90)) == [('most right', 'best'), ('fewer right', 'worse')]


def test_nan_is_an_empty_cell(compared, runs):
    comparison = compared({'a': runs(20, 22), 'b': runs(90, 92)})
    (difference,) = comparison.verdict.differences
    unknown = replace(difference, p_value=math.nan, half_width=math.nan)
    row = setting_rows(replace(comparison, verdict=replace(comparison.verdict, differences=[unknown])))[1]
    assert (row.difference_low, row.difference_high, row.p_value, row.verdict) == (None,) * 4
    assert row.difference == difference.points


def test_an_interval_is_within_what_is_possible(compared, runs):
    rows = setting_rows(compared({'a': runs(20, 22, 24), 'b': runs(22, 24, 26), 'c': runs(20, 22, 500)}))
    assert (rows[2].difference_low, rows[2].difference_high) == (-100, 100)
