"""Labels from a table: which column, which photo, which class; every row and photo that does not fit is named."""

from dataclasses import asdict

import pytest

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.prepare.raw.label_table import label_files, read_photo_table
from flowercls.data.prepare.raw.table_columns import ColumnChoice

PHOTOS = ['1.jpg', '2.jpg', '3.jpg', '4.jpg']


@pytest.fixture
def labelled(tmp_path):
    """Write photos (empty files, as none is opened) and a table, and read what it says."""

    def read(text, photos=PHOTOS, split='auto', name='labels.csv', **columns):
        for photo in photos:
            path = tmp_path / 'raw' / photo
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / name).write_text(text, encoding='utf-8')
        return label_files(tmp_path / 'raw', tmp_path / name, ColumnChoice(**columns), split)

    return read


def classes(folder):
    return {file.path: file.class_name for file in folder.files}


def reasons(folder):
    return {skip.path: skip.reason for skip in folder.skipped}


A_B = {'1.jpg': 'a', '2.jpg': 'b'}


@pytest.mark.parametrize(
    'table',
    [
        'id,breed\n1,a\n2,b\n',
        'image,label\n1.jpg,a\n2.jpg,b\n',
        '1.jpg,a\n2.jpg,b\n',
        '1,a\n2,b\n',
        '01,a\n02,b\n',
        'a,1.jpg\nb,2.jpg\n',
        'class,image\na,1\nb,2\n',
        ',image,label\n0,1.jpg,a\n1,2.jpg,b\n',
        'Unnamed: 0,file,what\n3,1.jpg,a\n4,2.jpg,b\n',
        'file,what,__index_level_0__\n1.jpg,a,0\n2.jpg,b,1\n',
        'image,width,height,label\n1.jpg,10,1,a\n2.jpg,20,2,b\n',
        'Bild,Art\n1.jpg,a\n2.jpg,b\n',
        'image_id,label_id,label\n1,7,a\n2,8,b\n',
        'image,a,b\n1.jpg,1,0\n2.jpg,0.0,1.0\n',
        'path;label\nraw\\1.jpg;a\n./2.JPG;b\n',
        'image,label\n1.jpg,a \n1.jpg,a\n\n2.jpg, b\n',
    ],
)
def test_columns_are_guessed_where_they_are_obvious(labelled, table):
    folder = labelled(table)
    assert classes(folder) == A_B and folder.classes == ('a', 'b')
    assert reasons(folder) == {'3.jpg': 'no row in the table', '4.jpg': 'no row in the table'}


def test_the_guess_is_told(labelled):
    notes = labelled('id,breed,patient\n1,a,p\n2,b,q\n').notes
    assert notes == ("labels.csv: images from 'id', labels from 'breed', groups from 'patient'",)
    assert 'column 1' in labelled('1.jpg,a\n2.jpg,b\n').notes[0]


@pytest.mark.parametrize(
    ('table', 'message'),
    [
        ('image,colour,size\n1.jpg,red,big\n2.jpg,blue,big\n', "'colour', 'size'.*Fix: --label-column"),
        ('image,label,class\n1.jpg,red,big\n2.jpg,blue,big\n3.jpg,red,small\n', 'Fix: --label-column'),
        ('1.jpg,red,big\n2.jpg,blue,big\n', "by number: '1', '2', '3'"),
        ('u,v\nq,a\nr,b\n', 'Fix: --image-column'),
    ],
)
def test_columns_that_are_not_obvious_are_asked_for_by_name(labelled, table, message):
    with pytest.raises(ConfigError, match=message):
        labelled(table)


def test_the_user_names_columns_by_name_or_number(labelled):
    table = 'image,colour,size,size\n1.jpg,red,big,x\n2.jpg,blue,small,y\n'
    assert classes(labelled(table, label='colour')) == {'1.jpg': 'red', '2.jpg': 'blue'}
    assert classes(labelled(table, label='COLOUR ', image='1')) == {'1.jpg': 'red', '2.jpg': 'blue'}
    assert classes(labelled(table, label='4')) == {'1.jpg': 'x', '2.jpg': 'y'}
    with pytest.raises(ConfigError, match="2 columns are called 'size'.*--label-column 3"):
        labelled(table, label='size')
    with pytest.raises(ConfigError, match="no column 'form'"):
        labelled(table, label='form')


