"""tools/compare.py as a user meets it."""

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
    assert '| frozen_stages=2 | 82.00 |' in out and '| frozen_stages=1 | 80.00 |' in out
    assert out.endswith(f'written     {tmp_path / "out" / "comparison"}.md, .csv, .json, .png\n')
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'comparison.md', 'comparison.csv', 'comparison.json', 'comparison.png'
    }  # fmt: skip
