"""Bad models, photos and outputs for predict and export: one message with its fix and exit code, and no half file."""

import errno
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flowercls.core.prepared_folder import PHOTO_SUFFIXES
from flowercls.use.export.package_zip import write_package
from flowercls.use.load import model_file
from helpers import odd_photos
from helpers.faults import Faults, die

onnx = pytest.importorskip('onnx')

CLASSES = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']


class Place:
    """A folder to make a mess in, with a good model and a good photo."""

    def __init__(self, folder, run, photo):
        self.folder, self.run = folder, run
        self.good = model_file(run)
        self.photo = shutil.copy(photo, folder / 'good.jpg')

    def labelled(self):
        """A folder with the good photo in a folder of its class."""
        (self.folder / 'labelled/rose').mkdir(parents=True)
        shutil.copy(self.photo, self.folder / 'labelled/rose')
        return self.folder / 'labelled'

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def checkpoint(self, change):
        """The good checkpoint after a change of its content."""
        content = torch.load(self.good, weights_only=True)
        torch.save(change(content) or content, self.folder / 'a.pth')
        return self.folder / 'a.pth'

    def onnx(self, change=lambda model: None):
        """A small model that turns photos into five equal probabilities, after a change."""
        make = onnx.helper
        zeros = make.make_tensor('zeros', onnx.TensorProto.FLOAT, [3, 5], np.zeros(15))
        axes = make.make_tensor('axes', onnx.TensorProto.INT64, [2], [1, 2])
        nodes = [
            make.make_node('Cast', ['photos'], ['floats'], to=1),
            make.make_node('ReduceMean', ['floats', 'axes'], ['means'], keepdims=0),
            make.make_node('MatMul', ['means', 'zeros'], ['logits']),
            make.make_node('Softmax', ['logits'], ['probabilities'], axis=1),
        ]
        photos = make.make_tensor_value_info('photos', onnx.TensorProto.UINT8, ['n', 'h', 'w', 3])
        answers = make.make_tensor_value_info('probabilities', onnx.TensorProto.FLOAT, ['n', 5])
        graph = make.make_graph(nodes, 'g', [photos], [answers], [zeros, axes])
        model = make.make_model(graph, opset_imports=[make.make_opsetid('', 18)], ir_version=8)
        make.set_model_props(model, {'classes': json.dumps(CLASSES), 'flowercls': json.dumps({'name': 'a'})})
        change(model)
        return model.SerializeToString()

    def package(self, *more, model=None):
        """A package, with more entries (name, content)."""
        path = self.folder / 'a.zip'
        facts = {'classes': CLASSES, 'training': {}}
        write_package(path, self.onnx() if model is None else model, facts, '# card')
        with zipfile.ZipFile(path, 'a') as archive:
            for name, content in more:
                archive.writestr(name, content, zipfile.ZIP_DEFLATED)
        return path


@pytest.fixture
def place(trained_run, drawn_root, tmp_path):
    return Place(tmp_path, trained_run[1], next((drawn_root / 'val_set').rglob('*.jpg')))


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField('float_data')
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='../../../../etc/passwd')


def strange(model):
    model.ClearField('metadata_props')


def other_classes(checkpoint):
    checkpoint['meta']['dataset_meta']['classes'] = ['ant', 'bee']


def nan_weights(checkpoint):
    next(v for k, v in checkpoint['state_dict'].items() if k.endswith('fc.weight')).fill_(float('nan'))


def other_shapes(checkpoint):
    checkpoint['state_dict'] = {name: value.repeat(2) if value.ndim == 1 else value
                                for name, value in checkpoint['state_dict'].items()}  # fmt: skip


def flipped(content, place=5000):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


