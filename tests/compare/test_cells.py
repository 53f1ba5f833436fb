"""The table of cells of a grid: where each setting stands."""

import pytest

from flowercls.compare.cells import cell_table
from flowercls.compare.comparison import compare_runs
from flowercls.compare.grouping import Setting
from flowercls.evaluate.significance.factors import Factors

LR, FROZEN, EPOCHS = ('lr', ['0.01', '0.1', '1']), ('frozen_stages', ['0', 'all']), ('epochs', ['5', '50'])


def settings_of(*cells, names):
    return [Setting('/'.join(cell), dict(zip(names, cell, strict=True)), {}, {}) for cell in cells]


def test_the_factor_with_most_levels_has_the_columns():
    settings = settings_of(*[(f, lr) for f in FROZEN[1] for lr in LR[1]], names=['frozen_stages', 'lr'])
    table = cell_table(Factors(['frozen_stages', 'lr'], [], [], 0.5), settings)
    assert (table.row_factors, table.column_factor, table.columns) == (['frozen_stages'], *LR)
    assert table.rows == [{'frozen_stages': '0'}, {'frozen_stages': 'all'}]
    assert table.settings == [['0/0.01', '0/0.1', '0/1'], ['all/0.01', 'all/0.1', 'all/1']]


def test_of_equally_many_levels_the_last_factor_has_the_columns():
    settings = settings_of(('0', '5'), ('0', '50'), ('all', '5'), ('all', '50'), names=['frozen_stages', 'epochs'])
    table = cell_table(Factors(['frozen_stages', 'epochs'], [], [], 0.5), settings)
    assert (table.row_factors, table.column_factor) == (['frozen_stages'], 'epochs')


def test_combinations_of_the_other_factors_have_the_rows():
    cells = [(lr, f, e) for lr in LR[1] for f in FROZEN[1] for e in EPOCHS[1]]
    table = cell_table(
        Factors(['lr', 'frozen_stages', 'epochs'], [], [], 0.5),
        settings_of(*cells, names=['lr', 'frozen_stages', 'epochs']),
    )
    assert table.row_factors == ['frozen_stages', 'epochs'] and table.column_factor == 'lr'
    assert [list(row.values()) for row in table.rows] == [['0', '5'], ['0', '50'], ['all', '5'], ['all', '50']]
    assert table.settings[1] == ['0.01/0/50', '0.1/0/50', '1/0/50']


def test_a_missing_combination_is_an_empty_cell_and_levels_keep_their_order():
    """The first row begins with the second level."""
    settings = settings_of(('0', '0.1'), ('0', '1'), ('all', '0.01'), ('all', '0.1'), names=['frozen_stages', 'lr'])
    table = cell_table(Factors(['frozen_stages', 'lr'], [], [{}, {}], None), settings)
    assert table.columns == LR[1]
    assert table.settings == [[None, '0/0.1', '0/1'], ['all/0.01', 'all/0.1', None]]


def test_a_factor_with_one_level_is_in_no_head():
    settings = settings_of(
        *[('r50', f, lr) for f in FROZEN[1] for lr in LR[1]], names=['config', 'frozen_stages', 'lr']
    )
    table = cell_table(Factors(['frozen_stages', 'lr'], [], [], 0.5), settings)
    assert table.row_factors == ['frozen_stages'] and table.settings[1][2] == 'r50/all/1'


def test_a_comparison_of_a_full_grid_knows_its_factors_and_cells(grid):
    comparison = compare_runs(grid(num_seeds=2))
    effects = {(e.factor, e.level): e for e in comparison.factors.effects}
    assert effects['lr', '0.1'].points == pytest.approx(-15) and effects['lr', '0.1'].is_worse
    assert effects['frozen_stages', '0'].points == 0 and comparison.factors.missing == []
    table = cell_table(comparison.factors, comparison.settings)
    assert table.rows == [{'frozen_stages': '0'}, {'frozen_stages': '2'}] and table.columns == ['0.01', '0.1']
    assert table.settings[1] == ['frozen_stages=2, lr=0.01', 'frozen_stages=2, lr=0.1']


def test_a_combination_that_crashed_is_named(grid):
    comparison = compare_runs([run for run in grid(num_seeds=2) if not run.name.startswith('2_0.1_')])
    assert comparison.factors.missing == [{'frozen_stages': '2', 'lr': '0.1'}] and comparison.factors.effects == []
    assert cell_table(comparison.factors, comparison.settings).settings[1] == ['frozen_stages=2, lr=0.01', None]


def test_settings_that_are_no_grid_have_no_factors(run):
    assert compare_runs([run('a', [1], frozen=0, lr=0.1), run('b', [2], frozen=2, lr=0.01)]).factors is None
