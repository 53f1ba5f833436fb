import functools
import hashlib
import http.server
import tarfile
import threading

import pytest

from flowercls import commands
from flowercls.data.drawn import draw_flowers


@pytest.fixture
def archive_url(tmp_path):
    draw_flowers(tmp_path / 'flower_photos', num_per_class=4, image_size=32)
    (tmp_path / 'served').mkdir()
    with tarfile.open(tmp_path / 'served' / 'flowers.tgz', 'w:gz') as archive:
        archive.add(tmp_path / 'flower_photos', 'flower_photos')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / 'served')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/flowers.tgz', tmp_path / 'served' / 'flowers.tgz'
        server.shutdown()


def test_a_downloaded_archive_is_prepared_and_its_digest_shown(archive_url, tmp_path, capsys):
    url, file = archive_url
    report = commands.prepare(None, tmp_path / 'flower', download=url, workers=0)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f'{digest} (recorded now' in capsys.readouterr().out
    assert '20 photos of 5 classes' in report.summary()
    commands.prepare(None, tmp_path / 'again', download=url, sha256=digest, workers=0)
    assert (tmp_path / 'again' / 'val.txt').read_text() == (tmp_path / 'flower' / 'val.txt').read_text()


def test_demo_draws_the_five_species(tmp_path):
    commands.prepare(None, tmp_path / 'flower', demo=True, workers=2)
    classes = (tmp_path / 'flower' / 'classes.txt').read_text().split()
    assert classes == ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']
    assert len((tmp_path / 'flower' / 'train.txt').read_text().splitlines()) == 320
