"""The formats that need no graph, through `export`: names, sizes, what is refused."""

import json
import re

import pytest

from flowercls.commands.export import export
from flowercls.core.errors import ConfigError
from flowercls.core.files import sha256_of
from flowercls.use.load import load, model_file

FORMATS = ['slim', 'safetensors', 'card']


@pytest.fixture(scope='module')
def exported(trained_run, tmp_path_factory):
    pytest.importorskip('safetensors')
    folder = tmp_path_factory.mktemp('export')
    return folder, export(trained_run[1], FORMATS, out=folder)


def test_every_file_has_its_name_and_an_entry_in_the_record(exported, trained_run):
    folder, _ = exported
    best = model_file(trained_run[1])
    names = {f'{best.stem}_slim.pth', f'{best.stem}_slim.pth.json', f'{trained_run[1].name}.safetensors', 'README.md'}
    assert {path.name for path in folder.iterdir()} == {*names, 'export.json'}
    record = json.loads((folder / 'export.json').read_text())
    assert record.keys() == set(FORMATS)
    for entry in record.values():
        assert entry['sha256'] == sha256_of(folder / entry['file']) and entry['checkpoint'] == best.name
        assert entry['parity'] is None


def test_both_sizes_of_a_slim_checkpoint_are_printed(exported):
    assert re.search(r'slim +\S+_slim\.pth +[\d.]+ MB \(checkpoint: [\d.]+ MB\)', exported[1])


def test_a_slim_checkpoint_can_be_exported_again_under_its_own_name(exported, tmp_path):
    folder, _ = exported
    (slim,) = folder.glob('*_slim.pth')
    export(slim, 'slim', out=tmp_path)
    assert load(tmp_path / slim.name).facts == load(slim).facts


def test_a_card_beside_an_onnx_file_of_the_checkpoint_tells_how_well_it_agrees(trained_run, tmp_path):
    parity = {'measured': True, 'photos': 15, 'same_answer': 14, 'max_difference': 0.0123}
    parity['top1'] = {'checkpoint': 80.0, 'onnx': 73.3}
    own = load(trained_run[1]).digest
    for name, sha256, said in (('onnx', own, True), ('package_int8', own, True), ('onnx', 'another', False)):
        record = {name: {'checkpoint_sha256': sha256, 'parity': parity}}
        (tmp_path / 'export.json').write_text(json.dumps(record))
        export(trained_run[1], 'card', out=tmp_path, overwrite=True)
        assert ('0.0123' in (tmp_path / 'README.md').read_text()) == said
        assert json.loads((tmp_path / 'export.json').read_text())[name] == record[name]


@pytest.mark.parametrize('content', ['[1, "mine"]', '{"mine": 1}', 'mine'])
def test_an_export_json_of_somebody_else_is_kept(content, trained_run, tmp_path):
    (tmp_path / 'export.json').write_text(content)
    with pytest.raises(ConfigError, match='export.json: exists already'):
        export(trained_run[1], 'card', out=tmp_path)
    assert (tmp_path / 'export.json').read_text() == content and not (tmp_path / 'README.md').exists()


def test_what_exists_is_kept(exported, trained_run):
    folder, _ = exported
    before = (folder / 'README.md').stat().st_mtime_ns
    with pytest.raises(ConfigError, match='exists already.*--overwrite'):
        export(trained_run[1], 'card', out=folder)
    assert (folder / 'README.md').stat().st_mtime_ns == before
