"""A package is one zip that needs no flowercls; of a stranger's package only the model is read."""

import io
import re
import stat
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from flowercls.core.errors import CheckpointError, DiskError
from flowercls.data.decode import decode_rgb
from flowercls.use.export import package_zip
from flowercls.use.export.package_predict import read_rgb
from flowercls.use.export.package_zip import read_model, write_package
from flowercls.use.load import load

FACTS = {'classes': ['daisy', 'rose 🌹'], 'training': {'starting_weights': 'resnet18-f37072fd.pth'}}


@pytest.fixture
def package(tmp_path):
    write_package(tmp_path / 'net.zip', b'the model', FACTS, '# card')
    return tmp_path / 'net.zip'


def test_it_holds_what_a_stranger_needs_and_opens_everywhere(package):
    with zipfile.ZipFile(package) as archive:
        assert archive.namelist() == ['model.onnx', 'classes.txt', 'README.md', 'LICENSE-NOTES.txt', 'predict.py']
        assert archive.testzip() is None
        assert archive.read('classes.txt').decode() == 'daisy\nrose 🌹\n' and archive.read('README.md') == b'# card'
        assert 'BSD-3-Clause' in archive.read('LICENSE-NOTES.txt').decode()
        compile(archive.read('predict.py'), 'predict.py', 'exec')
    assert read_model(package) == b'the model'


def test_the_same_content_gives_the_same_bytes(package, tmp_path):
    write_package(tmp_path / 'again.zip', b'the model', FACTS, '# card')
    assert (tmp_path / 'again.zip').read_bytes() == package.read_bytes()


def test_a_full_disk_leaves_the_old_file_as_it_was(package, full_disk):
    before = package.read_bytes()
    full_disk(after=500)
    with pytest.raises(DiskError, match='disk is full'):
        write_package(package, b'another' * 1000, FACTS, '# card')
    assert package.read_bytes() == before and list(package.parent.iterdir()) == [package]


def test_a_package_that_was_packed_again_in_a_folder_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir('net')
        archive.writestr('net/model.onnx', b'm' * 100)
        archive.writestr('__MACOSX/net/._model.onnx', b'')
    assert read_model(tmp_path / 'a.zip') == b'm' * 100


