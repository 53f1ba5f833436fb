"""Names in a table → files: suffix, folders, case, slashes, zeros, accents; nothing outside the folder."""

import unicodedata
from pathlib import Path

import pytest

from flowercls.data.prepare.raw.photo_names import PhotoNames

FILES = ['000bec18.jpg', 'a/b/IMG_1.JPG', 'a/007.png', 'a/x.jpg', 'b/x.jpg', 'y.v2.jpg', 'Ärger.jpg', 'w.jpg', 'w.png']
FOLDER = Path('/photos/raw')


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('000bec18.jpg', ['000bec18.jpg']),
        ('000bec18', ['000bec18.jpg']),
        ('000BEC18.JPG', ['000bec18.jpg']),
        ('./000bec18.jpg', ['000bec18.jpg']),
        ('raw/000bec18.jpg', ['000bec18.jpg']),
        ('photos\\raw\\000bec18.jpg', ['000bec18.jpg']),
        ('/photos/raw/000bec18.jpg', ['000bec18.jpg']),
        ('a/../000bec18', ['000bec18.jpg']),
        ('0bec18', []),
        ('a/b/IMG_1.jpg', ['a/b/IMG_1.JPG']),
        ('a\\b\\img_1', ['a/b/IMG_1.JPG']),
        ('IMG_1', ['a/b/IMG_1.JPG']),
        ('b/IMG_1', ['a/b/IMG_1.JPG']),
        ('c/IMG_1', []),
        ('G_1', []),
        ('7', ['a/007.png']),
        ('7.0', ['a/007.png']),
        ('a/7', ['a/007.png']),
        ('b/7', []),
        ('70', []),
        ('x.jpg', ['a/x.jpg', 'b/x.jpg']),
        ('a/x', ['a/x.jpg']),
        ('y.v2', ['y.v2.jpg']),
        ('y', []),
        (unicodedata.normalize('NFD', 'Ärger'), ['Ärger.jpg']),
        ('w.jpg', ['w.jpg']),
        ('w', ['w.jpg', 'w.png']),
        ('000bec18.tif', ['000bec18.jpg']),
        ('', []),
        ('.', []),
        ('..', []),
    ],
)
def test_a_name_means_the_file_of_the_closest_spelling(name, expected):
    assert PhotoNames(FILES, FOLDER).find(name) == expected


def test_a_number_counts_only_on_request_and_only_where_one_photo_has_it():
    names = PhotoNames(['007.jpg', '08.jpg', '8.png', '0.jpg'], FOLDER)
    assert names.find('7', by_number=False) == [] and names.find('7') == ['007.jpg']
    assert names.find('8') == ['8.png'] and names.find('008') == ['08.jpg', '8.png'] and names.find('00') == ['0.jpg']


@pytest.mark.parametrize(
    'name',
    ['../x.jpg', '..', '/etc/passwd', 'C:\\x.jpg', 'c:/x.jpg', '\\\\server\\x.jpg', 'a/../../x.jpg', '..\\x.jpg',
     '/photos/raw2/x.jpg', '/photos/raw/../x.jpg', '//x.jpg'],
)  # fmt: skip
def test_a_path_out_of_the_folder_is_told(name):
    names = PhotoNames(FILES, FOLDER)
    assert names.leads_out(name) and names.find(name) == []


def test_files_with_strange_names_are_no_paths_out():
    strange = ['a\\b.jpg', '..x.jpg', 'C:x.jpg']
    names = PhotoNames(strange, FOLDER)
    assert [names.find(name) for name in strange] == [[name] for name in strange]
    assert not any(map(names.leads_out, strange))
