"""Files that are no photos, and odd ones that are: preparing says what became of each, and none of them ends it.

Whatever decodes keeps its pixels, by rules that are worked out by hand here.
"""

import hashlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from flowercls.data.decode import decode_rgb, read_photo, read_thumbnail
from flowercls.data.image_formats import FIXES, UnreadablePhoto
from flowercls.data.prepare import copying
from flowercls.data.prepare.preparation import prepare
from flowercls.data.prepare.raw import scan as scan_module
from helpers import odd_photos

NUM_MUTANTS = 200
REASONS = {*FIXES, 'too small', 'decoder crashed', 'label conflict'}
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
LIGHT = (200, 200, 200)
PLAIN, LYING = (RED, GREEN, BLUE), (BLUE, RED, None)  # upper left, upper right, lower left
LOSS = 2  # levels of 255, of formats with losses

BROKEN = {
    'half.jpg': 'truncated',
    'without its last two bytes.jpg': 'truncated',
    '20 bytes.jpg': 'damaged',
    'half.png': 'truncated',
    'without pixels.png': 'damaged',
    'wrong checksum.png': 'damaged',
    'one bad byte.png': 'damaged',
    'empty.jpg': 'empty file',
    'text.jpg': 'not an image',
    'web page.jpg': 'not an image',
    'colours in floats.tif': 'unsupported format',
    'icon.jpg': 'unsupported format',
    'phone.heic': 'truncated' if find_spec('pillow_heif') else 'HEIC',
    'drawing.svg': 'unsupported format',
    '1x1.png': 'too small',
    '1x2000.png': 'too small',
    '288 megapixels.png': 'too large',
    '512 megapixels.png': 'too large',
    '3600 megapixels.png': 'too large',
    'text bomb.png': 'damaged',
}
# File -> what is done to it, and its patches; None: other pixels than those of the patches, whatever they are.
GOOD = {
    'garbage in the middle.jpg': ((), None),
    'really a png.jpg': ((), PLAIN),
    'really a jpeg.png': ((), PLAIN),
    'no extension': ((), PLAIN),
    'cmyk.jpg': (('CMYK to RGB',), PLAIN),
    '16-bit grey.png': (('16-bit scaled',), (LIGHT, BLACK, BLACK)),
    '16-bit colour.png': (('16-bit scaled',), PLAIN),
    '16-bit colour and alpha.png': (('16-bit scaled', 'alpha on white'), (WHITE, GREEN, BLUE)),
    '16-bit grey and alpha.png': (('16-bit scaled', 'alpha on white'), (WHITE, BLACK, BLACK)),
    '16-bit grey with a clear one.png': (('16-bit scaled', 'alpha on white'), (WHITE, BLACK, BLACK)),
    '16-bit with a clear colour.png': (('16-bit scaled', 'alpha on white'), (WHITE, GREEN, BLUE)),
    'palette.png': (('palette to RGB',), PLAIN),
    'palette with a clear colour.png': (('palette to RGB', 'alpha on white'), (WHITE, GREEN, BLUE)),
    'rgba.png': (('alpha on white',), (WHITE, GREEN, BLUE)),
    'la.png': (('alpha on white',), (WHITE, (117, 117, 117), (23, 23, 23))),  # 0.587 * 200, 0.114 * 200
    'grey.png': ((), (LIGHT, BLACK, BLACK)),
    '1-bit.png': ((), (WHITE, BLACK, BLACK)),
    'animated.gif': (('first of 3 frames', 'palette to RGB', 'GIF to PNG'), PLAIN),
    'animated.png': (('first of 3 frames',), PLAIN),
    'animated.webp': (('first of 3 frames', 'WEBP to PNG'), PLAIN),
    'lying.jpg': (('orientation applied',), LYING),
    'tiff.tif': (('TIFF to PNG',), PLAIN),
    'bmp.bmp': (('BMP to PNG',), PLAIN),
    'ppm.ppm': (('PPM to PNG',), PLAIN),
    'jp2.jp2': (('JPEG2000 to PNG',), PLAIN),
    'avif.avif': (('AVIF to JPEG',), PLAIN),
    'bad colour profile.png': ((), PLAIN),
    'more after its end.jpg': ((), PLAIN),
}


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """A raw folder of odd, broken and damaged files beside good ones; prepared as the tool does it."""
    raw = tmp_path_factory.mktemp('bad') / 'raw'
    files = {**odd_photos.broken_files(), **odd_photos.good_files()}
    files = {f'odd/{name}': content for name, content in files.items()}
    files |= {f'mutants/{name}': content for name, content in odd_photos.mutants(NUM_MUTANTS)}
    for number in range(12):
        name = f'{("odd", "mutants", "good")[number % 3]}/photo {number}.png'
        files[name] = odd_photos.encoded(odd_photos.textured(100 + number))
    write(raw, files)
    report = prepare(raw, raw.parent / 'flower')
    return raw, files, report


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def images_of(report):
    """Rows of the manifest, by the name of the raw file."""
    rows = json.loads((report.out_dir / 'manifest.json').read_text(encoding='utf-8'))['images']
    return {row['raw']: row for row in rows}


