import io
import os
import sys
import unicodedata
from pathlib import Path

import pytest

from flowercls.core.errors import DataError
from flowercls.use.photos import find_photos, spread_over_classes


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make empty files in the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


@pytest.fixture
def type_in(monkeypatch):
    """Put bytes on standard input."""

    def put(content):
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(content)))

    return put


def test_a_folder_gives_all_its_photos_sorted_by_folder_and_name(make):
    make('set/b/2.JPG', 'set/b/10.jpeg', 'set/a-b/1.png', 'set/a/1.webp', 'set/a/deep/er/1.tif', 'set/notes.txt')
    found = find_photos(['set'])
    # As the lists of a prepared folder: by the parts of a path, not by its text, in which a-b comes before a/.
    assert found.images == ['a/1.webp', 'a/deep/er/1.tif', 'a-b/1.png', 'b/10.jpeg', 'b/2.JPG']
    assert [path.as_posix() for path in found.paths] == [f'set/{image}' for image in found.images]


def test_the_order_is_not_that_of_the_file_system(make, monkeypatch):
    make('set/c.jpg', 'set/a.jpg', 'set/b/a.jpg')
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            self.entries = scandir(path)

        def __enter__(self):
            return sorted(self.entries, key=lambda entry: entry.name, reverse=True)

        def __exit__(self, *_):
            self.entries.close()

    monkeypatch.setattr(os, 'scandir', Backwards)
    assert find_photos(['set']).images == ['a.jpg', 'b/a.jpg', 'c.jpg']


def test_files_of_systems_are_left_out_but_not_what_is_named(make):
    make('set/.hidden.jpg', 'set/._a.jpg', 'set/__MACOSX/a.jpg', 'set/.git/a.jpg', 'set/Thumbs.db', 'set/a.jpg')
    assert find_photos(['set']).images == ['a.jpg']
    assert find_photos(['set/.hidden.jpg', 'set/.git']).images == ['set/.hidden.jpg', 'a.jpg']


def test_a_picture_that_prepare_draws_is_no_photo(make):
    make('flower/classes.txt', 'flower/overview.png', 'flower/near_duplicates.png', 'flower/val_set/rose/overview.png')
    assert find_photos(['flower']).images == ['val_set/rose/overview.png']


def test_files_are_named_as_given_whatever_their_ending(make):
    make('b.jpg', 'a.dat', 'odd[1].jpg')
    assert find_photos(['./b.jpg', 'a.dat', 'odd[1].jpg']).images == ['./b.jpg', 'a.dat', 'odd[1].jpg']


def test_a_photo_named_twice_comes_once(make, tmp_path):
    make('set/a.jpg', 'set/b.jpg')
    found = find_photos(['set/b.jpg', './set/../set/b.jpg', tmp_path / 'set/b.jpg', 'set', 'set/*.jpg'])
    assert found.images == ['set/b.jpg', 'a.jpg']


def test_photos_of_one_name_in_two_folders_are_named_with_their_folders(make):
    make('one/a.jpg', 'two/a.jpg', 'two/b.jpg')
    assert find_photos(['one', 'two']).images == ['one/a.jpg', 'two/a.jpg', 'two/b.jpg']


@pytest.mark.parametrize(
    ('pattern', 'images'),
    [
        ('set/*.jpg', ['set/c.jpg']),
        ('set/**/*.jpg', ['set/b/1.jpg', 'set/b/d/2.jpg', 'set/c.jpg']),
        ('set/**', ['set/b/1.jpg', 'set/b/d/2.jpg', 'set/c.jpg']),
        ('set/*', ['1.jpg', 'd/2.jpg', 'set/c.jpg']),
        ('set/[bc].jpg', ['set/c.jpg']),
    ],
)
def test_patterns_are_expanded_where_the_shell_has_not(make, tmp_path, pattern, images):
    make('set/c.jpg', 'set/b/1.jpg', 'set/b/d/2.jpg', 'set/notes.txt')
    assert find_photos([pattern]).images == images
    assert len(find_photos([str(tmp_path / pattern)]).paths) == len(images)


