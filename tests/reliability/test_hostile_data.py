"""Downloads and data made to do harm: nothing of theirs is run, no path leads out of its folder.

Archives made to do harm are in `tests/core/test_download.py`.
"""

import json
import shutil

import numpy as np
import pytest

from flowercls.data.array_store import ArrayStore
from flowercls.data.photo_cache import list_photos


@pytest.fixture(autouse=True)
def folders_of_weights(tmp_path, monkeypatch):
    monkeypatch.setenv('FLOWERCLS_WEIGHTS', str(tmp_path / 'weights'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))  # a reader that is not ours would keep it there


@pytest.mark.parametrize('key', ['load_from', 'model.backbone.init_cfg.checkpoint'])
def test_weights_from_an_address_are_checked_and_not_unpickled(trained_run, tool, evil, server, said, tmp_path, key):
    more = ['model.backbone.init_cfg.type=Pretrained'] if 'init_cfg' in key else []
    for name, words in (('net-0badf00d.pth', '0badf00d'), ('net.pth', 'run code')):
        server.files[f'/{name}'] = evil.read_bytes()
        options = [*more, f'{key}={server.url}/{name}']
        assert tool('train', trained_run[0], '--dry-run', '--cfg-options', *options) == 4 and words in said()
    assert sorted(path.name for path in (tmp_path / 'weights').iterdir()) == ['net.pth', 'net.pth.sha256']


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
        {'file': 'train.txt', 'size': [1, 2**62]},
        {'file': 'train.txt', 'size': [2**62, 2**62]},
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
