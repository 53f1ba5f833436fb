"""The export tool as a user meets it."""

import json
import shutil

import onnx
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


@pytest.fixture
def without_photos(run, tmp_path, monkeypatch):
    """The folder of a run whose validation photos are gone."""
    shutil.copytree(run, tmp_path / 'tiny', ignore=shutil.ignore_patterns('export'))
    monkeypatch.setattr('flowercls.use.torch_model.TorchModel.photos_of', lambda *_: [(tmp_path / 'a.jpg', 0)])
    return tmp_path / 'tiny'


def test_without_the_validation_photos_nothing_is_written(without_photos, tool, capsys):
    assert tool('export', without_photos) == 2
    assert 'a.jpg. So it cannot be shown' in capsys.readouterr().err and not (without_photos / 'export').exists()


@pytest.mark.slow  # writes a network with torch.onnx, 3 s
def test_without_the_photos_a_file_can_be_asked_for_and_says_so(without_photos, tool, tmp_path):
    assert tool('export', without_photos, '--allow-mismatch', '--out', tmp_path / 'x.onnx') == 0
    parity = json.loads((tmp_path / 'export.json').read_text())['onnx']['parity']
    assert parity == {'measured': False, 'reason': '1 of 1 validation photos are missing'}  # no folder of this machine
    assert (tmp_path / 'x.onnx').is_file()


@pytest.mark.parametrize('out', ['model.txt', 'model.pth'])
def test_an_out_of_another_kind_is_refused(out, run, tool, tmp_path, capsys):
    assert tool('export', run, '--out', tmp_path / out) == 2
    assert 'ends in .onnx' in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named_before_the_graph_is(run, tool, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert tool('export', run, '--out', tmp_path / 'file' / 'x') == 2
    assert f'{tmp_path}/file is not a folder. Fix: ' in capsys.readouterr().err


def test_a_page_is_made_of_an_export_and_weights_are_not(exported, tool, tmp_path, capsys):
    assert tool('export', exported, '--format', 'html', 'package', '--out', tmp_path) == 0
    record = json.loads((tmp_path / 'export.json').read_text())
    assert {entry['file'] for entry in record.values()} == {'tiny.html', 'tiny.zip'}
    assert not record['html']['parity']['measured'] and 'tiny.onnx' in record['html']['parity']['reason']
    assert load(tmp_path / 'tiny.zip').scores([]).shape == (0, 5)
    assert tool('export', exported, '--format', 'slim') == 2
    assert 'needs the checkpoint' in capsys.readouterr().err


def test_every_format_is_offered():
    from flowercls.commands.export import FORMATS
    from flowercls.use.export.exporter import SUFFIXES

    assert FORMATS.keys() == SUFFIXES.keys()


def test_a_name_in_a_strangers_file_does_not_lead_out_of_the_folder(exported, tool, tmp_path):
    model = onnx.load(exported)
    facts = next(pair for pair in model.metadata_props if pair.key == 'flowercls')
    facts.value = json.dumps({**json.loads(facts.value), 'name': '../../up'})
    onnx.save(model, tmp_path / 'x.onnx')
    assert tool('export', tmp_path / 'x.onnx', '--format', 'package', '--out', tmp_path / 'a' / 'b') == 0
    assert {path.name for path in (tmp_path / 'a' / 'b').iterdir()} == {'_.._up.zip', 'export.json'}
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['b']