@pytest.mark.parametrize(
    'content', [b'b.jpg\nset\n\ngone.jpg', b'\xef\xbb\xbfb.jpg\r\nset\r\ngone.jpg\r\n', b'b.jpg\0set\0gone.jpg\0']
)
def test_a_list_on_standard_input(make, type_in, content):
    make('b.jpg', 'set/a.jpg', 'set/[x].jpg')
    type_in(content)
    assert find_photos(['-']).images == ['b.jpg', '[x].jpg', 'a.jpg', 'gone.jpg']


def test_links_do_not_lead_in_circles_or_to_a_photo_twice(make, tmp_path):
    make('set/rose/a.jpg', 'elsewhere/b.jpg')
    for link, target in [
        ('up', '.'),
        ('top', '..'),
        ('a_link_first', 'rose'),
        ('itself', 'itself'),
        ('tulip', '../elsewhere'),
    ]:
        (tmp_path / 'set' / link).symlink_to(target)
    (tmp_path / 'set/gone.jpg').symlink_to('nowhere')
    # A dangling link is a photo that cannot be read: reading it says so.
    assert find_photos(['set']).images == ['gone.jpg', 'rose/a.jpg', 'tulip/b.jpg']


def test_a_folder_that_may_not_be_read_is_told(make, monkeypatch):
    make('set/a/1.jpg', 'set/b/1.jpg')
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith('b'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    found = find_photos(['set'])
    assert found.images == ['a/1.jpg']
    assert found.unreadable == [(str(Path('set', 'b')), 'unreadable folder (Permission denied)')]


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['gone.jpg', 'set', 'lost/*.jpg'], r'gone.jpg: No such file.*lost/\*.jpg: no photo matches'),
        (['set/*.txt'], 'no photo matches'),
        (['empty'], 'empty: no photos.*jpg'),
        (['-'], 'standard input: no photos'),
        (['a\0b'], 'no such file'),
        (['x' * 5000], 'x…x+: File name too long'),
    ],
)
def test_nothing_to_predict_is_an_error(make, type_in, arguments, words):
    make('set/a.jpg', 'set/a.txt', 'empty/a.txt')
    type_in(b'\n')
    with pytest.raises(DataError, match=f'{words}.*Fix: '):
        find_photos(arguments)


CLASSES = ['café', 'rose']


@pytest.mark.parametrize(
    ('files', 'arguments', 'labels'),
    [
        (['val/rose/1.jpg', 'val/café/1.jpg'], ['val'], ['café', 'rose']),
        (['val/rose/deep/1.jpg'], ['val'], ['rose']),
        (['rose/1.jpg'], ['rose'], ['rose']),  # as the shell expands val/*
        (['rose/1.jpg'], ['rose/1.jpg'], ['rose']),
        (['flower/val_set/rose/1.jpg'], ['flower'], ['rose']),
    ],
)
def test_labels_are_folders_called_as_classes(make, files, arguments, labels):
    make(*files)
    assert find_photos(arguments).labels(CLASSES) == (labels, [])


def test_a_class_is_known_in_either_form_of_its_letters(make):
    make(f'val/{unicodedata.normalize("NFD", CLASSES[0])}/1.jpg')
    assert find_photos(['val']).labels(CLASSES) == (['café'], [])


def test_without_classes_there_are_no_labels_and_odd_folders_are_told_where_some_are_classes(make):
    make('val/rose/1.jpg', 'val/other/1.jpg', 'val/2.jpg', 'inbox/1.jpg')
    assert find_photos(['val']).labels(CLASSES) == (None, ['val', 'val/other'])
    assert find_photos(['inbox']).labels(CLASSES) == (None, [])
    assert find_photos(['inbox/1.jpg']).labels(['tulip']) == (None, [])


def test_photos_are_spread_over_classes_and_over_each_list():
    photos = [(number, label) for label, size in enumerate((100, 3, 40)) for number in range(size)]
    chosen = spread_over_classes(photos, 33)
    assert [sum(label == each for _, label in chosen) for each in range(3)] == [15, 3, 15]
    assert [number for number, label in chosen if label == 0][:3] == [0, 6, 13]
    assert len(spread_over_classes(photos, 3)) == 3 and len(spread_over_classes(photos, 999)) == 143
