"""The export tool as a user meets it."""

import json
import shutil

import pytest

from flowercls.use.load import load


@pytest.fixture(scope='module')
def run(trained_run, tmp_path_factory):
    """A copy of a run's model, without the rest of its folder."""
    folder = tmp_path_factory.mktemp('export') / 'tiny'
    folder.mkdir()
    for path in trained_run[1].glob('best_*'):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope='module')
def exported(run, tool):
    assert tool('export', run) == 0
    return run / 'export' / 'tiny.onnx'


def test_an_onnx_file_is_measured_and_gives_the_answers_of_the_checkpoint(exported, run):
    record = json.loads((exported.parent / 'export.json').read_text())['onnx']
    assert (record['file'], record['bytes']) == ('tiny.onnx', exported.stat().st_size)
    parity = record['parity']
    assert parity['photos'] == parity['same_answer'] == 15 and parity['max_difference'] < 0.01
    assert parity['problems'] == [] and parity['run_precision'] is None and len(parity['worst']) == 3
    assert record['checkpoint_sha256'] == load(run).digest and record['sha256'] == load(exported).digest


def test_an_existing_file_is_kept(exported, run, tool, capsys):
    before = exported.read_bytes()
    assert tool('export', run) == 2
    assert 'tiny.onnx: exists already. Fix: add --overwrite' in capsys.readouterr().err
    assert exported.read_bytes() == before


def test_without_the_validation_photos_nothing_is_written(run, tool, tmp_path, capsys, monkeypatch):
    shutil.copytree(run, tmp_path / 'tiny', ignore=shutil.ignore_patterns('export'))
    monkeypatch.setattr('flowercls.use.torch_model.TorchModel.photos_of', lambda *_: [(tmp_path / 'a.jpg', 0)])
    assert tool('export', tmp_path / 'tiny') == 2
    assert 'a.jpg. So it cannot be shown' in capsys.readouterr().err and not (tmp_path / 'tiny' / 'export').exists()
    assert tool('export', tmp_path / 'tiny', '--allow-mismatch', '--out', tmp_path / 'x.onnx') == 0
    parity = json.loads((tmp_path / 'export.json').read_text())['onnx']['parity']
    assert parity['measured'] is False and 'are missing' in parity['reason'] and (tmp_path / 'x.onnx').is_file()


@pytest.mark.parametrize('out', ['model.txt', 'model.pth'])
def test_an_out_of_another_kind_is_refused(out, run, tool, tmp_path, capsys):
    assert tool('export', run, '--out', tmp_path / out) == 2
    assert 'ends in .onnx' in capsys.readouterr().err
