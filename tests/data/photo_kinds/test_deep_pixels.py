"""Photos of more than 8 bits a colour: every value is read, and the photos of a set share one range."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from flowercls.data.decode import OWN_ENDS, decode_rgb, image_to_rgb, read_photo, read_thumbnail
from flowercls.data.image_formats import UnreadablePhoto, open_checked
from flowercls.data.photo_kinds.deep_pixels import (
    DeepValues,
    common_ranges,
    measure,
    range_notes,
    read_values,
    to_8_bits,
)
from flowercls.data.prepare.preparation import prepare
from helpers import odd_photos
from helpers.odd_photos import encoded

GREY = (np.arange(40 * 30, dtype=np.uint16) * 54).reshape(30, 40)
COLOUR = np.dstack([GREY, GREY // 2 + 7, GREY[::-1]])
ALPHA = np.dstack([COLOUR, 65_535 - GREY])


def by_opencv(array, ending, *options):
    order = {2: slice(None), 3: [2, 1, 0], 4: [2, 1, 0, 3]}[array.shape[2] if array.ndim == 3 else 2]
    return cv2.imencode(ending, array[..., order] if array.ndim == 3 else array, options)[1].tobytes()


def big_endian_tiff(array):
    buffer = io.BytesIO()
    Image.frombytes('I;16B', array.shape[::-1], array.astype('>u2').tobytes()).save(buffer, 'TIFF')
    return buffer.getvalue()


DEEP_FILES = {
    'grey PNG': (encoded(Image.fromarray(GREY), 'PNG'), GREY),
    'grey TIFF': (encoded(Image.fromarray(GREY), 'TIFF'), GREY),
    'grey TIFF, LZW': (encoded(Image.fromarray(GREY), 'TIFF', compression='tiff_lzw'), GREY),
    'grey TIFF, big-endian': (big_endian_tiff(GREY), GREY),
    'grey PPM': (encoded(Image.fromarray(GREY), 'PPM'), GREY),
    'grey JPEG 2000': (encoded(Image.fromarray(GREY), 'JPEG2000'), GREY),
    'PNG': (by_opencv(COLOUR, '.png'), COLOUR),
    'TIFF': (by_opencv(COLOUR, '.tif', cv2.IMWRITE_TIFF_COMPRESSION, 1), COLOUR),
    'TIFF, LZW': (by_opencv(COLOUR, '.tif', cv2.IMWRITE_TIFF_COMPRESSION, 5), COLOUR),
    'TIFF, deflate': (by_opencv(COLOUR, '.tif', cv2.IMWRITE_TIFF_COMPRESSION, 8), COLOUR),
    'PPM': (by_opencv(COLOUR, '.ppm'), COLOUR),
    'PNG with alpha': (by_opencv(ALPHA, '.png'), ALPHA),
    'TIFF with alpha': (by_opencv(ALPHA, '.tif', cv2.IMWRITE_TIFF_COMPRESSION, 5), ALPHA),
    'integer TIFF': (encoded(Image.fromarray(GREY.astype(np.int32) - 1000), 'TIFF'), GREY.astype(np.int32) - 1000),
    'float TIFF': (encoded(Image.fromarray(GREY / np.float32(7)), 'TIFF'), GREY / np.float32(7)),
}


@pytest.mark.parametrize('sort', DEEP_FILES)
def test_every_value_is_read_to_its_last_bit(sort):
    content, expected = DEEP_FILES[sort]
    opened = open_checked(content, 'x')
    values = read_values(opened.image, content, lambda: open_checked(content, 'x').image)
    assert np.array_equal(values, expected)
    kind = {'integer TIFF': '32-bit', 'float TIFF': 'float'}.get(sort, '16-bit')
    assert opened.deep_kind == kind and f'{kind} scaled' in opened.conversions
    assert read_thumbnail(content, (8, 8)).deep == measure(expected, kind)


def test_a_grey_png_with_alpha_is_read_to_its_last_bit():
    content = odd_photos.png_16(4, low=0x35)
    opened = open_checked(content, 'x')
    values = read_values(opened.image, content, lambda: open_checked(content, 'x').image)
    assert values[0, 0].tolist() == [0xC835, 0] and values[0, -1].tolist() == [0, 0xFFFF]


@pytest.mark.parametrize('sort', [sort for sort in DEEP_FILES if sort not in ('integer TIFF', 'float TIFF')])
def test_the_full_range_of_16_bits_is_its_high_byte(sort):
    content, values = DEEP_FILES[sort]
    colours = values if values.ndim == 3 else values[..., None]
    for ranges in (None, {}, {'16-bit': (0, 65_535)}, {'16-bit': [0, 65_535]}, {'float': (0.0, 1.0)}):
        rgb = decode_rgb(content, value_range=ranges)
        if 'alpha' not in sort:
            far = np.abs(rgb.astype(int) - np.broadcast_to(colours >> 8, rgb.shape)).max()
            assert far <= (sort == 'PPM')  # of which Pillow rounds
    scaled = decode_rgb(content, value_range={'16-bit': (1, 65_535)})  # by way of the values themselves
    assert np.abs(scaled.astype(int) - rgb).max() <= 1


def test_values_become_8_bits_between_two_ends():
    every = np.arange(65_536, dtype=np.uint16)
    assert np.array_equal(to_8_bits(every, (0, 65_535)), every >> 8)
    assert to_8_bits(np.array([799, 805, 1334, 1864, 4000], np.uint16), (805, 1864)).tolist() == [0, 0, 127, 255, 255]
    floats = np.array([-np.inf, -1, 0, 0.5, 1, np.inf, np.nan], np.float32)
    assert to_8_bits(floats, (0.0, 1.0)).tolist() == [0, 0, 0, 128, 255, 255, 0]
    assert to_8_bits(np.array([-1000, 0, 1000], np.int32), (-1000, 1000)).tolist() == [0, 127, 255]
    assert to_8_bits(np.full(2, 5, np.uint16), (5, 5)).tolist() == [0, 0]


def test_one_hot_pixel_nan_and_alpha_do_not_count():
    values = np.full((100, 100), 1000, np.uint16)
    values[:50] = 900
    values[3, 3] = 65_535
    assert measure(values, '16-bit') == DeepValues('16-bit', 900, 1000)
    floats = np.array([[np.nan, np.inf, -np.inf, 0.25, 0.75]], np.float32)
    assert measure(floats, 'float') == DeepValues('float', 0.25, 0.75)
    assert measure(np.full((2, 2), np.nan, np.float32), 'float')[1:] == (0, 0)
    assert measure(np.dstack([GREY, GREY * 0 + 65_535]), '16-bit').high < 65_535


def test_the_range_is_that_of_all_photos_and_above_14_bits_the_full_one():
    photos = [DeepValues('16-bit', 805, 1700), DeepValues('16-bit', 810, 1864), DeepValues('float', -1.0, 2.0)]
    assert common_ranges(photos, {}) == {'16-bit': (805, 1864), 'float': (-1.0, 2.0)}
    assert common_ranges([*photos, DeepValues('16-bit', 0, 16_384)], {})['16-bit'] == (0, 65_535)
    known = {'16-bit': [0, 4095], '32-bit': [0, 1]}  # also of a kind that no photo has now: a later one may
    assert common_ranges(photos, known) == {**known, 'float': (-1.0, 2.0)}
    assert range_notes({'a.tif': photos[0]}, known) == []


def test_one_photo_that_makes_the_others_dark_is_named():
    photos = {f'{number}.png': DeepValues('16-bit', 800, 1800) for number in range(9)}
    assert range_notes(photos, common_ranges(photos.values(), {})) == []
    photos['full.png'] = DeepValues('16-bit', 0, 60_000)
    (note,) = range_notes(photos, common_ranges(photos.values(), {}))
    assert '1 of 10' in note and 'full.png' in note and 'Fix: ' in note
    (note,) = range_notes(photos, {'16-bit': [800, 1800]})  # kept from an older folder
    assert 'clipped' in note and 'full.png' in note


@pytest.mark.parametrize('sort', ['integer TIFF', 'float TIFF'])
def test_a_model_that_knows_no_range_refuses_what_has_none_by_itself(sort):
    content, values = DEEP_FILES[sort]
    for ranges in (None, {'16-bit': (0, 4095)}):
        with pytest.raises(UnreadablePhoto, match='Fix: save it with 8 bits') as caught:
            decode_rgb(content, value_range=ranges)
        assert caught.value.reason == 'unknown range'
    kind = 'float' if sort == 'float TIFF' else '32-bit'
    ends = (float(values.min()), float(values.max()))
    assert [decode_rgb(content, value_range={kind: ends}).min(), decode_rgb(content, value_range=OWN_ENDS).max()] == [
        0,
        255,
    ]


def test_an_opened_image_is_scaled_as_its_file():
    for sort in ('grey PNG', 'grey TIFF, LZW', 'float TIFF'):
        content, _ = DEEP_FILES[sort]
        ranges = {'16-bit': (100, 9000), 'float': (10.0, 4000.0)}
        assert np.array_equal(
            image_to_rgb(Image.open(io.BytesIO(content)), ranges), decode_rgb(content, value_range=ranges)
        )


def test_turn_transparency_and_reduction_are_as_for_8_bits(monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(GREY), 'PNG', exif=exif)
    rgb = decode_rgb(content, value_range={'16-bit': (0, 9000)})
    assert np.array_equal(rgb[..., 0], np.rot90(to_8_bits(GREY, (0, 9000)), -1))
    clear = encoded(Image.fromarray(GREY), 'PNG', transparency=int(GREY[2, 3]))
    assert (decode_rgb(clear, value_range={'16-bit': (0, 9000)})[2, 3] == 255).all()
    coloured = odd_photos.png_16(2, key=[0xC8FF, 0, 0])
    assert (decode_rgb(coloured, value_range={'16-bit': (0, 60_000)})[0, 0] == 255).all()
    monkeypatch.setattr('flowercls.data.image_formats.MAX_DECODED_PIXELS', 300)
    for content, _ in DEEP_FILES.values():
        photo = read_photo(content, value_range=OWN_ENDS)
        assert photo.rgb.shape == (15, 20, 3) and read_thumbnail(content, (4, 4)).size == (20, 15)


def slices(folder, endings, kind=np.uint16):
    """CT-like slices of 805 to 1864, a round body on air with another inside each."""
    y, x = np.mgrid[:96, :96] - 48
    for number in range(24):
        draw = np.random.default_rng(number)
        values = 805 + 400 * (x**2 + y**2 < 44**2)
        for _ in range(6):
            place, size = draw.integers(-30, 30, 2), draw.integers(4, 16)
            values = np.where((x - place[0]) ** 2 + (y - place[1]) ** 2 < size**2, draw.integers(900, 1864), values)
        values[0, 0], values[0, 1] = 805, 1864
        path = folder / 'ab'[number % 2] / f'{number}{endings[number % len(endings)]}'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(by_opencv(values.astype(kind), path.suffix))


def test_12_bit_slices_of_a_set_are_seen_and_told_apart(tmp_path):
    slices(tmp_path / 'raw', ['.png', '.tif'])
    result = prepare(tmp_path / 'raw', tmp_path / 'out', workers=0)
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text(encoding='utf-8'))
    low, high = manifest['value_range']['16-bit']
    assert 805 <= low < 910 and 1700 < high <= 1864
    assert f'16-bit scaled from {low}..{high} (12)' in result.summary()
    assert max(map(len, result.near_duplicates), default=0) <= 2  # by their high byte all look alike
    assert result.counts['val_set'] == {'a': 2, 'b': 2}
    for row in manifest['images']:
        rgb = decode_rgb(tmp_path / 'out' / row['file'])
        raw = decode_rgb(tmp_path / 'raw' / row['raw'], value_range=manifest['value_range'])
        assert np.array_equal(rgb, raw) and len(np.unique(rgb)) > 5 and np.ptp(rgb) > 100


def test_float_photos_are_scaled_by_the_range_of_the_set_and_an_extension_keeps_it(tmp_path):
    slices(tmp_path / 'raw', ['.tiff'], np.float32)
    prepare(tmp_path / 'raw', tmp_path / 'out', workers=0)
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text(encoding='utf-8'))
    assert manifest['value_range'].keys() == {'float'} and manifest['counts']['converted'] == 24
    (tmp_path / 'raw' / 'a' / 'new.tiff').write_bytes(
        by_opencv(np.full((96, 96), 9000, np.float32) * GREY[0, 1], '.tiff')
    )
    again = prepare(tmp_path / 'raw', tmp_path / 'more', workers=0, extend=tmp_path / 'out')
    assert json.loads((tmp_path / 'more' / 'manifest.json').read_text())['value_range'] == manifest['value_range']
    assert 'new.tiff' in again.summary() and 'range of the old folder' in again.summary()
