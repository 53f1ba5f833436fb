"""Every photo of a raw folder is decoded, hashed and measured; reliability/test_bad_images.py tries odd files."""

import hashlib

import imagehash
import pytest
from PIL import Image

from flowercls.data.prepare.raw.raw_folder import find_files
from flowercls.data.prepare.raw.scan import scan_photos
from helpers.odd_photos import draw


@pytest.fixture
def raw(tmp_path):
    for number, name in enumerate(['daisy/a.jpg', 'daisy/b.png', 'rose/a.jpg', 'rose/b.jpg']):
        draw(tmp_path / 'raw' / name, seed=number)
    return tmp_path / 'raw'


def scan_folder(raw):
    return scan_photos(raw, find_files(raw), workers=0)


def skipped(raw):
    return {skip.path: skip.reason for skip in scan_folder(raw).skipped}


def test_each_folder_is_a_class_and_each_photo_a_record(raw):
    scan = scan_folder(raw)
    assert scan.classes == ('daisy', 'rose')
    assert [photo.path for photo in scan.photos] == ['daisy/a.jpg', 'daisy/b.png', 'rose/a.jpg', 'rose/b.jpg']
    assert scan.skipped == ()
    first = scan.photos[0]
    content = (raw / 'daisy/a.jpg').read_bytes()
    assert first.sha256 == hashlib.sha256(content).hexdigest() and first.num_bytes == len(content)
    assert (first.class_name, first.size, first.format, first.conversions) == ('daisy', (32, 24), 'JPEG', ())


def test_photos_are_hashed_as_imagehash_does(raw):
    found = {photo.path: photo.dhash for photo in scan_folder(raw).photos}['daisy/b.png']
    grey = Image.open(raw / 'daisy/b.png').convert('L')
    assert [f'{number:016x}' for number in found] == [str(imagehash.dhash(grey)), str(imagehash.dhash_vertical(grey))]


def test_a_large_photo_has_the_hashes_of_a_small_one(raw):
    # What is hashed is made smaller in other ways, by the JPEG decoder or after it.
    draw(raw / 'daisy/large.jpg', seed=1, size=(1600, 1200))
    draw(raw / 'daisy/large.png', seed=1, size=(1600, 1200))
    found = {photo.path: photo.dhash for photo in scan_folder(raw).photos}
    for name in ('daisy/large.jpg', 'daisy/large.png'):
        far = [(one ^ other).bit_count() for one, other in zip(found['daisy/b.png'], found[name], strict=True)]
        assert max(far) <= 3


def test_photos_below_8_pixels_are_too_small(raw):
    draw(raw / 'rose/line.png', size=(200, 7))
    draw(raw / 'rose/narrow but enough.png', size=(200, 8))
    assert skipped(raw) == {'rose/line.png': 'too small'}