MODELS = {
    'missing': (lambda p: p.folder / 'gone.pth', 'no such'),
    'missing folder': (lambda p: p.folder / 'work_dirs' / 'gone', 'no such'),
    'a name that is too long': (lambda p: p.folder / ('a' * 300), 'no such|too long'),
    'folder without a checkpoint': (lambda p: p.folder, 'no checkpoint'),
    'photo': (lambda p: p.photo, 'no model'),
    'safetensors': (lambda p: p.file('a.safetensors', b'x'), 'no model'),
    'empty .pth': (lambda p: p.file('a.pth', b''), 'a.pth'),
    'text .pth': (lambda p: p.file('a.pth', b'# notes\n'), 'not a checkpoint'),
    'cut .pth': (lambda p: p.file('a.pth', p.good.read_bytes()[:9000]), 'damaged'),
    'one bit flipped': (lambda p: p.file('a.pth', flipped(p.good.read_bytes())), 'damaged'),
    'weights of another program': (lambda p: p.checkpoint(lambda c: c['state_dict']), 'no checkpoint of a'),
    'another network': (lambda p: p.checkpoint(other_shapes), 'another model'),
    'half of the weights': (lambda p: p.checkpoint(lambda c: c['state_dict'].popitem() and None), 'another model'),
    'other classes': (lambda p: p.checkpoint(other_classes), 'classes'),
    'NaN weights': (lambda p: p.checkpoint(nan_weights), 'NaN'),
    'empty .onnx': (lambda p: p.file('a.onnx', b''), 'a.onnx'),
    'text .onnx': (lambda p: p.file('a.onnx', b'# notes\n'), 'damaged'),
    'cut .onnx': (lambda p: p.file('a.onnx', p.onnx()[:-40]), 'damaged'),
    'checkpoint called .onnx': (lambda p: p.file('a.onnx', p.good.read_bytes()), 'damaged'),
    'ONNX of another program': (
        lambda p: p.file('a.onnx', p.onnx(strange)),
        'another',
    ),
    'external data': (lambda p: p.file('a.onnx', p.onnx(external)), 'a.onnx'),
    'custom operator': (
        lambda p: p.file('a.onnx', p.onnx(lambda m: setattr(m.graph.node[0], 'domain', 'evil.ops'))),
        'a.onnx',
    ),
    'empty zip': (lambda p: p.file('a.zip', b'PK\5\6' + bytes(18)), 'no package'),
    'package that leads out': (lambda p: p.package(('../../.bashrc', b'evil')), 'unsafe name'),
    'package that is a bomb': (lambda p: p.package(('b', bytes(50 << 20))), 'unpacked'),
    'package with a text as model': (lambda p: p.package(model=b'# notes'), 'damaged'),
    'package that is cut': (lambda p: p.file('b.zip', p.package().read_bytes()[:-30]), 'b.zip'),
    'checkpoint called .zip': (lambda p: p.file('a.zip', p.good.read_bytes()), 'a.zip'),
}


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


def check_message(text, keyword):
    """One message: it names what is wrong, has one fix, and no line of another library."""
    import re

    assert re.search(keyword, text), text
    assert text.count('Fix: ') == 1 and len(text) < 1500, text
    assert 'Traceback' not in text and 'Warning' not in text


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('verb', ['predict', 'export', 'test'])
def test_a_model_that_is_none(name, verb, place, tool, said):
    make, keyword = MODELS[name]
    model = make(place)
    more = {
        'predict': [place.photo, '--out', place.folder / 'a.csv'],
        'export': ['--format', 'card', 'slim'],
        'test': ['--data', place.labelled(), '--work-dir', place.folder],
    }[verb]
    if verb == 'export' and (name == 'NaN weights' or Path(model).suffix in ('.onnx', '.zip')):
        keyword = '.'  # seen only where photos are classified; an export is never exported again
    before = files_in(place.folder)
    code = tool(verb, model, *more)
    if verb == 'export' and name == 'NaN weights':
        return
    assert code in ((2, 4) if verb == 'export' else (4,))
    check_message(said(), keyword)
    assert files_in(place.folder) == before


def heic(place):
    return place.file('a.heic', b'\0\0\0\x18ftypheic' + bytes(100))


def pipe(place):
    os.mkfifo(place.folder / 'a.jpg')
    return place.folder / 'a.jpg'


def strip(place):
    path = place.folder / 'a.png'
    Image.new('RGB', (1, 30_000)).save(path)
    return path


def saved(image, name, **options):
    def make(place):
        image().save(place.folder / name, **options)
        return place.folder / name

    return make


def frames():
    return [Image.new('RGB', (40, 30), colour) for colour in ('red', 'blue')]


