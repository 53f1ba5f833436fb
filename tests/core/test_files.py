from pathlib import Path

import pytest

from flowercls.core import files
from flowercls.core.errors import DiskError


def test_a_file_appears_when_it_is_complete_and_not_before(tmp_path):
    with files.atomic_write(tmp_path / 'a.txt') as file:
        file.write('grün\n')
        assert not (tmp_path / 'a.txt').exists()
    assert (tmp_path / 'a.txt').read_bytes() == 'grün\n'.encode()
    assert [path.name for path in tmp_path.iterdir()] == ['a.txt']


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / 'a.txt').write_text('old')
    with pytest.raises(KeyError), files.atomic_write(tmp_path / 'a.txt') as file:
        file.write('new')
        raise KeyError
    assert (tmp_path / 'a.txt').read_text() == 'old'
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(('number', 'words'), [(28, 'disk is full'), (13, 'may not be written'), (30, 'may not be')])
def test_full_and_forbidden_disks_are_named(number, words):
    with pytest.raises(DiskError, match=f'out/x.pth: .*{words}.*Fix:'), files.disk_errors('out/x.pth'):
        raise OSError(number, 'reason')


def test_other_errors_of_the_system_keep_their_traceback():
    with pytest.raises(FileNotFoundError), files.disk_errors('x'):
        raise FileNotFoundError(2, 'gone')


def test_json_refuses_what_other_readers_could_not_read(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / 'm.json', {'nll': float('nan')})
    assert list(tmp_path.iterdir()) == []


def test_numbers_come_before_an_ending_and_after_a_name_with_dots():
    names = files.numbered(Path('a/lr=0.1')), files.numbered(Path('a/b.csv'), '.csv')
    assert [[path.name for _, path in zip(range(3), paths, strict=False)] for paths in names] == [
        ['lr=0.1', 'lr=0.1-2', 'lr=0.1-3'],
        ['b.csv', 'b-2.csv', 'b-3.csv'],
    ]