def entry(name, **fields):
    info = zipfile.ZipInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def zipped(*entries, content=b'x', comment=b''):
    """A zip of a model and other entries, each a name or a ZipInfo."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action='ignore'), zipfile.ZipFile(buffer, 'w') as archive:
        for each in entries:
            archive.writestr(each, content)
        archive.comment = comment
    return buffer.getvalue()


def changed(data, place, value):
    return data[:place] + value + data[place + len(value) :]


MODEL = zipped('model.onnx', content=b'content of the model')
DIRECTORY = MODEL.index(b'PK\x01\x02')
LINK, DEVICE = ((kind | 0o644) << 16 for kind in (stat.S_IFLNK, stat.S_IFCHR))
HOSTILE = {
    'leads out of the folder': (zipped('model.onnx', '../../.bashrc'), 'unsafe name'),
    'leads out in the middle': (zipped('model.onnx', 'a/../../b'), 'unsafe name'),
    'absolute': (zipped('model.onnx', '/etc/passwd'), 'unsafe name'),
    'drive': (zipped('model.onnx', 'C:evil'), 'unsafe name'),
    'backslash': (zipped('model.onnx', 'a\\..\\b'), 'unsafe name'),
    'control character': (zipped('model.onnx', 'a\x1b[2J'), 'unsafe name'),
    'nul': (zipped('model.onnx', 'axb').replace(b'axb', b'a\0b'), 'unsafe name'),
    'two of one name': (zipped('model.onnx', 'model.onnx'), 'two files'),
    'names that differ in case': (zipped('model.onnx', 'Model.ONNX'), 'two files'),
    'two models': (zipped('model.onnx', 'a/model.onnx'), 'more than one'),
    'link': (zipped(entry('model.onnx', external_attr=LINK)), 'a link'),
    'device': (zipped('model.onnx', entry('tty', external_attr=DEVICE)), 'a link or a device'),
    'encrypted': (changed(MODEL, DIRECTORY + 8, b'\1'), 'encrypted'),
    'bomb': (zipped(entry('model.onnx', compress_type=zipfile.ZIP_DEFLATED), content=bytes(9 << 20)), 'unpacked'),
    'bomb beside the model': (
        zipped('model.onnx', entry('b', compress_type=zipfile.ZIP_DEFLATED), content=bytes(9 << 20)),
        'unpacked',
    ),
    'lzma': (zipped(entry('model.onnx', compress_type=zipfile.ZIP_LZMA)), 'unusual'),
    'bzip2': (zipped(entry('model.onnx', compress_type=zipfile.ZIP_BZIP2)), 'unusual'),
    'larger than it says': (changed(MODEL, DIRECTORY + 20, b'\5\0\0\0\5\0\0\0'), 'damaged'),
    'smaller than it says': (changed(MODEL, DIRECTORY + 20, b'\xff\0\0\0\xff\0\0\0'), 'damaged'),
    'says 4 GiB': (changed(MODEL, DIRECTORY + 24, b'\xff\xff\xff\xfe'), 'unpacked'),
    'wrong checksum': (MODEL.replace(b'content of', b'Content of'), 'damaged'),
    'another name inside': (MODEL.replace(b'model.onnx', b'modem.onnx', 1), 'damaged'),
    'another method than it says': (changed(MODEL, DIRECTORY + 10, b'\x08\0'), 'damaged'),
    'zip in a zip': (zipped('model.onnx', content=MODEL), 'zip itself'),
    'many files': (zipped('model.onnx', *map(str, range(70))), 'too many'),
    'data before': (b'#!/bin/sh\n' + MODEL, 'does not begin'),
    'a zip before': (MODEL + MODEL, 'belong to no file'),
    'data behind': (MODEL + b'x', 'added at its end'),
    'comment': (zipped('model.onnx', comment=b'c' * 30), 'added at its end'),
    'cut off': (MODEL[:-9], 'cut off'),
    'no model': (zipped('classes.txt'), 'no model.onnx'),
    'empty zip': (zipped(), 'does not begin'),
    'empty file': (b'', 'does not begin'),
    'text': (b'# notes', 'does not begin'),
    'only its first bytes': (b'PK\x03\x04', 'cut off'),
    'nonsense between': (b'PK\x03\x04' + bytes(80) + MODEL[-22:], 'belong to no file'),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_a_strangers_zip_is_refused_in_one_message(name, tmp_path):
    content, keyword = HOSTILE[name]
    (tmp_path / 'a.zip').write_bytes(content)
    with pytest.raises(CheckpointError, match=rf'a\.zip.*{keyword}.*Fix: ') as caught:
        read_model(tmp_path / 'a.zip')
    assert '\n' not in str(caught.value) and '\x1b' not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ['a.zip']


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / 'gone.zip', tmp_path):
        with pytest.raises(CheckpointError, match='Fix: '):
            read_model(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(package_zip, 'MAX_MODEL_BYTES', 10)
    monkeypatch.setattr(package_zip, 'MAX_OTHER_BYTES', 10)
    (tmp_path / 'a.zip').write_bytes(MODEL)
    with pytest.raises(CheckpointError, match='too large'):
        read_model(tmp_path / 'a.zip')


@pytest.mark.parametrize('seed', range(3))
def test_random_damage_is_refused_or_does_not_matter(seed, package):
    content, rng = package.read_bytes(), np.random.default_rng(seed)
    for _ in range(100):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        package.write_bytes(damaged[: rng.integers(len(content) // 2, len(content) + 1)])
        try:
            assert read_model(package) == b'the model'
        except CheckpointError as error:
            assert 'Fix: ' in str(error)


def test_reading_needs_no_torch():
    code = 'import sys, flowercls.use.export.package_zip; print(*sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert not {'torch', 'mmengine', 'mmpretrain', 'scipy', 'onnxruntime'} & set(done.stdout.split())


@pytest.fixture(scope='module')
def unpacked(trained_run, tmp_path_factory):
    """The folder of an unpacked package, with three photos in it."""
    from flowercls.commands.export import export

    folder = tmp_path_factory.mktemp('package')
    export(trained_run[1], 'package', out=folder / 'net.zip')
    with zipfile.ZipFile(folder / 'net.zip') as archive:
        for name in archive.namelist():
            (folder / name).write_bytes(archive.read(name))
    rng = np.random.default_rng(0)
    for name in ('photo.jpg', 'b.jpg', 'c.jpg'):
        Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8)).save(folder / name)
    return folder


def run_without_flowercls(code, folder):
    blocked = f'import sys; sys.modules |= dict.fromkeys({["flowercls", "torch", "mmengine", "onnx"]})\n'
    return subprocess.run(
        [sys.executable, '-I', '-c', blocked + code], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.slow  # the graph is made: ten seconds
def test_its_script_answers_as_flowercls_does(unpacked):
    photos = ['photo.jpg', 'b.jpg', 'c.jpg']
    arguments = ['predict.py', *photos, 'gone.jpg']
    code = f'import runpy; sys.argv = {arguments}; runpy.run_path("predict.py", None, "__main__")'
    done = run_without_flowercls(code, unpacked)
    assert done.returncode == 3  # one photo is missing
    answers = load(unpacked / 'net.zip').predict([unpacked / photo for photo in photos])
    for line, answer in zip(done.stdout.splitlines(), answers, strict=True):
        assert line.endswith(': ' + ', '.join(f'{name} {score:.1%}' for name, score in answer.top(3)))
    assert done.stderr.startswith('gone.jpg: ') and done.stderr.count('\n') == 1  # onnxruntime has nothing to say


@pytest.mark.slow  # as above
def test_the_lines_in_its_card_run(unpacked, monkeypatch, capsys):
    with_flowercls, alone = re.findall('```python\n(.*?)```', (unpacked / 'README.md').read_text(), re.DOTALL)
    best = run_without_flowercls(alone, unpacked).stdout.split()
    monkeypatch.chdir(unpacked)
    exec(with_flowercls, {})
    name, score, _ = capsys.readouterr().out.split(maxsplit=2)
    assert best[0] == name and abs(100 * float(best[1]) - float(score)) < 0.06


def grey16(rgb):
    return Image.fromarray(rgb[:, :, 0].astype(np.uint16) * 257)


def with_alpha(rgb):
    alpha = np.linspace(0, 255, rgb.size // 3).reshape(rgb.shape[:2]).astype(np.uint8)
    return Image.fromarray(np.dstack([rgb, alpha]))


@pytest.mark.parametrize(
    ('convert', 'suffix', 'options'),
    [
        (Image.fromarray, 'jpg', {}),
        (Image.fromarray, 'jpg', {'exif': 6}),
        (lambda rgb: Image.fromarray(rgb).convert('CMYK'), 'jpg', {}),
        (lambda rgb: Image.fromarray(rgb).convert('L'), 'jpg', {}),
        (with_alpha, 'png', {}),
        (lambda rgb: Image.fromarray(rgb).convert('P'), 'png', {'transparency': 3}),
        (lambda rgb: Image.fromarray(rgb).convert('1'), 'png', {}),
        (grey16, 'png', {}),
        (grey16, 'tif', {}),
        (lambda rgb: Image.fromarray(rgb).convert('P'), 'gif', {}),
        (Image.fromarray, 'webp', {}),
        (Image.fromarray, 'tif', {'exif': 8}),
    ],
)
def test_its_script_reads_photos_as_flowercls_does(convert, suffix, options, tmp_path):
    path, options = tmp_path / f'a.{suffix}', dict(options)
    if 'exif' in options:
        exif = Image.Exif()
        exif[0x0112] = options['exif']
        options['exif'] = exif
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    convert(rgb).save(path, **options)
    assert np.array_equal(read_rgb(path), decode_rgb(path))


def test_its_script_turns_a_heic_once_as_flowercls_does(tmp_path):
    pillow_heif = pytest.importorskip('pillow_heif')
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(rgb)).save(tmp_path / 'a.heic', exif=exif.tobytes())
    assert read_rgb(tmp_path / 'a.heic').shape == (64, 48, 3)
    assert np.array_equal(read_rgb(tmp_path / 'a.heic'), decode_rgb(tmp_path / 'a.heic'))