BAD_PHOTOS = {
    'missing': (lambda p: p.folder / 'gone.jpg', '(?i)no such'),
    'nothing matches': (lambda p: p.folder / '*.tif', 'no photo matches'),
    'empty folder': (lambda p: (p.folder / 'empty').mkdir() or p.folder / 'empty', 'no photos'),
    'folder of texts': (lambda p: p.file('notes.txt', b'x').parent.joinpath('*.txt'), 'no photo'),
    'empty file': (lambda p: p.file('a.jpg', b''), 'empty file'),
    'text': (lambda p: p.file('a.jpg', b'# notes\n'), 'not an image'),
    'web page': (lambda p: p.file('a.jpg', b'<!doctype html><p>404'), 'web page'),
    'cut JPEG': (lambda p: p.file('a.jpg', Path(p.photo).read_bytes()[:500]), 'truncated'),
    'cut PNG': (lambda p: p.file('a.png', odd_photos.encoded(odd_photos.textured(1))[:900]), 'truncated|damaged'),
    'HEIC': (heic, 'HEIC'),
    'huge': (lambda p: p.file('a.png', odd_photos.bomb(30_000)), 'too large'),
    'strip of one pixel': (strip, 'a.png'),
    'pipe': (pipe, 'pipe'),
}


@pytest.mark.parametrize('name', BAD_PHOTOS)
def test_a_photo_that_is_none(name, place, tool, said):
    make, keyword = BAD_PHOTOS[name]
    photo = make(place)
    before = files_in(place.folder)
    assert tool('predict', place.run, photo, '--out', place.folder / 'a.csv') == 3
    check_message(said(), keyword)
    assert files_in(place.folder) == before


ODD_PHOTOS = {
    'CMYK': saved(lambda: Image.new('CMYK', (40, 30), (9, 9, 0, 0)), 'a.jpg'),
    '16-bit': saved(lambda: Image.fromarray(np.full((30, 40), 40_000, np.uint16)), 'a.png'),
    'animated': saved(lambda: frames()[0], 'a.gif', save_all=True, append_images=frames()[1:]),
    'transparent': saved(lambda: Image.new('RGBA', (40, 30), (200, 0, 0, 90)), 'a.png'),
    'one pixel': saved(lambda: Image.new('RGB', (1, 1)), 'a.png'),
    'grey': saved(lambda: Image.new('L', (40, 30), 90), 'a.jpg'),
    'a name with a line break': saved(lambda: Image.new('RGB', (40, 30)), 'a\nb.png'),
    'a name like a formula': saved(lambda: Image.new('RGB', (40, 30)), '=cmd.png'),
}


@pytest.mark.parametrize('name', ODD_PHOTOS)
@pytest.mark.parametrize('kind', ['run', 'onnx'])
def test_an_odd_photo_gets_its_answer(name, kind, place, tool, said):
    model = place.run if kind == 'run' else place.file('m.onnx', place.onnx())
    out = place.folder / 'a.csv'
    assert tool('predict', model, ODD_PHOTOS[name](place), '--out', out) == 0
    assert 'image' in said() and out.is_file() and not list(place.folder.glob('*.partial*'))


def test_every_readable_photo_of_a_labelled_folder_counts(place, tool, said, monkeypatch):
    """Odd and broken files: each is a photo that counts, or is named; of a stranger's export nothing else is known."""
    monkeypatch.setattr('flowercls.report.run_pictures.draw_evaluation', lambda *_: None)
    folder, model = place.labelled(), place.file('m.onnx', place.onnx())
    good, broken = odd_photos.good_files(), odd_photos.broken_files()
    for name, content in {**good, **broken}.items():
        path = folder / 'tulip' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = files_in(folder)
    assert tool('test', model, '--data', folder, '--work-dir', place.folder / 'out') == 3
    of_any_name = {folder / 'tulip' / name for name in good}
    photos = of_any_name | {path for path in folder.rglob('*') if path.suffix.lower() in PHOTO_SUFFIXES}
    figures = json.loads((place.folder / 'out/test_m_labelled/metrics.json').read_text())
    assert figures['n'] + figures['unreadable'] == len(photos) and figures['n'] > len(good) / 2
    assert 'does not say what it was trained on' in (text := said()) and 'photos cannot be read' in text
    assert files_in(folder) == before


