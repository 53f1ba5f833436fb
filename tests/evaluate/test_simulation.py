"""The simulated sweeps are as they say, and corner cells keep their promise."""

import json

import numpy as np
import pytest

from flowercls.evaluate.simulation import all_cells, draw_sweep, equal_settings, main, measure, missed_bars

CELLS = {cell.name: cell for cell in all_cells()}
SCHEMES = ('2 seeds', '3 seeds', '5 seeds', '5 folds', '5 folds x 3 seeds', 'single runs')
CORNERS = [
    f'grid/{number} settings/{scheme}/{corner}'
    for number in (2, 12)
    for scheme in SCHEMES
    for corner in ('60 photos/scatter 0', '5000 photos/scatter 1')
]


def test_accuracy_scatters_as_the_cell_says():
    hits = draw_sweep(np.random.default_rng(0), equal_settings('', 2, 400, 2.0, photos=3000))
    accuracies = 100 * hits.by_setting['setting 0'].mean(axis=1)
    assert accuracies.mean() == pytest.approx(95, abs=1) and accuracies.std() == pytest.approx(2.0, abs=0.3)


def test_every_cell_can_be_drawn():
    assert len(CELLS) > 300
    for name in (*(name for name in CELLS if not name.startswith('grid')), *CORNERS[:1]):
        cell = CELLS[name]
        hits = draw_sweep(np.random.default_rng(0), cell)
        assert [len(runs) for runs in hits.by_setting.values()] == list(cell.seeds)
        assert (hits.folds is not None, hits.groups is not None) == (cell.folds > 0, cell.group_size > 1)


def test_the_script_goes_on_where_it_stopped(tmp_path, capsys):
    out = tmp_path / 'rates.jsonl'
    arguments = ['unequal seeds/2-1', '--sweeps', '5', '--out', str(out)]
    main(arguments)
    assert 'unequal seeds/2-1: wrong' in capsys.readouterr().out
    out.write_text(json.dumps(json.loads(out.read_text()) | {'sweeps': 77}))
    main(arguments)
    assert '(77 sweeps)' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize('name', CORNERS)
def test_corner_cells_keep_the_error_rate(name):
    """Slow: 200 sweeps each. If 5 % are wrong, 10 % are reached by chance in one of 500 runs of this test."""
    assert len(CORNERS) == 24
    assert measure(CELLS[name], 200)['wrong'] <= 0.10


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in CELLS if name.startswith(('worse/', 'ten times'))])
def test_differences_are_found(name):
    """Slow: 300 sweeps each; bars are widened by three standard errors."""
    cell, rates = CELLS[name], measure(CELLS[name], 300)
    widened = {event: (least - 0.09, most + 0.06) for event, (least, most) in cell.bars.items()}
    assert not missed_bars(type(cell)(**{**vars(cell), 'bars': widened}), rates), rates
