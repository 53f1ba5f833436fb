"""One decoder: rules that tests/reliability/test_bad_images.py does not try, file by file."""

import io
import pickle
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from flowercls.data import decode, image_formats
from flowercls.data.decode import decode_rgb, read_photo, read_thumbnail
from flowercls.data.image_formats import UnreadablePhoto
from helpers.odd_photos import encoded, textured

RED = (255, 0, 0)


def half_red_half_blue():
    """8 wide, 4 high: left half red, right half blue."""
    image = Image.new('RGB', (8, 4), RED)
    image.paste((0, 0, 255), (4, 0, 8, 4))
    return image


def reason_of(source):
    with pytest.raises(UnreadablePhoto) as caught:
        decode_rgb(source)
    assert 'Fix: ' in str(caught.value)
    return caught.value.reason


def test_an_ordinary_png_becomes_its_own_pixels(tmp_path):
    path = tmp_path / 'a.png'
    half_red_half_blue().save(path)
    for source in (path, str(path), path.read_bytes()):
        rgb = decode_rgb(source)
        assert rgb.shape == (4, 8, 3) and rgb.dtype == np.uint8
        assert rgb.flags.c_contiguous and rgb.flags.writeable
        assert rgb[0, 0].tolist() == [255, 0, 0] and rgb[0, 7].tolist() == [0, 0, 255]
    assert read_photo(path).conversions == () and read_photo(path).format == 'PNG'


def test_a_jpeg_gives_the_same_pixels_as_pillow_itself(tmp_path):
    path = tmp_path / 'a.jpg'
    textured(0).save(path, quality=80)
    assert np.array_equal(decode_rgb(path), np.asarray(Image.open(path).convert('RGB')))


@pytest.mark.parametrize(
    ('orientation', 'shape', 'red_at'),
    [
        (1, (4, 8), (0, 0)),
        (2, (4, 8), (0, 7)),
        (3, (4, 8), (3, 7)),
        (4, (4, 8), (3, 0)),
        (5, (8, 4), (0, 0)),
        (6, (8, 4), (0, 3)),
        (7, (8, 4), (7, 3)),
        (8, (8, 4), (7, 0)),
    ],
)
@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_each_exif_orientation_is_turned_upright(kind, orientation, shape, red_at):
    # One red pixel in the stored upper left corner; where it must go is the definition of the EXIF tag.
    image = Image.new('RGB', (8, 4), 'black')
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = read_photo(encoded(image, kind, exif=exif))
    assert photo.rgb.shape[:2] == shape and photo.format == kind
    assert np.argwhere(photo.rgb[:, :, 0] == 255).tolist() == [list(red_at)]
    assert photo.conversions == (() if orientation == 1 else ('orientation applied',))


def test_broken_exif_does_not_spoil_a_good_photo():
    content = encoded(half_red_half_blue(), 'JPEG', exif=b'Exif\x00\x00not a tiff header')
    assert decode_rgb(content).shape == (4, 8, 3)


def test_half_transparent_black_is_middle_grey():
    assert decode_rgb(encoded(Image.new('RGBA', (1, 1), (0, 0, 0, 128)), 'PNG')).tolist() == [[[127, 127, 127]]]


@pytest.mark.parametrize(('mode', 'clear'), [('L', 7), ('RGB', (7, 7, 7)), ('P', 0)])
def test_a_transparent_colour_is_laid_on_white(mode, clear):
    photo = read_photo(encoded(Image.new(mode, (2, 2), clear), 'PNG', transparency=clear))
    assert (photo.rgb == 255).all()
    assert 'alpha on white' in photo.conversions


def test_16_bit_grey_is_scaled_and_not_saturated():
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    photo = read_photo(encoded(Image.fromarray(values), 'PNG'))
    assert photo.rgb[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert photo.conversions == ('16-bit scaled',)


def test_a_phone_jpeg_with_an_extra_picture_is_an_ordinary_jpeg():
    content = encoded(half_red_half_blue(), 'MPO', save_all=True, append_images=[Image.new('RGB', (8, 4))])
    photo = read_photo(content)
    assert photo.format == 'JPEG' and photo.conversions == () and photo.rgb[0, 0, 0] > 200


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'GIF', 'TIFF', 'BMP'])
@pytest.mark.parametrize('share', [0.02, 0.5, 0.95])
def test_a_cut_file_is_refused_at_every_length(kind, share):
    content = encoded(textured(0, (400, 300)), kind)
    assert reason_of(content[: int(len(content) * share)]) in ('truncated', 'damaged')


