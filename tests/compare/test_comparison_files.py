"""The files of a comparison: effects of factors as a table of their own."""

import csv
import json
from dataclasses import replace

import pytest

from flowercls import commands
from flowercls.compare.comparison import compare_runs
from flowercls.compare.comparison_files import comparison_stem, write_comparison
from flowercls.compare.wording import as_markdown
from flowercls.core.errors import ConfigError
from helpers.run_folders import write_run


@pytest.fixture
def write_grid(tmp_path):
    """A grid of 2 x 2 settings: learning rate 0.1 is right about 80 of 100 photos, 0.01 about 95."""

    def write(num_seeds):
        return [
            write_run(
                tmp_path / f'{frozen}_{lr}_{seed}',
                range(seed, misses + seed),
                num_photos=100,
                frozen=frozen,
                lr=lr,
                seed=seed,
            )
            for frozen in (0, 2)
            for lr, misses in ((0.1, 20), (0.01, 5))
            for seed in range(num_seeds)
        ]

    return write


def read(path):
    with path.open(newline='') as file:
        return {(row['factor'], row['level']): row for row in csv.DictReader(file)}


def test_effects_of_factors_are_a_table_for_spreadsheets(tmp_path, write_grid):
    text = commands.compare(write_grid(num_seeds=2), out=tmp_path / 'out')
    assert text.endswith('comparison.md, .csv, .json, .png, _effects.csv')
    rows = read(tmp_path / 'out' / 'comparison_effects.csv')
    assert list(rows) == [('frozen_stages', '0'), ('frozen_stages', '2'), ('lr', '0.01'), ('lr', '0.1')]
    assert [float(row['top1']) for row in rows.values()] == pytest.approx([87.5, 87.5, 95, 80])
    assert [row['verdict'] for row in rows.values()] == ['best', 'tied', 'best', 'worse']
    slow = rows['lr', '0.1']
    low, high = float(slow['difference_low']), float(slow['difference_high'])
    assert float(slow['difference']) == pytest.approx(-15) == (low + high) / 2 and low < -15 < high < 0
    assert (slow['photos'], rows['lr', '0.01']['difference']) == ('100', '')
    effects = json.loads((tmp_path / 'out' / 'comparison.json').read_text())['effects']
    assert [effect['p_value'] for effect in effects if effect['level'] == '0.1'] == [float(slow['p_value'])]


def test_effects_of_single_runs_have_no_interval_and_no_verdict(tmp_path, write_grid):
    comparison = compare_runs(write_grid(num_seeds=1))
    assert '| lr | 0.1 | 80.00 | -15.00 | - | - | - |' in as_markdown(comparison)
    write_comparison(comparison, tmp_path / 'comparison')
    slow = read(tmp_path / 'comparison_effects.csv')['lr', '0.1']
    assert [slow[key] for key in ('difference_low', 'difference_high', 'p_value', 'verdict')] == [''] * 4


def test_outdated_effects_are_removed_and_count_as_a_file(tmp_path, write_grid):
    comparison, folder = compare_runs(write_grid(num_seeds=1)), tmp_path / 'out'
    stem = comparison_stem([tmp_path], folder)
    write_comparison(comparison, stem)
    for suffix in ('.md', '.csv', '.json'):
        stem.with_suffix(suffix).unlink()
    assert comparison_stem([tmp_path], folder).name == 'comparison-2'
    write_comparison(replace(comparison, effects=[]), stem)
    assert not (folder / 'comparison_effects.csv').exists()


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / 'mine.py').touch()
    with pytest.raises(ConfigError, match='is a file'):
        comparison_stem([tmp_path], tmp_path / 'mine.py')
