"""tools/plan.py as a user meets it."""

import csv

ASKED = ('--photos', 100, '--seeds', 2, '--difference', 5)


def test_the_answer_is_printed_and_written_and_nothing_overwritten(tool, tmp_path, capsys):
    for number in ('plan', 'plan-2'):
        assert tool('plan', *ASKED, '--settings', 2, '--out', tmp_path / 'out') == 0
        out = capsys.readouterr().out
        assert '# What a comparison of 2 settings on 100 photos can find' in out
        assert out.endswith(f'written     {tmp_path / "out" / number}.md, .csv, .png\n')
    names = {path.name for path in (tmp_path / 'out').iterdir()}
    assert names == {f'plan{number}.{suffix}' for number in ('', '-2') for suffix in ('md', 'csv', 'png')}
    assert '(plan-2.png)' in (tmp_path / 'out' / 'plan-2.md').read_text()
    with (tmp_path / 'out' / 'plan.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['about'] for row in rows} == {'models', 'settings'} and 0 <= float(rows[-1]['ruled_out']) <= 1


def test_a_wrong_number_or_folder_is_answered_without_a_traceback(tool, tmp_path, capsys):
    (tmp_path / 'file').touch()
    for wrong in (('--accuracy', 101), ('--out', tmp_path / 'file')):
        assert tool('plan', *ASKED, *wrong) == 2
        error = capsys.readouterr().err
        assert wrong[0] in error and 'Fix:' in error and 'Traceback' not in error