@pytest.mark.parametrize('content', [b'%PDF-1.7', b'8BPS'])
def test_files_of_other_programs_are_unsupported(content):
    assert reason_of(content) == 'unsupported format'


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert reason_of(tmp_path / 'nowhere.jpg') == 'missing file'
    assert reason_of(tmp_path) == 'not a file'
    with pytest.raises(UnreadablePhoto, match='nowhere.jpg: missing file'):
        decode_rgb(tmp_path / 'nowhere.jpg')


@pytest.mark.parametrize('side', [16_000, 60_000])
def test_the_size_is_checked_in_the_header_before_decoding(side, recwarn):
    header = struct.pack('>2I5B', side, side, 8, 2, 0, 0, 0)
    content = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + b'IHDR' + header
    content += struct.pack('>I', zlib.crc32(b'IHDR' + header)) + struct.pack('>I', 0) + b'IDAT'
    assert reason_of(content) == 'too large'
    assert not recwarn.list


def test_a_huge_file_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(image_formats, 'MAX_FILE_BYTES', 10)
    (tmp_path / 'huge.jpg').write_bytes(b'\xff\xd8' + bytes(9))
    assert reason_of(tmp_path / 'huge.jpg') == 'too large'


def test_the_error_survives_a_loader_worker():
    # torch re-raises as type(error)(text with the worker's traceback); processes pickle it.
    text = 'Caught UnreadablePhoto in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File'
    again = UnreadablePhoto(f'{text}\nflowercls.data.image_formats.UnreadablePhoto: a.jpg: damaged (x). Fix: y.\n')
    assert str(again) == 'a.jpg: damaged (x). Fix: y.'
    copy = pickle.loads(pickle.dumps(UnreadablePhoto('a.jpg: empty file', 'empty file')))
    assert (str(copy), copy.reason) == ('a.jpg: empty file', 'empty file')


def smooth(size=(400, 300)):
    blocks = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


SORTS = {
    'JPEG': encoded(smooth(), 'JPEG'),
    'progressive JPEG': encoded(smooth(), 'JPEG', progressive=True),
    'grey JPEG': encoded(smooth().convert('L'), 'JPEG'),
    'CMYK JPEG': encoded(smooth().convert('CMYK'), 'JPEG'),
    'lying JPEG': encoded(smooth(), 'JPEG', exif=turned(6)),
    'JPEG upside down': encoded(smooth(), 'JPEG', exif=turned(3)),
    'lying TIFF': encoded(smooth(), 'TIFF', exif=turned(8)),
    'PNG': encoded(smooth(), 'PNG'),
    'palette PNG': encoded(smooth().convert('P'), 'PNG'),
    'large JPEG': encoded(smooth((1999, 1501)), 'JPEG'),
    'small JPEG': encoded(smooth((40, 30)), 'JPEG'),
}


@pytest.mark.parametrize('sort', SORTS)
def test_a_thumbnail_shows_what_the_decoder_decodes(sort):
    whole, seen = read_photo(SORTS[sort]), read_thumbnail(SORTS[sort], (72, 64))
    height, width, _ = whole.rgb.shape
    assert (seen.size, seen.format, seen.conversions) == ((width, height), whole.format, whole.conversions)
    if sort != 'small JPEG':
        assert 72 <= seen.grey.width < width and 64 <= seen.grey.height < height
    grey = Image.fromarray(whole.rgb).convert('L').resize(seen.grey.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(grey, int) - np.asarray(seen.grey, int)).mean() < 1.5  # of 255


LARGE = {
    **SORTS,
    'JPEG 2000': encoded(smooth((399, 299)), 'JPEG2000'),
    'JPEG 2000 that cannot be halved': encoded(smooth(), 'JPEG2000', num_resolutions=1),
    'JPEG 2000 of 4n + 1 pixels': encoded(smooth((397, 297)), 'JPEG2000'),
    'phone JPEG': encoded(smooth(), 'MPO', save_all=True, append_images=[Image.new('RGB', (8, 8))]),
    'RGBA': encoded(smooth().convert('RGBA'), 'PNG'),
    '16 bits': encoded(Image.fromarray(np.asarray(smooth().convert('L'), np.uint16) << 8), 'PNG'),
}


