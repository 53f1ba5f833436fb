"""Everything in a raw folder is found and has a reason if skipped; reliability/test_bad_trees.py tries 40 trees."""

import hashlib
import os
import sys

import imagehash
import pytest
from PIL import Image

from flowercls.core.errors import DataError
from flowercls.data.prepare import scan as scan_module
from flowercls.data.prepare.scan import scan_folder
from helpers.odd_photos import textured


def draw(path, seed=0, size=(32, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    textured(seed, size).save(path)


@pytest.fixture
def raw(tmp_path):
    for number, name in enumerate(['daisy/a.jpg', 'daisy/b.png', 'rose/a.jpg', 'rose/b.jpg']):
        draw(tmp_path / 'raw' / name, seed=number)
    return tmp_path / 'raw'


def skipped(raw):
    return {skip.path: skip.reason for skip in scan_folder(raw, workers=0).skipped}


def test_each_folder_is_a_class_and_each_photo_a_record(raw):
    scan = scan_folder(raw, workers=0)
    assert scan.classes == ('daisy', 'rose')
    assert [photo.path for photo in scan.photos] == ['daisy/a.jpg', 'daisy/b.png', 'rose/a.jpg', 'rose/b.jpg']
    assert scan.skipped == ()
    first = scan.photos[0]
    content = (raw / 'daisy/a.jpg').read_bytes()
    assert first.sha256 == hashlib.sha256(content).hexdigest() and first.num_bytes == len(content)
    assert (first.class_name, first.size, first.format, first.conversions) == ('daisy', (32, 24), 'JPEG', ())


def test_photos_are_hashed_as_imagehash_does(raw):
    found = {photo.path: photo.dhash for photo in scan_folder(raw, workers=0).photos}['daisy/b.png']
    grey = Image.open(raw / 'daisy/b.png').convert('L')
    assert [f'{number:016x}' for number in found] == [str(imagehash.dhash(grey)), str(imagehash.dhash_vertical(grey))]


def test_a_large_photo_has_the_hashes_of_a_small_one(raw):
    # What is hashed is made smaller in other ways, by the JPEG decoder or after it.
    draw(raw / 'daisy/large.jpg', seed=1, size=(1600, 1200))
    draw(raw / 'daisy/large.png', seed=1, size=(1600, 1200))
    found = {photo.path: photo.dhash for photo in scan_folder(raw, workers=0).photos}
    for name in ('daisy/large.jpg', 'daisy/large.png'):
        far = [(one ^ other).bit_count() for one, other in zip(found['daisy/b.png'], found[name], strict=True)]
        assert max(far) <= 3


def test_the_order_of_the_file_system_does_not_matter(raw, monkeypatch):
    expected = scan_folder(raw, workers=0)
    real = os.scandir

    class Backwards:
        def __init__(self, path):
            self.entries = list(real(path))[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(scan_module.os, 'scandir', Backwards)
    assert scan_folder(raw, workers=0) == expected


def test_system_files_are_reported_and_never_a_class(raw):
    for name in ('.DS_Store', '__MACOSX/x.jpg', '.git/HEAD', 'rose/Thumbs.db', 'rose/._a.jpg', 'rose/@eaDir/t.jpg'):
        draw(raw / f'{name}.jpg')
        (raw / f'{name}.jpg').rename(raw / name)
    assert skipped(raw) == dict.fromkeys(
        ['.DS_Store', '.git', '__MACOSX', 'rose/._a.jpg', 'rose/@eaDir', 'rose/Thumbs.db'], 'system file'
    )
    assert scan_folder(raw, workers=0).classes == ('daisy', 'rose')


def test_folders_may_be_thousands_of_levels_deep(monkeypatch, tmp_path):
    def list_folder(raw_dir, folder):
        return [(f'{folder}/d', 'folder' if folder.count('/') < 2000 else 'file')]

    monkeypatch.setattr(scan_module, '_list_folder', list_folder)
    (path,) = scan_module._walk(tmp_path, 'rose')
    assert path.count('/') == 2001


def test_photos_below_8_pixels_are_too_small(raw):
    draw(raw / 'rose/line.png', size=(200, 7))
    draw(raw / 'rose/narrow but enough.png', size=(200, 8))
    assert skipped(raw) == {'rose/line.png': 'too small'}


@pytest.mark.skipif(os.name != 'posix', reason='links and pipes as on POSIX')
def test_links_and_pipes_do_not_lead_astray(raw, tmp_path):
    draw(tmp_path / 'elsewhere/c.jpg', seed=5)
    (raw / 'rose/loop').symlink_to(raw / 'rose', target_is_directory=True)
    (raw / 'tulip').symlink_to(tmp_path / 'elsewhere', target_is_directory=True)
    (raw / 'rose/gone.jpg').symlink_to(raw / 'nowhere.jpg')
    (raw / 'rose/self.jpg').symlink_to(raw / 'rose/self.jpg')
    (raw / 'rose/linked.jpg').symlink_to(tmp_path / 'elsewhere/c.jpg')
    os.mkfifo(raw / 'rose/pipe.jpg')
    assert skipped(raw) == {
        'rose/gone.jpg': 'dangling link',
        'rose/loop': 'link to a folder',
        'rose/pipe.jpg': 'not a regular file',
        'rose/self.jpg': 'dangling link',
        'tulip': 'link to a folder',
    }
    assert 'rose/linked.jpg' in [photo.path for photo in scan_folder(raw, workers=0).photos]


def test_an_unreadable_folder_is_reported(raw, monkeypatch):
    (raw / 'rose/locked').mkdir()
    real = os.scandir

    def refuse(path):
        if str(path).endswith('locked'):
            raise PermissionError(13, 'Permission denied')
        return real(path)

    monkeypatch.setattr(scan_module.os, 'scandir', refuse)
    assert skipped(raw) == {'rose/locked': 'unreadable folder'}


@pytest.mark.skipif(os.name != 'posix', reason='links as on POSIX')
def test_a_file_that_may_not_be_looked_at_is_reported(raw, monkeypatch):
    (raw / 'rose/link.jpg').symlink_to(raw / 'daisy/a.jpg')
    real = scan_module.Path.stat

    def refuse(self, **options):
        if self.name in ('link.jpg', 'b.jpg'):
            raise PermissionError(13, 'Permission denied')
        return real(self, **options)

    monkeypatch.setattr(scan_module.Path, 'stat', refuse)
    assert skipped(raw) == {'rose/b.jpg': 'unreadable file', 'rose/link.jpg': 'unreadable file'}


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda raw: None, 'does not exist'),
        (lambda raw: raw.write_text('x'), 'is not a folder'),
        (lambda raw: draw(raw / 'rose/a.jpg'), "holds 1 class folder, 'rose'"),
    ],
)
def test_a_folder_without_classes_is_refused_with_the_expected_tree(tmp_path, make, message):
    make(tmp_path / 'raw')
    with pytest.raises(DataError, match=message) as caught:
        scan_folder(tmp_path / 'raw', workers=0)
    assert f'{tmp_path / "raw"}/\n    daisy/' in str(caught.value)


def test_photos_of_one_class_in_place_of_all_are_pointed_out(raw):
    with pytest.raises(DataError, match=f'Files lie directly in it.*give {raw}'):
        scan_folder(raw / 'rose', workers=0)


def test_an_archive_folder_too_much_is_pointed_out(tmp_path):
    for name in ('daisy', 'rose'):
        draw(tmp_path / 'flower_photos' / name / 'a.jpg')
    with pytest.raises(DataError, match='Did you mean .*flower_photos'):
        scan_folder(tmp_path, workers=0)


@pytest.mark.skipif(sys.platform != 'linux', reason='names as on Linux')
def test_a_class_name_with_a_backslash_is_refused(raw):
    (raw / 'tu\\lip').mkdir()
    with pytest.raises(DataError, match='backslash'):
        scan_folder(raw, workers=0)