def corners(rgb):
    """The middle of each patch but the lower right one."""
    top, left = rgb.shape[0] // 4, rgb.shape[1] // 4
    return [rgb[y, x].tolist() for y, x in ((top, left), (top, -left), (-top, left))]


def test_there_are_48_files():
    assert list(odd_photos.broken_files()) == list(BROKEN) and list(odd_photos.good_files()) == list(GOOD)
    assert len(BROKEN) + len(GOOD) == 48


def test_every_file_is_accounted_for_and_stays_as_it_is(prepared):
    raw, files, report = prepared
    found = {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob('*') if path.is_file()}
    assert found == files
    counts = report.plan.file_counts()
    assert counts.pop('scanned') == sum(counts.values()) == len(files) == 48 + NUM_MUTANTS + 12
    answered = [*images_of(report), *(skip.path for skip in report.skipped), *(path for path, _ in report.duplicates)]
    assert sorted(answered) == sorted(files)
    by_reason = {}
    for skip in report.skipped:
        by_reason.setdefault(skip.reason, []).append(skip.path)
    summary = report.summary()
    for reason, paths in by_reason.items():
        assert f'{reason} ({len(paths)})' in summary and all(path in summary for path in paths[:20])


def test_the_tool_has_nothing_to_say_but_its_report(prepared, tmp_path):
    raw, _, report = prepared
    tool = Path(__file__).parents[2] / 'tools' / 'prepare_data.py'
    done = subprocess.run([sys.executable, tool, raw, tmp_path / 'out'], capture_output=True, text=True, check=True)
    assert done.stderr == ''
    summary, next_steps = done.stdout.split('\n\nnext ')
    assert summary == report.summary().replace(str(report.out_dir), str(tmp_path / 'out'))
    assert f'{tmp_path / "out"}/overview.png' in next_steps and f'data_root={tmp_path / "out"}' in next_steps


@pytest.mark.parametrize('name', BROKEN)
def test_a_file_of_which_no_photo_can_be_made_is_left_out_with_its_reason(prepared, name):
    reasons = {skip.path: skip.reason for skip in prepared[2].skipped}
    assert reasons[f'odd/{name}'] == BROKEN[name]


@pytest.mark.parametrize('name', GOOD)
def test_an_odd_photo_is_kept_with_the_pixels_of_the_rule(prepared, name):
    _, files, report = prepared
    row, (converted, patches) = images_of(report)[f'odd/{name}'], GOOD[name]
    assert tuple(row['converted']) == converted
    content = (report.out_dir / row['file']).read_bytes()
    assert row['sha256'] == hashlib.sha256(content).hexdigest()
    for source in (files[f'odd/{name}'], content):
        photo = read_photo(source)
        assert [*photo.rgb.shape[1::-1]] == row['size']
        if patches is not None:
            check_patches(photo.rgb, patches)
    assert photo.conversions == () or not row['converted']  # nothing odd is left of what was converted


def check_patches(rgb, patches):
    for found, expected in zip(corners(rgb), patches, strict=True):
        if expected is None:  # the grey one, another in each file
            assert max(found) - min(found) <= LOSS and 90 < found[0] < 250
        else:
            assert np.abs(np.subtract(found, expected)).max() <= LOSS


