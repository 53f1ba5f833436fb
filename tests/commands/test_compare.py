"""tools/compare.py as a user meets it."""

import pytest

from flowercls.evaluate.significance.settings import ASSUMED_SCATTER
from helpers.run_folders import write_run


def test_what_is_no_run_is_answered_without_a_traceback(tool, tmp_path, capsys):
    assert tool('compare', str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert 'neither a run folder' in error and 'Fix:' in error and 'Traceback' not in error


def test_runs_are_compared_and_the_files_are_named(tool, tmp_path, capsys):
    first = write_run(tmp_path / 'one', range(20), num_photos=100, frozen=1)
    second = write_run(tmp_path / 'other', range(18), num_photos=100, frozen=2)
    assert tool('compare', first, second, '--out', tmp_path / 'out') == 0
    out = capsys.readouterr().out
    assert '# Comparison of 2 settings on 100 validation photos' in out
    assert '| frozen_stages=2 | 82.00     |' in out and '| frozen_stages=1 | 80.00     |' in out
    assert 'scatter by 1 point (' in out
    assert out.endswith(f'written     {tmp_path / "out" / "comparison"}.md, .csv, .json, .png\n')
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'comparison.md', 'comparison.csv', 'comparison.json', 'comparison.png'
    }  # fmt: skip


def test_the_assumed_scatter_of_seeds_is_chosen(tool, tmp_path, capsys):
    runs = [write_run(tmp_path / name, range(k), frozen=k) for name, k in (('one', 20), ('other', 18))]
    assert tool('compare', *runs, '--out', tmp_path / 'out', '--seed-scatter', '0.3') == 0
    out = capsys.readouterr().out
    assert 'scatter by 0.3 points (' in out and 'not used' not in out


@pytest.mark.parametrize(
    ('runs', 'reason'),
    [
        ([dict(frozen=0, seed=0), dict(frozen=0, seed=1), dict(frozen=1, seed=0)], 'repeated runs'),
        ([dict(frozen=0)], 'only one setting'),
    ],
)
def test_a_scatter_that_is_given_and_not_used_is_said(tool, tmp_path, capsys, runs, reason):
    folders = [write_run(tmp_path / str(i), range(20 + i), **options) for i, options in enumerate(runs)]
    assert tool('compare', *folders, '--out', tmp_path / 'out') == 0
    assert '--seed-scatter' not in capsys.readouterr().out
    assert tool('compare', *folders, '--out', tmp_path / 'out', '--seed-scatter', '30') == 0
    assert '--seed-scatter 30 is not used: ' in (out := capsys.readouterr().out) and reason in out


@pytest.mark.parametrize('value', ['-1', 'nan', '101'])
def test_a_scatter_that_cannot_be_is_refused(tool, tmp_path, capsys, value):
    run = write_run(tmp_path / 'one', range(20))
    assert tool('compare', run, f'--seed-scatter={value}') == 2
    error = capsys.readouterr().err
    assert '--seed-scatter' in error and value in error and 'Fix:' in error


def test_the_help_tells_the_scatter_that_is_assumed(tool, capsys):
    with pytest.raises(SystemExit):
        tool('compare', '--help')
    assert f'(default: {ASSUMED_SCATTER:g})' in ' '.join(capsys.readouterr().out.split())