@pytest.mark.parametrize('sort', LARGE)
@pytest.mark.parametrize(('most', 'factor'), [(30_000, 2), (28_000, 4), (7_500, 4)])
def test_a_photo_above_the_limit_is_reduced_by_a_power_of_two(sort, most, factor, monkeypatch):
    # 400 x 300 = 120,000 pixels; 30,000 with half the sides.
    content = LARGE[sort]
    whole = read_photo(content)
    monkeypatch.setattr(image_formats, 'MAX_DECODED_PIXELS', most)
    monkeypatch.setattr(decode, '_BAND_PX', 64)
    photo, seen = read_photo(content), read_thumbnail(content, (20, 15))
    assert (seen.size, seen.conversions) == (photo.rgb.shape[1::-1], photo.conversions)
    number = {'large JPEG': 16 if most > 20_000 else 32, 'small JPEG': 1}.get(sort, factor)
    small = [-(-side // number) for side in whole.rgb.shape[:2]]
    assert photo.rgb.shape == (*small, 3)
    assert [text for text in photo.conversions if 'reduced' in text] == [f'reduced by {number}'] * (number > 1)
    expected = Image.fromarray(whole.rgb).reduce(number)
    most_differing = 5 if '2000' in sort else 1.5  # of 255; wavelets keep every other place, not the mean of two
    assert np.abs(np.asarray(expected, int) - photo.rgb).mean() < most_differing


@pytest.mark.parametrize('sort', SORTS)
def test_a_thumbnail_refuses_what_the_decoder_refuses(sort):
    whole = SORTS[sort]
    for end in (0, 1, 100, len(whole) // 3, len(whole) // 2, len(whole) - 200, len(whole) - 9, len(whole) - 3):
        found = []
        for look in (read_photo, lambda content: read_thumbnail(content, (72, 64))):
            try:
                look(whole[:end])
                found.append(None)
            except UnreadablePhoto as error:
                found.append((error.reason, error.detail))
        assert found[0] == found[1], end
    assert reason_of(whole[: len(whole) // 2]) == 'truncated'


def heic(image, exif=None, **options):
    """A HEIC as phones write it: the turn stands in its structure and in the EXIF data."""
    pillow_heif = pytest.importorskip('pillow_heif')
    return saved(pillow_heif.from_pillow(image), exif=exif, **{'quality': 95} | options)


def saved(heif, **options):
    heif.save(buffer := io.BytesIO(), **options)
    return buffer.getvalue()


def test_a_heic_is_turned_upright_once():
    # Orientation 6: what is stored on the left is seen at the top.
    content = heic(half_red_half_blue().resize((64, 48)), exif=turned(6).tobytes())
    assert b'irot' in content
    rgb = decode_rgb(content)
    assert rgb.shape == (64, 48, 3)
    assert rgb[5, 24, 0] > 200 and rgb[60, 24, 2] > 200
    assert read_photo(content).format == 'HEIF'
    seen = read_thumbnail(content, (8, 8))
    assert (seen.size, seen.format) == ((48, 64), 'HEIF')


def test_of_several_pictures_in_a_heic_the_main_one_is_read_and_transparency_is_white():
    pillow_heif = pytest.importorskip('pillow_heif')
    both = pillow_heif.from_pillow(Image.new('RGB', (32, 32), 'blue'))
    both.add_from_pillow(Image.new('RGBA', (64, 48), (255, 0, 0, 0)))
    photo = read_photo(saved(both, primary_index=1))
    assert photo.rgb.shape == (48, 64, 3) and (photo.rgb == 255).all()
    assert photo.conversions == ('first of 2 frames', 'alpha on white')


def test_a_heic_of_10_bits_becomes_8():
    pillow_heif = pytest.importorskip('pillow_heif')
    deep = np.arange(64 * 48 * 3, dtype=np.uint16).reshape(48, 64, 3) * 7
    heif = pillow_heif.from_bytes('RGB;16', (64, 48), deep.tobytes())
    rgb = decode_rgb(saved(heif, quality=-1, chroma=444, matrix_coefficients=0))
    assert np.abs(rgb - (deep / 257)).max() <= 1


@pytest.mark.parametrize('share', [0.02, 0.5, 0.95])
def test_a_cut_heic_is_truncated(share):
    content = heic(textured(0, (400, 300)))
    assert reason_of(content[: int(len(content) * share)]) == 'truncated'


@pytest.mark.parametrize('brands', [b'heic....heic', b'heix....mif1', b'mif1....heicmif1', b'msf1....hevc'])
def test_a_heic_without_its_plugin_names_the_remedy(brands, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    content = struct.pack('>I', 8 + len(brands)) + b'ftyp' + brands + bytes(100)
    with pytest.raises(UnreadablePhoto, match=r'pip install "flowercls\[heic\]"') as caught:
        decode_rgb(content)
    assert caught.value.reason == 'HEIC'


def test_an_avif_of_a_container_brand_is_no_heic():
    content = encoded(textured(0), 'AVIF')
    assert read_photo(content.replace(b'ftypavif', b'ftypmif1', 1)).format == 'AVIF'


def test_the_heic_plugin_is_imported_for_heic_files_alone():
    code = 'import sys, flowercls.data.decode, flowercls.use.photos; sys.exit("pillow_heif" in sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)


def tiff_of_a_camera(**tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for number, value in tags.items():
        info[int(number.removeprefix('tag'))] = value
    return encoded(textured(0), 'TIFF', tiffinfo=info)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (bytes(128) + b'DICM' + bytes(100), 'DICOM'),
        (b'\x08\x00\x05\x00CS' + bytes(100), 'DICOM'),
        (tiff_of_a_camera(tag50706=b'\x01\x04\x00\x00'), 'camera raw'),
        (tiff_of_a_camera(tag254=1, tag330=8, tag271='NIKON'), 'camera raw'),
        (b'II*\x00\x10\x00\x00\x00CR\x02\x00' + bytes(100), 'camera raw'),
        (b'\x00\x00\x00\x18ftypcrx ' + bytes(100), 'camera raw'),
        (b'FUJIFILMCCD-RAW 0201', 'camera raw'),
        (b'\x00\x00\x00\x20ftypisom' + bytes(100), 'video'),
        (b'\x00\x00\x00\x14ftypqt  ' + bytes(100), 'video'),
        (b'RIFF\x00\x00\x00\x00AVI LIST', 'video'),
        (b'\x1aE\xdf\xa3' + bytes(100), 'video'),
        (b'\x00\x00\x00\x0cJXL \r\n\x87\n', 'unsupported format'),
        (bytes(344) + b'n+1\x00', 'unsupported format'),
        (bytes(2000), 'not an image'),
        (b'version https://git-lfs.github.com/spec/v1', 'not an image'),
        (b'PK\x03\x04' + bytes(100), 'not an image'),
    ],
)
def test_files_that_are_taken_for_photos_are_named(content, reason):
    assert reason_of(content) == reason


def test_a_tiff_with_a_smaller_copy_beside_it_is_no_camera_raw():
    assert read_photo(tiff_of_a_camera(tag330=8, tag271='Zeiss')).format == 'TIFF'


def test_an_unknown_file_is_described_in_plain_words():
    for content, words in ((b'water on Mondays', 'a text: "water on Mondays'), (b'\x01\x02\x03', 'unknown kind')):
        with pytest.raises(UnreadablePhoto, match=words) as caught:
            decode_rgb(content)
        assert "b'" not in str(caught.value)


def test_a_video_is_named_however_large_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(image_formats, 'MAX_FILE_BYTES', 10)
    (tmp_path / 'a.mp4').write_bytes(b'\x00\x00\x00\x20ftypisom' + bytes(100))
    assert reason_of(tmp_path / 'a.mp4') == 'video'


def test_pillow_warns_nobody_of_odd_metadata(tmp_path):
    # An EXIF directory that says it has more entries than bytes; in a process of its own, as pytest shows all warnings.
    exif = b'Exif\x00\x00II*\x00\x08\x00\x00\x00\x09\x00' + b'\x0f\x01\x02\x00\xff\x00\x00\x00\x50\x00\x00\x00'
    (tmp_path / 'a.jpg').write_bytes(encoded(textured(0), 'JPEG', exif=exif))
    code = 'import sys; from flowercls.data.decode import decode_rgb; decode_rgb(sys.argv[1])'
    done = subprocess.run([sys.executable, '-c', code, tmp_path / 'a.jpg'], capture_output=True, text=True, check=True)
    assert done.stderr == ''


@pytest.mark.parametrize(
    ('kind', 'options', 'is_lossy'),
    [
        ('JPEG', {}, True),
        ('PNG', {}, False),
        ('WEBP', {'quality': 80}, True),
        ('WEBP', {'lossless': True}, False),
        ('WEBP', {'quality': 80, 'save_all': True, 'append_images': [Image.new('RGB', (64, 48))]}, True),
        ('WEBP', {'lossless': True, 'save_all': True, 'append_images': [Image.new('RGB', (64, 48))]}, False),
        ('WEBP', {'quality': 80, 'exif': turned(6).tobytes()}, True),
        ('AVIF', {}, True),
        ('JPEG2000', {}, False),
        ('JPEG2000', {'irreversible': True}, True),
        ('TIFF', {'compression': 'jpeg'}, True),
        ('TIFF', {'compression': 'tiff_lzw'}, False),
        ('BMP', {}, False),
    ],
)
def test_it_is_known_whether_pixels_were_compressed_with_a_loss(kind, options, is_lossy):
    content = encoded(textured(0), kind, **options)
    assert read_photo(content).is_lossy == read_thumbnail(content, (8, 8)).is_lossy == is_lossy


def test_a_heic_without_loss_is_known():
    assert read_photo(heic(textured(0))).is_lossy
    assert not read_photo(heic(textured(0), quality=-1, chroma=444, matrix_coefficients=0)).is_lossy