def test_rows_and_photos_that_do_not_fit_are_counted_and_named(labelled):
    table = 'image,label\n1.jpg,a\n2.jpg,b\ngone.jpg,a\n,a\n3.jpg,a\n3.jpg,b\n4.jpg,NaN\n2.jpg,b\nx.jpg,a\n'
    folder = labelled(table, [*PHOTOS, '5.jpg', 'u/x.jpg', 'v/x.jpg', 'readme.txt'])
    assert classes(folder) == A_B
    assert reasons(folder) == {
        '3.jpg': 'several labels for one photo',
        '4.jpg': 'no label in the table',
        '5.jpg': 'no row in the table',
        'readme.txt': 'no row in the table',
        'u/x.jpg': 'several photos of one name',
        'v/x.jpg': 'several photos of one name',
    }
    (detail,) = (skip.detail for skip in folder.skipped if skip.path == '3.jpg')
    assert detail == "'a', 'b' in rows 6 and 7"
    notes = '\n'.join(folder.notes)
    assert 'rows that name no photo of the folder (2): gone.jpg, (empty, row 5)' in notes
    assert 'x.jpg' in notes and 'several rows that say the same (1): 2.jpg' in notes


def test_of_many_only_ten_are_named(labelled):
    table = 'image,label\n1.jpg,a\n2.jpg,b\n' + ''.join(f'gone{n}.jpg,a\n' for n in range(30))
    (note,) = (note for note in labelled(table).notes if 'name no photo' in note)
    assert '(30)' in note and 'gone9.jpg and 20 more' in note and 'gone10' not in note


def test_a_table_in_the_raw_folder_is_no_photo(labelled):
    folder = labelled('image,label\n1.jpg,a\n2.jpg,b\n', ['1.jpg', '2.jpg'], name='raw/labels.csv')
    assert reasons(folder) == {'labels.csv': 'the table of labels'}


def test_a_table_that_lies_in_the_raw_folder_is_named_with_its_path(tmp_path):
    (tmp_path / 'labels.csv').write_text('image,label\n')
    with pytest.raises(DataError, match=f'Fix: --labels {tmp_path}/labels.csv'):
        label_files(tmp_path, 'labels.csv', ColumnChoice())


def test_a_folder_before_all_names_that_is_not_there_is_not_counted(labelled):
    folder = labelled('image,label\nimages/v2/1.jpg,a\nimages/v2/2.jpg,b\n')
    assert classes(folder) == A_B and 'images/v2/ before each name' in folder.notes[-1]
    for other in ('train/', '../'):  # photos of another set may have the same names
        with pytest.raises(DataError):
            labelled(f'image,label\n{other}1.jpg,a\n{other}2.jpg,b\n')
    with pytest.raises(DataError, match='no row names'):
        labelled('image,label\nx/9.jpg,a\n', ['y/9.jpg'])


def test_a_table_that_matches_nothing_shows_both_sides(labelled):
    with pytest.raises(DataError, match='(?s)the table has .p1.jpg.*the folder has .1.jpg.*--image-column'):
        labelled('image,label\np1.jpg,a\np2.jpg,b\n')
    with pytest.raises(DataError, match='every row means several photos'):
        labelled('image,label\nx,a\n', ['u/x.jpg', 'v/x.jpg'])


@pytest.mark.parametrize('name', ['../1.jpg', '/etc/passwd', 'C:\\1.jpg'])
def test_a_row_that_leads_out_of_the_folder_is_refused(labelled, name):
    with pytest.raises(DataError, match='row 3: .* leads out'):
        labelled(f'image,label\n1.jpg,a\n{name},b\n')


