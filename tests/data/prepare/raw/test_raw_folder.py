"""Everything in a raw folder is found and has a reason if skipped; reliability/test_bad_trees.py tries 40 trees."""

import os
import shutil
import sys

import pytest

from flowercls.core.errors import DataError
from flowercls.data.prepare.raw import raw_folder
from flowercls.data.prepare.raw.given_split import ClassFolder
from flowercls.data.prepare.raw.raw_folder import find_files
from helpers.odd_photos import draw


@pytest.fixture
def raw(tmp_path):
    for number, name in enumerate(['daisy/a.jpg', 'daisy/b.png', 'rose/a.jpg', 'rose/b.jpg']):
        draw(tmp_path / 'raw' / name, seed=number)
    return tmp_path / 'raw'


def skipped(raw):
    return {skip.path: skip.reason for skip in find_files(raw).skipped}


def test_the_order_of_the_file_system_does_not_matter(raw, monkeypatch):
    expected = find_files(raw)
    real = os.scandir

    class Backwards:
        def __init__(self, path):
            self.entries = list(real(path))[::-1]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(raw_folder.os, 'scandir', Backwards)
    assert find_files(raw) == expected


def test_system_files_are_reported_and_never_a_class(raw):
    for name in ('.DS_Store', '__MACOSX/x.jpg', '.git/HEAD', 'rose/Thumbs.db', 'rose/._a.jpg', 'rose/@eaDir/t.jpg'):
        draw(raw / f'{name}.jpg')
        (raw / f'{name}.jpg').rename(raw / name)
    assert skipped(raw) == dict.fromkeys(
        ['.DS_Store', '.git', '__MACOSX', 'rose/._a.jpg', 'rose/@eaDir', 'rose/Thumbs.db'], 'system file'
    )
    assert find_files(raw).classes == ('daisy', 'rose')


def test_folders_may_be_thousands_of_levels_deep(monkeypatch, tmp_path):
    listing = raw_folder.Listing(tmp_path)
    monkeypatch.setattr(
        listing, 'entries', lambda folder: [(f'{folder}/d', 'folder' if folder.count('/') < 2000 else 'file')]
    )
    (file,) = raw_folder._walk(listing, ClassFolder('rose', 'rose'))
    assert file.path.count('/') == 2001


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
        'rose/loop': 'link to a folder around it',
        'rose/pipe.jpg': 'not a regular file',
        'rose/self.jpg': 'dangling link',
    }
    found = {file.path: file.class_name for file in find_files(raw).files}
    assert found['rose/linked.jpg'] == 'rose' and found['tulip/c.jpg'] == 'tulip'


@pytest.mark.skipif(os.name != 'posix', reason='links as on POSIX')
def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path):
    for number, name in enumerate(['real/a.jpg', 'one/b.jpg', 'two/c.jpg', 'raw/rose/d.jpg', 'raw/rose/deep/e.jpg']):
        draw(tmp_path / name, seed=number)
    for link, target in {
        **{'raw/daisy': '../real', 'raw/rose/more': '../../one', 'one/two': '../two', 'two/one': '../one'},
        **{
            'raw/rose/again': 'deep',
            'raw/rose/up': '../..',
            'raw/rose/self': '.',
            'raw/rose/a': 'b',
            'raw/rose/b': 'a',
        },
    }.items():
        (tmp_path / link).symlink_to(target)
    found = find_files(tmp_path / 'raw')
    assert {file.path: file.class_name for file in found.files} == {
        'daisy/a.jpg': 'daisy',
        **dict.fromkeys(['rose/d.jpg', 'rose/deep/e.jpg', 'rose/more/b.jpg', 'rose/more/two/c.jpg'], 'rose'),
    }
    assert {skip.path: skip.reason for skip in found.skipped} == {
        **dict.fromkeys(['rose/up', 'rose/self'], 'link to a folder around it'),
        **dict.fromkeys(['rose/again', 'rose/more/two/one'], 'folder read already'),
        **dict.fromkeys(['rose/a', 'rose/b'], 'dangling link'),
    }


