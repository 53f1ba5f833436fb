import functools
import hashlib
import http.server
import threading

import pytest

from flowercls.core import files
from flowercls.core.errors import CheckpointError, ConfigError, DataError, DiskError, DivergedError, FlowerclsError


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


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / 'served'
    folder.mkdir()
    (folder / 'w.bin').write_bytes(b'flower' * 1000)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{running.server_port}'
        running.shutdown()


def test_a_download_is_kept_if_its_digest_is_the_promised_one(server, tmp_path):
    digest = hashlib.sha256(b'flower' * 1000).hexdigest()
    assert files.sha256_of(tmp_path / 'served' / 'w.bin') == digest
    assert files.download(f'{server}/w.bin', tmp_path / 'new' / 'w.bin', sha256=digest[:8]) == digest
    assert (tmp_path / 'new' / 'w.bin').read_bytes() == b'flower' * 1000


@pytest.mark.parametrize(
    ('name', 'digest', 'words'), [('w.bin', '0' * 64, 'expected 0000'), ('gone.bin', None, 'cannot be downloaded.*404')]
)
def test_of_a_wrong_download_nothing_is_kept(server, tmp_path, name, digest, words):
    with pytest.raises(files.DownloadError, match=words):
        files.download(f'{server}/{name}', tmp_path / 'new' / 'w.bin', sha256=digest)
    assert list((tmp_path / 'new').iterdir()) == []


def test_more_than_the_limit_is_refused_before_it_is_written(server, tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'atomic_write', lambda *_: pytest.fail('it was written'))
    with pytest.raises(files.DownloadError, match='sends more than 5,999 bytes.*Fix:'):
        files.download(f'{server}/w.bin', tmp_path / 'w.bin', max_bytes=5999)


def test_more_than_the_limit_is_refused_also_where_the_server_does_not_say_how_much(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'send_header', lambda *_: None)
    monkeypatch.setattr(files, 'CHUNK_BYTES', 1000)
    with pytest.raises(files.DownloadError, match='sends more than 5,999 bytes'):
        files.download(f'{server}/w.bin', tmp_path / 'new' / 'w.bin', max_bytes=5999)
    assert list((tmp_path / 'new').iterdir()) == []
    files.download(f'{server}/w.bin', tmp_path / 'new' / 'w.bin', max_bytes=6000)
    assert (tmp_path / 'new' / 'w.bin').stat().st_size == 6000


def test_a_full_disk_is_noticed_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = files.shutil.disk_usage(tmp_path)._replace(free=5999)
    monkeypatch.setattr(files.shutil, 'disk_usage', lambda _: usage)
    monkeypatch.setattr(files, 'atomic_write', lambda *_: pytest.fail('it was written'))
    with pytest.raises(DiskError, match='w.bin: needs 0 MiB, 0 MiB are free. Fix:'):
        files.download(f'{server}/w.bin', tmp_path / 'w.bin')


def test_an_unreachable_address_is_named():
    with pytest.raises(files.DownloadError, match='http://127.0.0.1:1/w.bin: cannot be downloaded'):
        files.download('http://127.0.0.1:1/w.bin', 'w.bin', timeout_s=2)


def test_exit_codes_are_the_agreed_ones():
    codes = {error: error.exit_code for error in FlowerclsError.__subclasses__()}
    assert {codes[e] for e in (ConfigError, DataError, CheckpointError, DiskError, DivergedError)} == {2, 3, 4, 5, 6}


def test_of_a_workers_error_only_the_message_is_kept():
    text = (
        'Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
        '  File "x.py", line 1\nflowercls.core.errors.DataError: rose/1.jpg: truncated.\n'
    )
    assert str(DataError(text)) == 'rose/1.jpg: truncated.'