def test_what_is_left_of_damaged_files_is_either_whole_or_reported(prepared):
    _, files, report = prepared
    reasons = {skip.path: skip.reason for skip in report.skipped}
    assert set(reasons.values()) <= REASONS
    kept = {name: row for name, row in images_of(report).items() if name.startswith('mutants/')}
    for row in kept.values():
        rgb = decode_rgb(report.out_dir / row['file'])
        assert [*rgb.shape[1::-1]] == row['size']
    damaged = [name for name in files if name.startswith('mutants/') and name not in kept]
    assert len(damaged) > NUM_MUTANTS / 2 and len(kept) > 20  # else the damage is too gentle, or too rough
    assert {reasons[name] for name in damaged if name in reasons} >= {'truncated', 'damaged', 'not an image'}


def test_a_thumbnail_and_the_decoder_agree_on_damaged_files():
    for name, content in odd_photos.mutants(NUM_MUTANTS, seed=1):
        answers = [answer(look, content) for look in (read_photo, lambda content: read_thumbnail(content, (72, 64)))]
        assert answers[0] == answers[1], name


def answer(look, content):
    try:
        found = look(content)
    except UnreadablePhoto as error:
        return error.reason
    return (found.format, found.conversions)


@pytest.mark.parametrize('low', [0x00, 0xFE])
def test_of_a_16_bit_photo_only_the_very_colour_is_transparent(low):
    # The same 8 bits, but another colour; and black, whose low bits are those of the first one.
    rgb = decode_rgb(odd_photos.png_16(2, key=[0xC800, 0, 0], low=low))
    check_patches(rgb, (RED if low else WHITE, GREEN, BLUE))
    check_patches(decode_rgb(odd_photos.png_16(2, key=[0, 0xC800 | low, 0], low=low)), (RED, WHITE, BLUE))


@pytest.mark.parametrize(('depth', 'row'), [(1, 0b01000000), (2, 0b00010000), (4, 0b00000001)])
def test_a_transparent_grey_of_few_bits_is_laid_on_white(depth, row):
    # Two pixels, of values 0 and 1; 1 is the transparent one.
    content = odd_photos.png((2, 1), depth, 0, bytes([0, row]), (b'tRNS', bytes([0, 1])))
    assert decode_rgb(content)[0, :, 0].tolist() == [0, 255]


CRASHING = """
import os, signal
from {module} import {function} as really

def {function}(*arguments):
    if 'evil.bmp' in str(arguments[-1]):
        os.kill(os.getpid(), signal.{signal})
    return really(*arguments)
"""


# Worker processes start afresh for each.
@pytest.mark.parametrize(
    ('module', 'function', 'name'),
    [
        (scan_module, 'read_record', 'SIGKILL'),
        pytest.param(copying, '_copy', 'SIGSEGV', marks=pytest.mark.slow),
        pytest.param(scan_module, 'read_record', 'SIGSEGV', marks=pytest.mark.slow),
        pytest.param(copying, '_copy', 'SIGKILL', marks=pytest.mark.slow),
    ],
)
def test_a_decoder_that_crashes_costs_one_file(tmp_path, monkeypatch, module, function, name, capfd):
    # A module of its own, as a worker process can only import what lies in a file.
    crashing = f'crashing_{function.lower()}_with_{name.lower()}'
    text = CRASHING.format(module=module.__name__, function=function, signal=name)
    (tmp_path / f'{crashing}.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, function, getattr(__import__(crashing), function))
    endings, photos = ('png', 'bmp'), [odd_photos.textured(number) for number in range(40)]
    files = {
        f'{"ab"[number % 2]}/{number}.{ending}': odd_photos.encoded(photo, ending.upper())
        for number, photo in enumerate(photos)
        for ending in [endings[number // 20]]
    }
    write(tmp_path / 'raw', {**files, 'a/evil.bmp': odd_photos.encoded(odd_photos.textured(99), 'BMP')})
    report = prepare(tmp_path / 'raw', tmp_path / 'flower')
    assert [(skip.path, skip.reason) for skip in report.skipped] == [('a/evil.bmp', 'decoder crashed')]
    assert sorted(images_of(report)) == sorted(files)
    (tmp_path / 'raw' / 'a' / 'evil.bmp').unlink()
    monkeypatch.undo()
    assert images_of(report) == images_of(prepare(tmp_path / 'raw', tmp_path / 'without', workers=0))
    assert 'Traceback' not in capfd.readouterr().err
