"""Sets are recognised by their names; a doubt is an error that shows a command for each reading."""

import pytest

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.prepare.raw.given_split import set_of
from flowercls.data.prepare.raw.raw_folder import find_files

TRAIN, VAL, TEST = 'training_set', 'val_set', 'test_set'


def write(raw, *folders):
    """Make two photos in each folder (no photo is opened here); a path with a suffix is one file."""
    for folder in folders:
        names = [folder] if '.' in folder.rpartition('/')[2] else [f'{folder}/1.jpg', f'{folder}/2.jpg']
        for name in names:
            (raw / name).parent.mkdir(parents=True, exist_ok=True)
            (raw / name).write_bytes(b'x')
    return raw


def classes_in(*sets, classes=('daisy', 'rose')):
    return [f'{name}/{label}' for name in sets for label in classes]


def sets_of(folder):
    """The set of each folder that holds photos."""
    return {file.path.rpartition('/')[0]: file.set_name for file in folder.files}


@pytest.mark.parametrize(
    ('expected', 'names'),
    [
        (TRAIN, 'train Training TRAIN tr trn trainset train_set seg_train training_data train_aug Train2017 TrainSet'),
        (TRAIN, 'XTrain x_train 01-train trainimages images-train imagesTr trainval train_val Trainingsdaten 训练集'),
        (VAL, 'val valid Validation VALID images_val val2017 dev eval evaluation va ValidationSet 验证'),
        (TEST, 'test testing Testing_Data test1 tst te imagesTs holdout hold-out held_out test-images 测试集'),
        (
            None,
            'daisy station trained pretrain latest contest attest validity train_test_split train_masks test_labels',
        ),
        (None, 'tr_cat evaluated develop teaching'),
    ],
)
def test_the_name_of_a_folder_says_its_set(expected, names):
    assert {name: set_of(name) for name in names.split()} == dict.fromkeys(names.split(), expected)


PLAIN = {  # tree -> set of each top folder
    'other names': (classes_in('Training', 'Testing'), {'Training': TRAIN, 'Testing': TEST}),
    'three sets and readme files': (
        [*classes_in('train', 'valid', 'test'), 'README.roboflow.txt'],
        {'train': TRAIN, 'valid': VAL, 'test': TEST},
    ),
    'several training folders, two tests': (
        classes_in('train', 'train_aug', 'val', 'test1', 'test_hard'),
        {'train': TRAIN, 'train_aug': TRAIN, 'val': VAL, 'test1': TEST, 'test_hard': TEST},
    ),
    'eval beside val tests': (classes_in('train', 'val', 'eval'), {'train': TRAIN, 'val': VAL, 'eval': TEST}),
    'doubled inner folder': (
        [*classes_in('seg_train/seg_train', 'seg_test/seg_test'), 'seg_pred/seg_pred'],
        {'seg_train/seg_train': TRAIN, 'seg_test/seg_test': TEST},
    ),
    'inner and outer copy': (
        classes_in('train', 'train/train', 'val', 'val/val'),
        {'train': TRAIN, 'val': VAL},
    ),
    'doubled archive': (
        [*classes_in(*(f'xray/{up}{name}' for up in ('', 'xray/') for name in ('train', 'val'))), 'xray/__MACOSX/a'],
        {'xray/train': TRAIN, 'xray/val': VAL},
    ),
    'folders around': (classes_in('a/b/train', 'a/b/val'), {'a/b/train': TRAIN, 'a/b/val': VAL}),
    'sets in a set': (
        classes_in('train/train', 'train/val', 'test'),
        {'train/train': TRAIN, 'train/val': VAL, 'test': TEST},
    ),
    'annotations beside': (
        [*classes_in('images/train', 'images/val'), 'labels/train/1.txt', 'images/train/index.csv'],
        {'images/train': TRAIN, 'images/val': VAL},
    ),
    'a test set without labels': ([*classes_in('train'), 'test', 'sample_submission.csv'], {'train': TRAIN}),
    'a test set in one folder': ([*classes_in('train', 'valid'), 'test/unknown'], {'train': TRAIN, 'valid': VAL}),
    'a few stray photos': ([*classes_in('train', 'val'), 'train/preview.jpg'], {'train': TRAIN, 'val': VAL}),
    'classes called as sets': (classes_in('train', 'val', classes=('train', 'plane')), {'train': TRAIN, 'val': VAL}),
    'a test set of one class': ([*classes_in('train'), 'test/rose'], {'train': TRAIN, 'test': TEST}),
}


