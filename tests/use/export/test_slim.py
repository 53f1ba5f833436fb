"""The weights alone open wherever the checkpoint does, and carry its figures."""

import json

import numpy as np
import pytest
import torch

from flowercls.config.dump import parse_dumped
from flowercls.core.errors import DiskError
from flowercls.core.files import sha256_of
from flowercls.data.decode import decode_rgb
from flowercls.use.export.slim import write_safetensors, write_slim
from flowercls.use.load import load


@pytest.fixture(scope='module')
def model(trained_run):
    return load(trained_run[1])


@pytest.fixture(scope='module')
def slim(model, tmp_path_factory):
    path = tmp_path_factory.mktemp('elsewhere') / 'best_slim.pth'
    write_slim(model, path)
    return path


def test_it_holds_the_weights_and_no_state_of_the_training(slim, model):
    original, content = (torch.load(path, weights_only=True) for path in (model.source, slim))
    assert content.keys() == {'meta', 'state_dict'}
    assert content['state_dict'].keys() == original['state_dict'].keys()
    assert all(torch.equal(value, original['state_dict'][name]) for name, value in content['state_dict'].items())
    assert slim.stat().st_size < model.source.stat().st_size
    assert json.loads(slim.with_name('best_slim.pth.json').read_text())['sha256'] == sha256_of(slim)


def test_alone_it_gives_the_same_scores_facts_and_calibration(slim, model, drawn_root):
    photos = [decode_rgb(path) for path in sorted((drawn_root / 'val_set').rglob('*.jpg'))[:3]]
    alone = load(slim)
    assert np.array_equal(alone.scores(photos), model.scores(photos))
    assert alone.facts == model.facts and alone.facts['figures']['n'] == 15
    assert alone.calibration == model.calibration


def test_no_folder_of_the_machine_is_in_what_is_shared(slim, model, trained_run):
    text = torch.load(slim, weights_only=True)['meta']['cfg']
    assert str(trained_run[1].parent) not in text and '/tmp' not in text
    shared, own = parse_dumped(text), parse_dumped(model.meta['cfg'])
    assert shared['test_pipeline'] == own['test_pipeline'] and shared['model'] == own['model']
    assert '/' not in shared['data_root'] and '/' in own['data_root']


def test_tools_test_takes_it(slim, model, trained_run, tool, tmp_path):
    config, run = trained_run
    tool('test', config, slim, '--work-dir', tmp_path)
    measured = json.loads((tmp_path / 'test_best_slim/metrics.json').read_text())
    assert measured['top1'] == json.loads((run / 'metrics.json').read_text())['top1']


def test_mmpretrain_opens_it(slim, model):
    from mmpretrain import get_model

    network = get_model(model.config.copy(), pretrained=str(slim))
    values = network.state_dict()
    assert all(torch.equal(values[name], value) for name, value in model.network.state_dict().items())


def test_safetensors_opens_in_its_own_library_with_names_and_metadata(model, tmp_path):
    safetensors = pytest.importorskip('safetensors')
    from safetensors.numpy import load_file

    path = tmp_path / 'net.safetensors'
    write_safetensors(model, path)
    values = {name: value.numpy() for name, value in model.network.state_dict().items()}
    read = load_file(path)
    assert read.keys() == values.keys()
    assert all(np.array_equal(read[name], value) for name, value in values.items())
    with safetensors.safe_open(path, 'pt') as file:
        metadata = file.metadata()
    assert metadata['format'] == 'pt' and json.loads(metadata['classes']) == model.class_names
    assert json.loads(metadata['flowercls']) == model.facts and 'model' in parse_dumped(metadata['config'])
    assert '/tmp' not in str(metadata)


def test_tensors_that_share_memory_or_have_gaps_are_written_as_they_look(model, tmp_path, monkeypatch):
    load_file = pytest.importorskip('safetensors.torch').load_file
    base = torch.arange(12.0).reshape(3, 4)
    monkeypatch.setattr(model.network, 'state_dict', lambda: {'a': base, 'tied': base, 'turned': base.T})
    write_safetensors(model, tmp_path / 'a.safetensors')
    read = load_file(tmp_path / 'a.safetensors')
    assert torch.equal(read['a'], base) and torch.equal(read['tied'], base) and torch.equal(read['turned'], base.T)


@pytest.mark.parametrize('write', [write_slim, write_safetensors])
def test_a_full_disk_leaves_nothing(write, model, tmp_path, full_disk):
    full_disk(after=1000)
    with pytest.raises(DiskError, match='disk is full'):
        write(model, tmp_path / 'a.pth')
    assert list(tmp_path.iterdir()) == []
