import errno
import json

import pytest

from flowercls.core.errors import ConfigError, DiskError, RunInUseError
from flowercls.use import row_file
from flowercls.use.row_file import RowFile, check_output, partial_of, record_of

ORIGIN = {'model': 'abc', '--batch-size': 4}


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'new' / 'x.csv'


def begin(out, origin=ORIGIN, *, resume=False):
    return RowFile(out, origin, resume=resume)


def test_a_file_has_its_name_only_when_it_is_complete(out):
    with begin(out) as file:
        file.append('a\n', {'photos': 1})
        assert not out.exists() and partial_of(out).read_text() == 'a\n'
        file.finish()
    assert out.read_text() == 'a\n' and [path.name for path in out.parent.iterdir()] == ['x.csv']


def test_an_interrupted_file_is_gone_on_with_behind_the_last_whole_append(out):
    with pytest.raises(KeyboardInterrupt), begin(out) as file:
        file.append('a\n', {'photos': 1})
        file._file.write(b'half a r')
        raise KeyboardInterrupt
    assert partial_of(out).read_text() == 'a\n'
    with begin(out, resume=True) as file:
        assert file.done == {'photos': 1}
        file.append('b\n', {'photos': 2})
        file.finish()
    assert out.read_text() == 'a\nb\n'


def test_rows_behind_the_record_of_a_killed_process_are_cut_off(out, monkeypatch):
    monkeypatch.setattr(row_file, 'SAVED_EVERY_S', -1)  # at every append
    file = begin(out)
    file.append('a\n', {'photos': 1})
    file._file.write(b'b\nhalf')
    file._file.close()  # as a killed process leaves it
    with begin(out, resume=True) as file:
        assert file.done == {'photos': 1} and partial_of(out).read_text() == 'a\n'


def test_the_end_is_written_once_however_often_the_last_step_fails(out, monkeypatch):
    monkeypatch.setattr(row_file, 'SAVED_EVERY_S', -1)
    with pytest.raises(OSError, match='no such'), begin(out) as file:
        file.append('a\n', {'photos': 1})
        monkeypatch.setattr(row_file.os, 'fsync', lambda _: (_ for _ in ()).throw(OSError('no such')))
        file.finish('end\n')
    monkeypatch.undo()
    with begin(out, resume=True) as file:
        assert file.done == {'photos': 1}
        file.finish('end\n')
    assert out.read_text() == 'a\nend\n'


@pytest.mark.parametrize(
    ('origin', 'words'),
    [
        ({**ORIGIN, 'model': 'other'}, 'the model changed'),
        ({**ORIGIN, '--batch-size': 8}, '--batch-size was 4, is 8'),
        ({**ORIGIN, '--min-confidence': 0.8}, '--min-confidence was None, is 0.8'),
        ({'model': 'abc'}, '--batch-size was 4, is None'),
    ],
)
def test_a_file_begun_otherwise_is_not_gone_on_with(out, origin, words):
    with begin(out) as file:
        file.append('a\n', {})
    with pytest.raises(ConfigError, match=f'{words}.*Fix: --overwrite'):
        begin(out, origin, resume=True)
    assert partial_of(out).read_text() == 'a\n' and record_of(out).exists()


@pytest.mark.parametrize(
    'record', ['', '{}', '[]', '{"origin": 1, "bytes": 0, "done": null}', '{"origin": {}, "bytes": "x"}']
)
def test_a_damaged_record_is_told(out, record):
    with begin(out) as file:
        file.append('a\n', {})
    record_of(out).write_text(record)
    with pytest.raises(ConfigError, match='cannot be read.*--overwrite'):
        begin(out, resume=True)
    record_of(out).unlink()
    with pytest.raises(ConfigError, match='cannot be read.*--overwrite'):
        begin(out, resume=True)


def test_rows_that_were_lost_are_noticed(out):
    with begin(out) as file:
        file.append('a\n', {})
    partial_of(out).write_text('')
    with pytest.raises(ConfigError, match='has lost rows'):
        begin(out, resume=True)


def test_two_processes_do_not_write_one_file(out):
    pytest.importorskip('fcntl')
    with begin(out) as file:
        file.append('a\n', {})
        for resume in (False, True):
            with pytest.raises(RunInUseError):
                begin(out, resume=resume)
        file.finish()
    assert out.read_text() == 'a\n'


class FullDisk:
    """A file on a disk that is full after three more bytes."""

    def __init__(self, file):
        self.file, self.left = file, 3

    def write(self, data):
        if not self.left:
            raise OSError(errno.ENOSPC, 'No space left on device')
        num_bytes = self.file.write(data[: self.left])
        self.left -= num_bytes
        return num_bytes

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_full_disk_leaves_whole_rows(out):
    with pytest.raises(DiskError, match='x.csv: the disk is full'), begin(out) as file:
        file._file = FullDisk(file._file)
        file.append('a\n', {'photos': 1})
        file.append('b\n', {'photos': 2})
    assert partial_of(out).read_text() == 'a\n'
    assert json.loads(record_of(out).read_text())['done'] == {'photos': 1}


def test_a_disk_that_is_full_from_the_start_is_left_empty(out, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(row_file.json, 'dump', refuse)
    with pytest.raises(DiskError):
        begin(out)
    assert list(out.parent.iterdir()) == []


def test_a_file_without_rows_leaves_nothing_to_go_on_with(out):
    with begin(out):
        pass
    assert list(out.parent.iterdir()) == []


def test_nothing_may_be_left(out):
    with begin(out) as file:
        file.append('a\n', {})
        file.discard()
    assert list(out.parent.iterdir()) == []


def test_names_that_are_no_utf8_are_written_as_escapes(out):
    with begin(out) as file:
        file.append('caf\udce9\n', {'broken': ['caf\udce9']})
        file.save()
        file.finish()
    assert out.read_text(encoding='utf-8') == 'caf\\udce9\n'


@pytest.mark.parametrize(
    ('files', 'flags', 'words'),
    [
        (['x.csv'], {}, 'exists already.*--overwrite'),
        (['x.csv'], {'resume'}, 'is complete.*--overwrite'),
        (['x.csv.partial'], {}, 'interrupted run.*--resume'),
        (['x.csv', 'x.csv.partial'], {}, '--resume'),
        (['x.csv/a'], {'overwrite'}, 'is a folder'),
        ([], {}, None),
        ([], {'resume'}, None),
        (['x.csv'], {'overwrite'}, None),
        (['x.csv.partial'], {'resume'}, None),
        (['x.csv', 'x.csv.partial'], {'resume'}, None),
        (['x.csv.partial'], {'overwrite'}, None),
    ],
)
def test_nothing_is_lost_unasked(tmp_path, files, flags, words):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    options = {flag: flag in flags for flag in ('resume', 'overwrite')}
    if words is None:
        check_output(tmp_path / 'x.csv', **options)
    else:
        with pytest.raises(ConfigError, match=words):
            check_output(tmp_path / 'x.csv', **options)