@pytest.mark.parametrize(('folders', 'expected'), PLAIN.values(), ids=PLAIN)
def test_a_plain_split_is_recognised(tmp_path, folders, expected):
    found = find_files(write(tmp_path, *folders))
    labels = ('plane', 'train') if 'train/train' in folders else ('daisy', 'rose')
    assert found.classes == labels
    assert {path.rpartition('/')[0]: name for path, name in sets_of(found).items()} == expected
    assert found.sets == {*expected.values()}
    told = dict(pair.split(' → ') for pair in found.notes[0].partition(': ')[2].split(', '))
    assert all(path.startswith(tuple(told)) for path in expected) and [*told.values()] == [*expected.values()]
    assert find_files(tmp_path, 'keep') == found
    merged = find_files(tmp_path, 'new')
    assert {*sets_of(merged).values()} == {None} and merged.classes == labels
    assert {file.path for file in merged.files} == {file.path for file in found.files}


def test_photos_without_a_suffix_are_enough(tmp_path):
    for place in classes_in('train', 'test'):
        write(tmp_path, f'{place}/x.x')
        (tmp_path / place / 'x.x').rename(tmp_path / place / 'img_1')
    assert find_files(tmp_path).sets == {TRAIN, TEST}


def test_sets_may_lie_in_the_classes(tmp_path):
    raw = write(tmp_path, 'daisy/train', 'daisy/val', 'rose/train', 'rose/val', 'rose/old')
    found = find_files(raw)
    assert sets_of(found) == {'daisy/train': TRAIN, 'daisy/val': VAL, 'rose/train': TRAIN, 'rose/val': VAL}
    assert found.classes == ('daisy', 'rose') and {file.class_name for file in found.files} == {'daisy', 'rose'}
    assert [(skip.path, skip.reason) for skip in found.skipped] == [('rose/old', 'not a set')]
    assert len(find_files(raw, 'new').files) == 10


def test_what_is_no_set_is_named_with_its_reason(tmp_path):
    raw = write(tmp_path, *classes_in('train', 'val'), 'sample_images', 'masks/a', 'docs/readme.txt', '__MACOSX/a')
    write(raw, 'train/preview.jpg', *classes_in('augmented'), 'test')
    found = find_files(raw)
    reasons = {skip.path: (skip.reason, skip.detail) for skip in found.skipped}
    assert reasons['test'] == ('not a set', 'holds no class folders')
    assert reasons['docs'] == ('not a set', 'holds no photos')
    assert reasons['train/preview.jpg'] == ('not in a class folder', '') and reasons['__MACOSX'][0] == 'system file'


@pytest.mark.parametrize(
    ('folders', 'classes'),
    [
        (['train', 'boat', 'plane'], ('boat', 'plane', 'train')),
        (['test', 'control'], ('control', 'test')),
        (['steam_train', 'crash_test', 'road_test'], ('crash_test', 'road_test', 'steam_train')),
        (['steam_train/old', 'steam_train/new', 'toy_train/red', 'toy_train/blue'], ('steam_train', 'toy_train')),
        (['daisy/phone', 'rose/phone'], ('daisy', 'rose')),
        (['daisy/2019', 'daisy/2020-05-01', 'rose/2019', 'rose/2020-05-01'], ('daisy', 'rose')),
        (['daisy/images', 'daisy/masks', 'rose/images', 'rose/masks'], ('daisy', 'rose')),
        (['dog/beagle', 'dog/poodle', 'cat/persian', 'cat/siamese'], ('cat', 'dog')),
    ],
)
def test_classes_are_not_taken_for_sets(tmp_path, folders, classes):
    raw = write(tmp_path, *folders)
    for split in ('auto', 'new', 'ignore'):
        found = find_files(raw, split)
        assert found.classes == classes and not found.sets and len(found.files) == 2 * len(folders)
    with pytest.raises(ConfigError, match='--split keep, but no name'):
        find_files(raw, 'keep')


UNCLEAR = {  # tree -> classes of each reading: keep (None: the names do not say the sets), new, ignore
    'sites': (classes_in('siteA', 'siteB'), None, ('daisy', 'rose'), ('siteA', 'siteB')),
    'years': (classes_in('2019', '2020', '2021'), None, ('daisy', 'rose'), ('2019', '2020', '2021')),
    'sites that miss a class': (
        [*classes_in('A', 'B'), 'A/tulip'], None, ('daisy', 'rose', 'tulip'), ('A', 'B'),
    ),
    'one folder more inside': (
        classes_in('dslr/images', 'webcam/images'), None, ('daisy', 'rose'), ('dslr', 'webcam'),
    ),
    'two cameras': (
        ['daisy/phone', 'daisy/camera', 'rose/phone', 'rose/camera'], None, ('camera', 'phone'), ('daisy', 'rose'),
    ),
    'a set or a class': (
        ['train/old', 'train/new', 'boat', 'plane'], ('new', 'old'), ('new', 'old'), ('boat', 'plane', 'train'),
    ),
    'classes beside a set of them': (
        ['daisy', 'rose', 'tulip', *classes_in('Test', classes=('daisy', 'rose', 'tulip'))],
        ('daisy', 'rose', 'tulip'), ('daisy', 'rose', 'tulip'), ('Test', 'daisy', 'rose', 'tulip'),
    ),
    'class and set in a name': (
        ['cat_train', 'cat_test', 'dog_train', 'dog_test'],
        ('cat', 'dog'), ('cat', 'dog'), ('cat_test', 'cat_train', 'dog_test', 'dog_train'),
    ),
    'a class without sets': (
        ['daisy/train', 'daisy/val', 'rose/train', 'rose/val', 'tulip'],
        ('daisy', 'rose'), ('daisy', 'rose', 'tulip'), ('daisy', 'rose', 'tulip'),
    ),
    'several data sets': (
        classes_in('A/train', 'A/test', 'B/train', 'B/test'), ('daisy', 'rose'), ('daisy', 'rose'), ('A', 'B'),
    ),
    'a doubled folder beside a test set': (
        [*classes_in('Set A/Set A/train', 'Set A/Set A/val'), 'test/test'],
        ('daisy', 'rose'), ('daisy', 'rose'), ('Set A', 'test'),
    ),
    'a split folder beside another': (
        [*classes_in('all/train', 'all/val'), 'samples'], ('daisy', 'rose'), ('daisy', 'rose'), ('all', 'samples'),
    ),
}  # fmt: skip