@pytest.mark.parametrize(
    ('cells', 'expected'),
    [
        (('0', '1', '1'), ['0', '1']),
        (('0.0', '1.0', '1.0'), ['0', '1']),
        (('01', '1', '1'), ['01', '1']),
        (('True', 'False', 'True'), ['False', 'True']),
        (('1.5', '1.0', '1.5'), ['1.0', '1.5']),
        (('None', 'x', 'x'), ['None', 'x']),
        (('a/b', 'x', 'x'), ['a_b', 'x']),
        (('"a\nb"', '.x', '.x'), ['_x', 'a_b']),
        (('CON', '-', '-'), ['-', 'CON']),
        (('e\u0301', 'x', 'x'), ['x', '\u00e9']),
        (('wild rose', 'red', 'red'), ['red', 'wild rose']),
    ],
)
def test_labels_become_names_of_classes(labelled, cells, expected):
    folder = labelled('image,label\n' + ''.join(f'{n}.jpg,{cell}\n' for n, cell in enumerate(cells, start=1)))
    assert list(folder.classes) == expected


def test_a_label_that_is_changed_is_told(labelled):
    assert "'a/b' is 'a_b'" in labelled('image,label\n1.jpg,a/b\n2.jpg,x\n').notes[-1]


@pytest.mark.parametrize(
    ('cells', 'message'),
    [
        (('..', 'x'), 'cannot be the name of a class'),
        (('/', 'x'), 'cannot be the name of a class'),
        (('y' * 256, 'x'), 'cannot be the name of a class'),
        (('Rose', 'rose'), 'one folder on macOS and Windows'),
        (('a/b', 'a_b'), 'one folder on macOS and Windows'),
        (('a', 'a'), "all 2 photos are 'a'"),
        (('', 'nan'), 'no photo has a class'),
    ],
)
def test_labels_that_make_no_classes_are_refused(labelled, cells, message):
    with pytest.raises(DataError, match=message):
        labelled('image,label\n' + ''.join(f'{n}.jpg,{cell}\n' for n, cell in enumerate(cells, start=1)))


def test_cells_of_several_labels_are_named(labelled):
    table = 'image;labels\n1.jpg;cat\n2.jpg;dog\n3.jpg;cat dog\n4.jpg;dog|bird\n'
    folder = labelled(table)
    assert classes(folder) == {'1.jpg': 'cat', '2.jpg': 'dog'}
    assert set(reasons(folder).values()) == {'several labels for one photo'}
    table = 'image,cat,dog,bird\n1.jpg,1,0,0\n2.jpg,0,1,0\n3.jpg,1,1,0\n4.jpg,0,0,0\n5.jpg,1,0,0\n'
    folder = labelled(table, [*PHOTOS, '5.jpg'])
    assert classes(folder) == {'1.jpg': 'cat', '2.jpg': 'dog', '5.jpg': 'cat'}
    assert reasons(folder) == {'3.jpg': 'several labels for one photo', '4.jpg': 'no label in the table'}


def test_a_column_of_measurements_is_not_taken_for_classes(labelled):
    photos = [f'{n}.jpg' for n in range(40)]
    with pytest.raises(DataError, match='40 different labels.*--label-column'):
        labelled('image,label\n' + ''.join(f'{photo},{n / 7}\n' for n, photo in enumerate(photos)), photos)


SETS = 'image,label,split\n1.jpg,a,train\n2.jpg,b,Train\n3.jpg,a,valid\n4.jpg,b,testing\n'


def test_a_column_of_sets_is_a_split_that_stays(labelled):
    folder = labelled(SETS)
    assert [file.set_name for file in folder.files] == ['training_set', 'training_set', 'val_set', 'test_set']
    assert any('split kept' in note for note in folder.notes)
    for again in (labelled(SETS, set='none'), labelled(SETS, split='new')):
        assert {file.set_name for file in again.files} == {None}


def test_numbers_of_folds_are_no_sets_and_strange_sets_are_named(labelled):
    assert {file.set_name for file in labelled(SETS.replace('train', '1'), label='label').files} == {None}
    with pytest.raises(DataError, match="'elsewhere'"):
        labelled(SETS.replace('testing', 'elsewhere'), set='split')
    with pytest.raises(ConfigError, match='--split keep'):
        labelled('image,label\n1.jpg,a\n2.jpg,b\n', split='keep')
    assert reasons(labelled(SETS.replace('testing', ''), set='split')) == {'4.jpg': 'no set in the table'}


