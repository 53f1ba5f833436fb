"""tools/compare.py as a user meets it."""


def test_what_is_no_run_is_answered_without_a_traceback(tool, tmp_path, capsys):
    assert tool('compare', str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert 'neither a run folder' in error and 'Fix:' in error and 'Traceback' not in error