@pytest.mark.parametrize(('folders', 'kept', 'merged', 'ignored'), UNCLEAR.values(), ids=UNCLEAR)
def test_a_doubt_shows_a_command_for_each_reading(tmp_path, folders, kept, merged, ignored):
    raw = write(tmp_path, *folders)
    with pytest.raises(DataError, match='Fix: say what they are') as caught:
        find_files(raw, out_dir='my/out')
    for split in ('keep', 'new', 'ignore'):
        assert f' {raw} my/out --split {split}' in str(caught.value)
    assert find_files(raw, 'new').classes == merged and find_files(raw, 'ignore').classes == ignored
    if kept is None:
        with pytest.raises(DataError, match='rename them.* train_'):
            find_files(raw, 'keep')
    else:
        assert find_files(raw, 'keep').classes == kept and find_files(raw, 'keep').sets


@pytest.mark.parametrize(
    'folders',
    [
        ['train', 'test1'],
        ['train', 'test', 'sample'],
        ['images/train', 'images/val'],
        ['dogs/train/train', 'dogs/test/test'],
        ['train/images', 'valid/images'],
    ],
)
def test_sets_without_class_folders_point_to_a_table(tmp_path, folders):
    raw = write(tmp_path / 'raw', *folders)
    with pytest.raises(DataError, match='no class folders.*--labels FILE'):
        find_files(raw)
    write(raw, 'sample_submission.csv', 'train_labels.csv')
    with pytest.raises(DataError, match=f'{raw} OUT --labels {raw}/train_labels.csv'):
        find_files(raw)
    if {*folders} == {'train', 'test1'}:
        assert find_files(raw, 'ignore').classes == tuple(sorted(folders))


def test_photos_beside_a_table_point_to_it_from_every_folder(tmp_path):
    raw = write(tmp_path / 'raw', 'train', 'test', 'labels.csv')
    for place in (raw, raw / 'train', raw / 'test'):
        with pytest.raises(DataError, match=f'{place} OUT --labels {raw}/labels.csv') as caught:
            find_files(place)
        assert f'give {raw}' not in str(caught.value)  # that would lead in a circle


def test_a_table_is_found_beside_the_sets_too(tmp_path):
    raw = write(tmp_path / 'raw', 'data/train', 'data/test', 'data/labels.csv')
    with pytest.raises(DataError, match=f'--labels {raw}/data/labels.csv'):
        find_files(raw)


def test_folders_in_a_class_are_told(tmp_path):
    raw = write(tmp_path, *classes_in('labeled', classes='abc'), 'unlabeled')
    assert find_files(raw).notes == ('folders in a class are taken together: labeled (a, b, c)',)


def test_a_split_without_a_training_set_is_refused(tmp_path):
    with pytest.raises(DataError, match='no training set.*valid → val_set[\\s\\S]*--split new'):
        find_files(write(tmp_path, *classes_in('valid', 'test')))


def test_one_class_may_be_written_in_two_forms_in_two_sets(tmp_path):
    raw = write(tmp_path, 'train/\u00e9t\u00e9', 'train/rose', 'val/e\u0301te\u0301', 'val/rose')
    for split in ('auto', 'new'):
        assert find_files(raw, split).classes == ('rose', '\u00e9t\u00e9')
    write(tmp_path, 'val/Rose')
    with pytest.raises(DataError, match="'Rose' and 'rose' are one name"):
        find_files(raw)


def test_augmented_copies_are_not_proposed_as_a_set(tmp_path):
    raw = write(tmp_path, *classes_in('original', 'augmented'))
    with pytest.raises(DataError, match='copies of the photos in original') as caught:
        find_files(raw, out_dir='out')
    text = str(caught.value)
    assert f'{raw / "original"} out' in text and '--split new --group-copies' in text and 'train_' not in text
