"""The real photos and real weights, where FLOWERCLS_REAL_PHOTOS and FLOWERCLS_REAL_WEIGHTS say where they are."""

import json
import os
from pathlib import Path

import pytest
import torchvision

REPOSITORY = Path(__file__).parent.parent
pytestmark = pytest.mark.real


def folder_of(variable):
    if not os.environ.get(variable):
        pytest.skip(f'{variable} is not set')
    return Path(os.environ[variable])


@pytest.fixture(scope='module')
def prepared(tmp_path_factory, tool):
    raw = folder_of('FLOWERCLS_REAL_PHOTOS')
    out = tmp_path_factory.mktemp('real') / 'flower'
    assert tool('prepare', raw, out) == 0
    return raw, out


def test_every_real_photo_is_accounted_for(prepared):
    raw, out = prepared
    files = sorted(path.relative_to(raw).as_posix() for path in raw.rglob('*') if path.is_file())
    manifest = json.loads((out / 'manifest.json').read_text(encoding='utf-8'))
    listed = sum(len((out / name).read_text(encoding='utf-8').splitlines()) for name in ('train.txt', 'val.txt'))
    counts = manifest['counts']
    assert counts['scanned'] == len(files)
    assert counts['scanned'] == counts['copied'] + counts['converted'] + counts['skipped'] + counts['duplicates']
    assert listed == counts['copied'] + counts['converted']


def test_validation_gets_a_fifth_of_every_class_and_torchvision_reads_both_sets(prepared):
    _, out = prepared
    train, val = (torchvision.datasets.ImageFolder(out / name) for name in ('training_set', 'val_set'))
    assert train.classes == val.classes == (out / 'classes.txt').read_text(encoding='utf-8').split()
    for label in range(len(val.classes)):
        n_val = val.targets.count(label)
        n = n_val + train.targets.count(label)
        assert n_val == int(0.2 * n + 0.5)


def test_the_same_command_gives_the_same_split(prepared, tool, tmp_path):
    raw, out = prepared
    assert tool('prepare', raw, tmp_path / 'again') == 0
    for name in ('train.txt', 'val.txt', 'manifest.json'):
        assert (tmp_path / 'again' / name).read_bytes() == (out / name).read_bytes()


def test_real_weights_fit_the_mobilenet_config_completely(prepared, tool, capsys):
    weights = folder_of('FLOWERCLS_REAL_WEIGHTS') / 'mobilenet_v2_tf_in1k.pth'
    options = (f'load_from={weights}', f'data_root={prepared[1]}', 'model.frozen_stages=all')
    config = REPOSITORY / 'configs' / 'mobilenet_v2_flower.py'
    assert tool('train', config, '--dry-run', '--cfg-options', *options) == 0
    out = capsys.readouterr().out
    assert 'trainable 6,405 of 2,230,277 parameters (0.3 %)' in out and 'nothing written' in out