@pytest.mark.skipif(os.name != 'posix', reason='links as on POSIX')
@pytest.mark.parametrize(
    ('link', 'target'), [('tulip', 'rose'), ('daisy/more', '../rose'), ('daisy/x', '../rose/deep')]
)
def test_a_link_to_the_folder_of_another_class_is_refused(raw, link, target):
    draw(raw / 'rose/deep/a.jpg', seed=9)
    (raw / link).symlink_to(target)
    with pytest.raises(DataError, match='are one folder, by a link.*Fix: remove'):
        find_files(raw)


@pytest.mark.skipif(os.name != 'posix', reason='links as on POSIX')
def test_sets_may_be_links_too(raw, tmp_path):
    (tmp_path / 'linked').mkdir()
    (tmp_path / 'linked/train').symlink_to(raw)
    draw(tmp_path / 'other/rose/a.jpg', seed=9)
    (tmp_path / 'linked/val').symlink_to('../other')
    assert find_files(tmp_path / 'linked').sets == {'training_set', 'val_set'}


@pytest.mark.skipif(os.name != 'posix', reason='links as on POSIX')
def test_a_class_whose_link_leads_nowhere_is_told(raw, tmp_path):
    (raw / 'tulip').symlink_to(tmp_path / 'unplugged/tulip')
    assert find_files(raw).notes == ('tulip was not taken: dangling link',)
    for name in ('daisy', 'rose'):
        (tmp_path / 'other').mkdir(exist_ok=True)
        (tmp_path / 'other' / name).symlink_to(tmp_path / 'unplugged' / name)
    with pytest.raises(DataError, match='lead nowhere: daisy, rose'):
        find_files(tmp_path / 'other')


def test_a_hidden_folder_of_photos_is_told_loudly(raw):
    draw(raw / '..x../a.jpg', seed=9)
    draw(raw / '.git/a.jpg', seed=9)
    (raw / '.git/a.jpg').rename(raw / '.git/HEAD')
    assert find_files(raw).notes == (
        '..x.. was not taken: its name begins with a dot. Fix: if it is a class, rename it',
    )


def test_an_unreadable_folder_is_reported(raw, monkeypatch):
    (raw / 'rose/locked').mkdir()
    real = os.scandir

    def refuse(path):
        if str(path).endswith('locked'):
            raise PermissionError(13, 'Permission denied')
        return real(path)

    monkeypatch.setattr(raw_folder.os, 'scandir', refuse)
    assert skipped(raw) == {'rose/locked': 'unreadable folder'}
    (raw / 'class_locked').mkdir()
    assert [skip.path for skip in find_files(raw).skipped] == ['class_locked', 'rose/locked']
    for name in ('train', 'test'):
        shutil.copytree(raw, raw.parent / 'sets' / name)
    (raw.parent / 'sets/val_locked').mkdir()
    assert skipped(raw.parent / 'sets')['val_locked'] == 'unreadable folder'
    assert 'val_locked was not taken: unreadable folder' in find_files(raw.parent / 'sets').notes


@pytest.mark.skipif(os.name != 'posix', reason='links as on POSIX')
def test_a_file_that_may_not_be_looked_at_is_reported(raw, monkeypatch):
    (raw / 'rose/link.jpg').symlink_to(raw / 'daisy/a.jpg')
    real = raw_folder.Path.stat

    def refuse(self, **options):
        if self.name in ('link.jpg', 'b.jpg'):
            raise PermissionError(13, 'Permission denied')
        return real(self, **options)

    monkeypatch.setattr(raw_folder.Path, 'stat', refuse)
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
        find_files(tmp_path / 'raw')
    assert f'{tmp_path / "raw"}/\n    daisy/' in str(caught.value)


def test_photos_of_one_class_in_place_of_all_are_pointed_out(raw):
    with pytest.raises(DataError, match=f'Files lie directly in it.*give {raw}'):
        find_files(raw / 'rose')


def test_an_archive_folder_too_much_is_pointed_out(tmp_path):
    for name in ('daisy', 'rose'):
        draw(tmp_path / 'archive/flower_photos' / name / 'a.jpg')
    for raw in (tmp_path, tmp_path / 'archive'):
        with pytest.raises(DataError, match='Did you mean .*archive/flower_photos.*Fix: '):
            find_files(raw)


@pytest.mark.skipif(sys.platform != 'linux', reason='names as on Linux')
def test_a_class_name_with_a_backslash_is_refused(raw):
    (raw / 'tu\\lip').mkdir()
    with pytest.raises(DataError, match='backslash'):
        find_files(raw)