def test_folders_that_are_called_as_sets_are_a_split_too(labelled):
    photos = ['train/1.jpg', 'train/2.jpg', 'val/3.jpg', 'val/4.jpg']
    table = 'image,label\n1,a\n2,b\n3,a\n4,b\n'
    assert [file.set_name for file in labelled(table, photos).files] == ['training_set'] * 2 + ['val_set'] * 2
    assert {file.set_name for file in labelled(table, photos, split='new').files} == {None}


def test_groups_come_from_a_column(labelled):
    table = 'image,label,plant_id\n1.jpg,a,p1\n2.jpg,b,p1\n3.jpg,a,\n4.jpg,b,p2\n'
    assert [file.group for file in labelled(table).files] == ['p1', 'p1', None, 'p2']
    assert {file.group for file in labelled(table, group='none').files} == {None}
    again = labelled(table + '4.jpg,b,p3\n')
    assert reasons(again) == {'4.jpg': 'several groups for one photo'}


def test_photos_lie_at_any_depth_and_links_are_followed(labelled, tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / '2.jpg').touch()
    (tmp_path / 'raw').mkdir()
    (tmp_path / 'raw' / 'link').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'raw' / 'loop').symlink_to(tmp_path / 'raw')
    folder = labelled('image,label\n1,a\n2,b\n', ['deep/er/1.jpg', '.hidden/3.jpg'])
    assert classes(folder) == {'deep/er/1.jpg': 'a', 'link/2.jpg': 'b'}
    assert set(reasons(folder)) == {'.hidden', 'loop'}


def test_a_list_of_files_is_matched_without_a_raw_folder(tmp_path):
    (tmp_path / 'groups.csv').write_text('image,group\na,1\nb,1\n')
    table = read_photo_table(tmp_path / 'groups.csv', ['a.jpg', 'x/b.png'], tmp_path, labels=False)
    assert {path: row.group for path, row in table.rows.items()} == {'a.jpg': '1', 'x/b.png': '1'}
    assert asdict(table.columns)['labels'] == ()


def test_a_text_that_means_no_label_is_named(labelled):
    folder = labelled('image,label\n1,a\n2,NA\n3,b\n4,\n')
    assert set(classes(folder)) == {'1.jpg', '3.jpg'} and any("'NA' (1)" in note for note in folder.notes)


def test_a_class_without_a_photo_is_named(labelled):
    folder = labelled('image,label\n1,a\n2,b\n3,tulip\n3,a\ngone,aster\n4,a b\n')
    (note,) = [note for note in folder.notes if 'no photo is left of' in note]
    assert note.endswith(': aster, tulip')


@pytest.mark.parametrize(
    ('column', 'cells', 'expected'),
    [
        ('is_valid', ('False', 'False', 'True', 'True'), ['training_set'] * 2 + ['val_set'] * 2),
        ('is_test', ('0', '0', '1', '1'), ['training_set'] * 2 + ['test_set'] * 2),
        ('is_train', ('1', '1', '0', '0'), ['training_set'] * 2 + ['val_set'] * 2),
    ],
)
def test_a_column_that_asks_for_one_set_is_a_split(labelled, column, cells, expected):
    rows = [f'{number}.jpg,{"ab"[number % 2]},{cell}\n' for number, cell in enumerate(cells, start=1)]
    folder = labelled(f'image,label,{column}\n' + ''.join(rows))
    assert [file.set_name for file in folder.files] == expected


def test_a_column_that_may_say_the_sets_and_is_not_used_is_named(labelled):
    folder = labelled('image,label,fold\n1.jpg,a,0\n2.jpg,b,1\n3.jpg,a,2\n4.jpg,b,0\n')
    assert {file.set_name for file in folder.files} == {None}
    assert any("'fold' may say the sets" in note for note in folder.notes)