def under_a_file(place):
    return place.photo / 'a.csv' if isinstance(place.photo, Path) else Path(place.photo, 'a.csv')


OUTPUTS = {
    'exists': ('predict', lambda p: p.file('a.csv', b'mine'), 2, 'exists'),
    'folder': ('predict', lambda p: p.folder, 2, 'csv|folder'),
    'unknown ending': ('predict', lambda p: p.folder / 'a.xlsx', 2, 'ending'),
    'below a file': ('predict', under_a_file, 2, 'good.jpg'),
    'not writable': ('predict', lambda p: Path('/sys/a.csv'), 5, 'may not be written'),
    'export exists': ('export', lambda p: p.file('README.md', b'mine'), 2, 'exists'),
    'export has another ending': ('export', lambda p: p.folder / 'a.onnx', 2, 'ends in|fit'),
    'export below a file': ('export', under_a_file, 2, 'good.jpg'),
    'export not writable': ('export', lambda p: Path('/sys/a/README.md'), 5, 'may not be written'),
}


@pytest.mark.parametrize('name', OUTPUTS)
def test_an_output_that_cannot_be(name, place, tool, said):
    verb, make, code, keyword = OUTPUTS[name]
    if code == 5 and not Path('/sys').is_dir():
        pytest.skip('no /sys')
    out = make(place)
    before = files_in(place.folder)
    more = [place.photo] if verb == 'predict' else ['--format', 'card']
    assert tool(verb, place.run, *more, '--out', out) == code
    check_message(said(), keyword)
    assert files_in(place.folder) == before


TAKE_ROOM = ('link', 'mkdir', 'fsync')  # beside writing


def no_room(file, data):
    if file is not None:
        file.write(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


COMMANDS = {
    'predict': lambda p: ('predict', p.run, p.photo, '--out', p.folder / 'new' / 'a.csv'),
    'json': lambda p: ('predict', p.run, p.photo, '--out', p.folder / 'new' / 'a.json'),
    'slim': lambda p: ('export', p.run, '--format', 'slim', '--out', p.folder / 'new'),
    'safetensors': lambda p: ('export', p.run, '--format', 'safetensors', '--out', p.folder / 'new'),
    'card': lambda p: ('export', p.run, '--format', 'card', '--out', p.folder / 'new'),
}


@pytest.mark.parametrize(
    # Slow: other cases of the same, with a process for each of up to thirty operations.
    'name',
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in ('predict', 'card'))) for name in COMMANDS],
)
@pytest.mark.parametrize(('fault', 'code'), [(no_room, 5), (die, -9)], ids=['full disk', 'killed'])
def test_a_fault_midway_leaves_no_half_file(name, fault, code, place, tool, in_child, capfd):
    """At each operation on files. What has its final name is whole: the same bytes as without a fault."""
    command = COMMANDS[name](place)
    assert tool(*command) == 0
    whole = {path.name: path.read_bytes() for path in (place.folder / 'new').iterdir()}
    for number in range(1, 100):
        shutil.rmtree(place.folder / 'new', ignore_errors=True)

        def run(number=number):
            if fault is die:
                Faults(place.folder / 'new', number, die).install()
            else:
                Faults(place.folder / 'new', number, no_room, TAKE_ROOM, is_permanent=True).install()
            return tool(*command)

        capfd.readouterr()
        got = in_child(run)
        if got == 0:
            break
        said = capfd.readouterr().err
        assert got in (code, 137 if fault is die else code), (number, got, said)
        if fault is no_room:
            check_message(said, 'disk is full')
        left = {path.name: path.read_bytes() for path in (place.folder / 'new').rglob('*') if path.is_file()}
        for name_left, content in left.items():
            if name_left.endswith('.safetensors'):  # the order of its metadata is drawn by chance
                assert len(content) == len(whole[name_left])
            elif name_left in whole and name_left != 'export.json':
                assert content == whole[name_left], (number, name_left)
            elif fault is no_room:
                assert '.partial' in name_left or name_left in whole, (number, name_left)
    else:
        pytest.fail('never ended')
    assert number > 3
