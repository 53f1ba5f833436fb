"""Photos of more than 8 bits a colour are classified as those of the training were seen: by the range of their set."""

import json
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import flowercls
from flowercls.core.errors import CheckpointError, DataError
from flowercls.core.prepared_folder import checked_ranges, value_range
from flowercls.data.decode import decode_rgb
from flowercls.data.prepare.preparation import prepare
from flowercls.models.checkpoint_reader import read_checkpoint
from flowercls.models.checkpoint_writer import write_checkpoint
from flowercls.use.export.package_predict import read_rgb


@pytest.fixture(scope='module')
def deep(tmp_path_factory, write_config, tool):
    """A folder with photos of 12 bits in files of 16, prepared, and a run on them: raw, prepared, run."""
    folder = tmp_path_factory.mktemp('deep')
    for number in range(20):
        blocks = np.random.default_rng(number).integers(900, 1800, (8, 8), np.uint16)
        path = folder / 'raw' / 'ab'[number % 2] / f'{number}{".png" if number % 4 < 2 else ".tif"}'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(blocks, (80, 80), interpolation=cv2.INTER_LINEAR))
    prepare(folder / 'raw', folder / 'prepared', workers=0)
    config = write_config(
        folder,
        'model = dict(head=dict(num_classes=2))\ntrain_cfg = dict(max_epochs=1)\n',
        data_root=folder / 'prepared',
    )
    assert tool('train', config, '--work-dir', folder / 'run') == 0
    return folder


def rows(deep):
    """(raw file, prepared file) of all photos."""
    images = json.loads((deep / 'prepared' / 'manifest.json').read_text())['images']
    return [(deep / 'raw' / row['raw'], deep / 'prepared' / row['file']) for row in images]


def test_a_raw_photo_gets_the_answer_of_the_prepared_one(deep):
    model = flowercls.load(deep / 'run')
    assert model.value_range == value_range(deep / 'prepared') == model.facts['value_range']
    low, high = model.value_range['16-bit']
    assert 900 <= low < high <= 1800
    for raw, prepared in rows(deep)[::5]:
        assert np.array_equal(decode_rgb(raw, value_range=model.value_range), decode_rgb(prepared))
        expected = model.predict(prepared).scores
        assert model.predict(raw).scores == model.predict(Image.open(raw)).scores == expected


@pytest.mark.slow  # three runs of tools
def test_predict_and_a_test_of_a_folder_scale_as_well(deep, tool, tmp_path):
    raw, prepared = zip(*rows(deep), strict=True)
    for name, files in (('raw', raw), ('prepared', prepared)):
        assert tool('predict', deep / 'run', *files, '--out', tmp_path / f'{name}.csv') == 0
    texts = [(tmp_path / f'{name}.csv').read_text().splitlines() for name in ('raw', 'prepared')]
    assert len(texts[0]) == 21
    assert [line.split(',')[1:] for line in texts[0]] == [line.split(',')[1:] for line in texts[1]]
    assert tool('test', deep / 'run', '--data', deep / 'raw', '--work-dir', tmp_path / 'test') == 0


def test_a_float_photo_is_refused_by_a_model_that_knows_no_range_of_floats(deep, tmp_path):
    Image.fromarray(np.full((80, 80), 0.5, np.float32)).save(tmp_path / 'a.tif')
    with pytest.raises(DataError, match='whose range is not known.*Fix: save it with 8 bits'):
        flowercls.load(deep / 'run').predict(tmp_path / 'a.tif')


@pytest.mark.parametrize(
    'bad', [{'16-bit': [5, 'a']}, {'9-bit': [1, 2]}, {'float': [float('nan'), 1]}, [1, 2], {'float': [2, 1]}]
)
def test_a_checkpoint_with_a_range_that_is_none_is_refused(deep, tmp_path, bad):
    checkpoint = read_checkpoint(deep / 'run' / 'epoch_1.pth')
    checkpoint['meta']['value_range'] = bad
    write_checkpoint(tmp_path / 'a.pth', checkpoint)
    with pytest.raises(CheckpointError, match='Fix: '):
        flowercls.load(tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='value_range'):
        checked_ranges(bad)


def test_the_script_of_a_package_scales_alike(deep, tmp_path):
    ranges = {'16-bit': [905, 1790], 'float': [0.25, 1.5], '32-bit': [-10, 900]}
    floats = np.linspace(0, 2, 1200, dtype=np.float32).reshape(30, 40)
    floats[0, 0] = np.nan
    for name, values in (('f.tif', floats), ('i.tif', (np.nan_to_num(floats) * 500).astype(np.int32))):
        Image.fromarray(values).save(tmp_path / name)
    for path in [*(raw for raw, _ in rows(deep)[:4]), tmp_path / 'f.tif', tmp_path / 'i.tif']:
        assert np.array_equal(read_rgb(path, ranges), decode_rgb(path, value_range=ranges))
    with pytest.raises(OSError, match='range is not known'):
        read_rgb(tmp_path / 'f.tif')
    cv2.imwrite(str(tmp_path / 'c.png'), np.full((9, 9, 3), 1000, np.uint16))
    with pytest.raises(OSError, match='16-bit colour'):
        read_rgb(tmp_path / 'c.png', ranges)
    assert (read_rgb(tmp_path / 'c.png') == decode_rgb(tmp_path / 'c.png')).all()


@pytest.mark.slow  # the graph is made: ten seconds
def test_an_export_keeps_the_range(deep, tool, tmp_path):
    assert tool('export', deep / 'run', '--format', 'onnx', 'package', 'slim', '--out', tmp_path) == 0
    model = flowercls.load(deep / 'run')
    raw, prepared = rows(deep)[3]
    expected = model.predict(prepared).scores
    for path in tmp_path.iterdir():
        if path.suffix in ('.onnx', '.zip', '.pth'):
            export = flowercls.load(path)
            assert export.value_range == model.value_range
            assert export.predict(raw).scores == pytest.approx(expected, abs=1e-4)
    with zipfile.ZipFile(next(tmp_path.glob('*.zip'))) as archive:
        archive.extractall(tmp_path / 'unpacked')
    done = subprocess.run(
        [sys.executable, tmp_path / 'unpacked' / 'predict.py', raw], capture_output=True, text=True, check=True
    )
    best = max(expected, key=expected.get)
    assert f'{best} {expected[best]:.1%}' in done.stdout
    assert torch.tensor(list(expected.values())).sum() == pytest.approx(1)
