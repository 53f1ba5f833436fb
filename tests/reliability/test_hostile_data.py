"""Downloads, archives and data made to do harm: nothing of theirs is run, no path leads out of its folder."""

import io
import json
import shutil
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from flowercls.data.array_store import ArrayStore
from flowercls.data.photo_cache import list_photos

# --- downloads ------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on this machine; ``server.content`` is what it sends, whatever it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self.send_response(200)
            self.send_header('Content-Length', str(len(self.server.content)))
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *args):
            pass

    monkeypatch.setenv('FLOWERCLS_WEIGHTS', str(tmp_path / 'weights'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))  # a reader that is not ours would keep it there
    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as running:
        running.url = f'http://127.0.0.1:{running.server_address[1]}'
        threading.Thread(target=running.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()
        yield running
        running.shutdown()


@pytest.mark.parametrize('key', ['load_from', 'model.backbone.init_cfg.checkpoint'])
def test_weights_from_an_address_are_checked_and_not_unpickled(trained_run, tool, evil, server, said, tmp_path, key):
    server.content = evil.read_bytes()
    more = ['model.backbone.init_cfg.type=Pretrained'] if 'init_cfg' in key else []
    for name, words in (('net-0badf00d.pth', 'expected 0badf00d'), ('net.pth', 'could run code')):
        options = [*more, f'{key}={server.url}/{name}']
        assert tool('train', trained_run[0], '--dry-run', '--cfg-options', *options) == 4 and words in said()
    assert sorted(path.name for path in (tmp_path / 'weights').iterdir()) == ['net.pth', 'net.pth.sha256']


def test_weights_that_change_behind_an_address_are_refused(trained_run, tool, evil, server, said, tmp_path):
    server.content = (trained_run[1] / 'epoch_1.pth').read_bytes()
    start = ('train', trained_run[0], '--dry-run', '--cfg-options', f'load_from={server.url}/net.pth')
    assert tool(*start) == 0
    (tmp_path / 'weights/net.pth').unlink()
    server.content = evil.read_bytes()
    assert tool(*start) == 4 and 'another file at the first download' in said()
    assert [path.name for path in (tmp_path / 'weights').iterdir()] == ['net.pth.sha256']


def packed(kind, canary):
    """An archive that would write the canary."""
    buffer = io.BytesIO()
    if kind == 'absolute name':
        with zipfile.ZipFile(buffer, 'w') as archive:
            archive.writestr('daisy/1.jpg', b'1')
            archive.writestr(str(canary), b'1')
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        link, inside = tarfile.TarInfo('daisy/out'), 'daisy/out/canary'
        link.type, link.linkname = tarfile.SYMTYPE, str(canary.parent)
        if kind == 'link':
            archive.addfile(link)
        archive.addfile(tarfile.TarInfo('../canary' if kind == 'parent folder' else inside))
    return buffer.getvalue()


@pytest.mark.parametrize('kind', ['absolute name', 'link', 'parent folder'])
def test_an_archive_writes_nothing_outside(tool, canary, server, said, tmp_path, kind):
    server.content = packed(kind, canary)
    assert tool('prepare', tmp_path / 'out', '--download', f'{server.url}/x.zip', '--workers', '0') == 3
    assert 'Fix: ' in said() and list(tmp_path.iterdir()) == []


# --- data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('line', ['../../secret.txt 0', '{folder}/secret.txt 0', 'daisy/link.jpg 0', 'daisy/1.jpg 99'])
def test_lists_of_photos_lead_to_photos_of_the_folder(trained_run, tool, drawn_root, said, tmp_path, line):
    # What a file begins with is told, as it says what kind of file it is.
    (tmp_path / 'secret.txt').write_text(f'{"-" * 64}the secret')
    root = shutil.copytree(drawn_root, tmp_path / 'flower')
    (root / 'val_set/daisy/link.jpg').symlink_to(tmp_path / 'secret.txt')
    (root / 'val.txt').write_text(f'{line.format(folder=tmp_path)}\n')
    options = ('--work-dir', tmp_path / 'tested', '--cfg-options', f'data_root={root}')
    assert tool('test', trained_run[0], trained_run[1] / 'epoch_2.pth', *options) == 3
    assert 'Fix: ' in (told := said()) and 'the secret' not in told


@pytest.mark.parametrize('name', ['../../canary', '/canary', 'a/b'])
def test_classes_that_are_paths_are_not_followed(trained_run, tool, drawn_root, said, tmp_path, canary, name):
    root = shutil.copytree(drawn_root, tmp_path / 'flower')
    (root / 'classes.txt').write_text('\n'.join([name, 'dandelion', 'rose', 'sunflower', 'tulip']) + '\n')
    assert tool('train', trained_run[0], '--dry-run', '--cfg-options', f'data_root={root}') == 3
    assert 'Fix: ' in said()


@pytest.mark.parametrize(
    'image',
    [
        {'file': '../../etc/hostname', 'size': [8, 8]},
        {'file': '/etc/hostname', 'size': [8, 8]},
        {'file': 'train.txt', 'size': [-8, -8]},
        {'file': 'train.txt', 'size': [float('inf'), 1]},
        {'file': '\ud800', 'size': [8, 8]},
        {'file': 3, 'size': 'large'},
    ],
)
def test_a_manifest_that_says_nonsense_gives_no_store(tmp_path, image):
    (tmp_path / 'train.txt').touch()
    (tmp_path / 'manifest.json').write_text(json.dumps({'images': [image]}))
    assert list_photos(tmp_path, 64) is None


@pytest.mark.parametrize('about', ['{"format": 1}', '{"format": 1, "arrays": {"../../x": {}}}', '[1]'])
def test_kept_arrays_are_numbers(tmp_path, harm, about):
    store = ArrayStore(tmp_path)
    with store.building('key', {}) as building:
        building.array('numbers', (1,), np.int64)
    np.save(tmp_path / 'key/numbers.npy', np.array([harm], object), allow_pickle=True)
    assert store.read('key') is None
    (tmp_path / 'key/about.json').write_text(about)
    assert store.read('key') is None
