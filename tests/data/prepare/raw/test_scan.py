"""Every photo of a raw folder is decoded, hashed and measured; reliability/test_bad_images.py tries odd files."""

import hashlib

import pytest

from flowercls.data.prepare.alike.photo_look import look_distances, look_maps
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


def test_a_large_photo_looks_like_a_small_one(raw):
    # What is looked at is made smaller in other ways, by the JPEG decoder or after it.
    draw(raw / 'daisy/large.jpg', seed=1, size=(1600, 1200))
    draw(raw / 'daisy/large.png', seed=1, size=(1600, 1200))
    found = {photo.path: photo.look for photo in scan_folder(raw).photos}
    maps = look_maps([found[name] for name in ('daisy/b.png', 'daisy/large.jpg', 'daisy/large.png', 'rose/a.jpg')])
    distances = look_distances(maps[:1], maps[1:])[0]
    assert max(distances[:2]) < 0.3 and distances[2] > 1


def test_photos_below_8_pixels_are_too_small(raw):
    draw(raw / 'rose/line.png', size=(200, 7))
    draw(raw / 'rose/narrow but enough.png', size=(200, 8))
    assert skipped(raw) == {'rose/line.png': 'too small'}
