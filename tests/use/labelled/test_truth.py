"""The class of each photo of a folder, what is left out, and what was probably meant."""

import os

import pytest
from PIL import Image

from flowercls.core.errors import DataError
from flowercls.data.prepare.raw.table_columns import ColumnChoice
from flowercls.use.labelled.truth import describe_labelled, find_labelled

CLASSES = ['daisy', 'rosé', 'tulip']


@pytest.fixture
def folder_of(tmp_path):
    """Make a folder with photos at these paths."""

    def make(*paths, name='held'):
        for path in paths:
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (8, 8)).save(tmp_path / name / path)
        return tmp_path / name

    return make


def classes_of(found):
    return {image: CLASSES[label] for image, label in zip(found.photos.images, found.labels, strict=True)}


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('tulip/a.png', 'tulip'),
        ('site 1/tulip/phone/a.png', 'tulip'),
        ('daisy/tulip/a.png', 'tulip'),  # the innermost
        ('rose\N{COMBINING ACUTE ACCENT}/a.png', 'rosé'),  # as macOS may write it
    ],
)
def test_the_innermost_folder_that_is_called_as_a_class_counts(folder_of, name, expected):
    found = find_labelled(folder_of(name, 'daisy/b.png'), CLASSES, 'run')
    assert classes_of(found) == {name: expected, 'daisy/b.png': 'daisy'}
    assert found.left_out == {}


def test_a_photo_counts_whatever_its_file_is_called(folder_of):
    folder = folder_of('tulip/a.png', 'daisy/b.png')
    (folder / 'tulip/a.png').rename(folder / 'tulip/a')
    (folder / 'daisy/b.png').rename(folder / 'daisy/b.jpg!large')
    (folder / 'daisy/notes.txt').write_text('no photo')
    os.mkfifo(folder / 'tulip/pipe')
    (folder / 'tulip/loop').symlink_to('loop')
    (folder / 'tulip/.hidden').write_bytes((folder / 'tulip/a').read_bytes())
    assert classes_of(find_labelled(folder, CLASSES, 'run')) == {'daisy/b.jpg!large': 'daisy', 'tulip/a': 'tulip'}


def test_a_folder_of_one_class_is_that_class(folder_of):
    found = find_labelled(folder_of('a.png', 'phone/b.png', name='tulip'), CLASSES, 'run')
    assert classes_of(found) == {'a.png': 'tulip', 'phone/b.png': 'tulip'}


def test_a_folder_that_is_only_called_as_a_class_is_none_beside_class_folders(folder_of):
    found = find_labelled(folder_of('daisy/a.png', 'zinnia/b.png', 'c.png', name='tulip'), CLASSES, 'run')
    assert classes_of(found) == {'daisy/a.png': 'daisy'}
    assert found.left_out == {'zinnia': 1, '': 1}


@pytest.mark.parametrize(
    ('wrong', 'meant'),
    [
        *(('Daisy', 'daisy'), ('daisies', 'daisy'), ('tulips', 'tulip'), ('01_tulip', 'tulip'), ('rose', 'rosé')),
        *(('Tulip/phone', 'tulip'), ('my tulip photos', 'tulip'), ('tulips_3/zinnia', 'tulip')),
        *(('aster', None), ('unsorted', None), ('1', None), ('tul3/zinnia', None)),
    ],
)
def test_a_near_miss_is_left_out_and_the_class_it_meant_is_named(folder_of, wrong, meant):
    found = find_labelled(folder_of(f'{wrong}/a.png', f'{wrong}/b.png', 'tulip/c.png'), CLASSES, 'run')
    assert classes_of(found) == {'tulip/c.png': 'tulip'}
    assert (found.left_out, found.suggestions) == ({wrong: 2}, {wrong: meant} if meant else {})
    (left_out,) = describe_labelled(found)
    assert '2 of 3 photos' in left_out and f'{wrong} (2' in left_out
    assert ('did you mean' in left_out) == (meant is not None)


def test_the_sets_of_a_prepared_folder_are_no_classes_and_all_are_counted(folder_of):
    folder = folder_of('training_set/tulip/a.png', 'training_set/tulip/b.png', 'val_set/daisy/c.png', 'overview.png')
    (folder / 'classes.txt').write_text('daisy\ntulip\n')
    found = find_labelled(folder, CLASSES, 'run')
    assert len(found.labels) == 3 and found.left_out == {}
    assert '2 training, 1 validation photos, all of them counted' in describe_labelled(found)[0]


def test_without_any_class_both_lists_are_named(folder_of):
    with pytest.raises(DataError) as caught:
        find_labelled(folder_of('aster/a.png', 'Tulip/b.png', 'c.png'), CLASSES, 'work_dirs/mine')
    for words in ('none of its 3 photos', 'work_dirs/mine', 'aster (1)', "Tulip (1, did you mean 'tulip'?)",
                  'photos in no folder (1)', 'daisy, rosé, tulip', 'Fix: '):  # fmt: skip
        assert words in str(caught.value)


def test_of_many_unknown_folders_the_first_are_named(folder_of):
    found = find_labelled(folder_of('tulip/x.png', *(f'{i:02}/x.png' for i in range(12))), CLASSES, 'run')
    text = describe_labelled(found)[0]
    assert '09 (1) and 2 more' in text and '10 (1)' not in text


def test_a_table_says_the_class_whatever_the_folders_are_called(folder_of, tmp_path):
    folder = folder_of('a.png', 'b.png', 'daisy/c.png', 'd.png', 'e.png', 'f.png', 'g.png')
    rows = [
        'file,species,set',
        'a,tulip,',
        'b.png,daisy,train',
        'daisy/c.png,tulip,',
        'd,aster,',
        'e,Tulips,',
        'f,daisy,',
    ]
    (tmp_path / 'labels.csv').write_text('\n'.join([*rows, 'f,tulip,', 'gone,tulip,']))
    found = find_labelled(folder, CLASSES, 'run', tmp_path / 'labels.csv')
    assert classes_of(found) == {'a.png': 'tulip', 'b.png': 'daisy', 'daisy/c.png': 'tulip'}
    assert found.left_out == {'aster': 1, 'Tulips': 1, 'several labels for one photo': 1, 'no row in the table': 1}
    assert found.suggestions == {'Tulips': 'tulip'}
    lines = '\n'.join(describe_labelled(found))
    assert "images from 'file', labels from 'species'" in lines and 'gone' in lines and '4 of 7 photos' in lines


def test_columns_of_a_table_may_be_named(folder_of, tmp_path):
    (tmp_path / 'labels.csv').write_text('x,y,z\ntulip,a.png,daisy\ndaisy,b.png,daisy\n')
    folder = folder_of('a.png', 'b.png')
    for column, expected in (('x', 'tulip'), ('3', 'daisy')):
        found = find_labelled(folder, CLASSES, 'run', tmp_path / 'labels.csv', ColumnChoice('y', column))
        assert classes_of(found) == {'a.png': expected, 'b.png': 'daisy'}


def test_a_table_of_other_classes_is_shown_beside_those_of_the_model(folder_of, tmp_path):
    (tmp_path / 'labels.csv').write_text('file,label\na.png,0\nb.png,1\n')
    with pytest.raises(DataError, match=r'there: 0 \(1\), 1 \(1\)\n.*daisy, rosé, tulip\nFix: correct the table'):
        find_labelled(folder_of('a.png', 'b.png'), CLASSES, 'run', tmp_path / 'labels.csv')
