"""A folder that is not a prepared one is recognised, and the message says which folder is meant."""

import json

import pytest

from flowercls.core.errors import DataError
from flowercls.core.prepared_folder import class_names, has_test_set, manifest_hash, photo_groups, read_annotations


@pytest.fixture
def folder(tmp_path):
    """The lists of a prepared folder without photos."""
    folder = tmp_path / 'flower'
    (folder / 'training_set').mkdir(parents=True)
    for name, text in (('classes.txt', 'rose\n\ntulip\n'), ('train.txt', ''), ('val.txt', '')):
        (folder / name).write_text(text, encoding='utf-8')
    return folder


def test_classes_are_the_lines_of_classes_txt(folder):
    assert class_names(folder) == ['rose', 'tulip']
    assert not has_test_set(folder)
    (folder / 'test.txt').touch()
    assert has_test_set(folder)


@pytest.mark.parametrize(
    ('content', 'problem'),
    [
        (b'', 'is empty'),
        (b'rose\ntulip\nrose\n', 'names rose more than once'),
        ('Märzveilchen\n'.encode('latin-1'), 'cannot be read'),
    ],
)
def test_bad_class_lists_are_refused(folder, content, problem):
    (folder / 'classes.txt').write_bytes(content)
    with pytest.raises(DataError, match=f'classes.txt: {problem}.*Fix: '):
        class_names(folder)


def test_a_missing_list_and_a_missing_folder_are_named(folder):
    (folder / 'val.txt').unlink()
    with pytest.raises(DataError, match=r'not a prepared folder: val\.txt missing.*Fix: .* --overwrite$'):
        class_names(folder)
    with pytest.raises(DataError, match=r'no such folder. Fix: python tools/prepare_data\.py RAW_DIR .*/nowhere$'):
        class_names(folder.with_name('nowhere'))


@pytest.mark.parametrize('part', ['training_set', 'train.txt'])
def test_a_part_of_a_prepared_folder_leads_to_the_whole(folder, part):
    with pytest.raises(DataError, match=f'Fix: data_root={folder}$'):
        class_names(folder / part)


def test_a_raw_folder_is_recognised(tmp_path):
    raw = tmp_path / 'raw'
    (raw / 'rose').mkdir(parents=True)
    (raw / 'rose' / 'a.JPG').touch()
    with pytest.raises(DataError, match='is a raw folder') as caught:
        class_names(raw)
    assert f'python tools/prepare_data.py {raw} {raw}_prepared\nThen set data_root={raw}_prepared' in str(caught.value)


@pytest.mark.parametrize(
    ('line', 'problem'),
    [
        *[(line, 'is not "<class>/<file> <label>"') for line in ('rose/a.jpg', 'rose/a.jpg --1', 'a.jpg 1.0', ' 1')],
        ('rose/a.jpg 5', 'label 5 is outside 0..1'),
        ('rose/a.jpg -1', 'label -1 is outside 0..1'),
        ('../rose/a.jpg 0', 'leads out of the data folder'),
        ('rose/a.jpg 1', 'label 1, which is tulip'),
    ],
)
def test_a_line_that_is_no_photo_and_label_is_refused(folder, line, problem):
    (folder / 'train.txt').write_text(f'tulip/b.jpg 1\n{line}\n')
    with pytest.raises(DataError, match=rf'train\.txt, line 2: .*{problem}.*Fix: '):
        read_annotations(folder / 'train.txt', folder, ['rose', 'tulip'])


def groups_in(folder, rows):
    """Write a manifest, and return the groups of its photos as sets of their names."""
    keys = ('file', 'duplicate_group', 'group')
    images = [dict(zip(keys, row, strict=False)) for row in rows]
    (folder / 'manifest.json').write_text(json.dumps({'images': images}))
    groups = {}
    for file, number in photo_groups(folder, manifest_hash(folder)).items():
        groups.setdefault(number, set()).add(file)
    assert sorted(groups) == list(range(len(groups)))
    return sorted(map(''.join, map(sorted, groups.values())))


@pytest.mark.parametrize(
    ('rows', 'groups'),
    [
        ([('a', None), ('b', None)], ['a', 'b']),
        ([('a', 0), ('b', 1), ('c', 0)], ['ac', 'b']),
        ([('a', None, 'x'), ('b', None, None), ('c', None, 'x')], ['ac', 'b']),
        ([('a', 1, 2), ('b', 2, 1)], ['a', 'b']),  # the numbers of one column are not those of the other
        ([('a', 1), ('b', 1, 'x'), ('c', 2, 'x'), ('d', 2), ('e', 3)], ['abcd', 'e']),
        ([('a', 1), ('b', 2), ('c', 3), ('d', 1, 7), ('e', 2, 7), ('f', 3, 8)], ['abde', 'cf']),
    ],
)
def test_photos_that_share_any_group_are_one(folder, rows, groups):
    assert groups_in(folder, rows) == groups


@pytest.mark.parametrize('text', ['', '3', '{"images": {"a": 1}}', '{"images": [{"file": []}]}', '{"classes": 3}'])
def test_groups_of_a_manifest_that_is_nonsense_are_unknown(folder, text):
    (folder / 'manifest.json').write_text(text)
    with pytest.raises(DataError, match='manifest.json: cannot be read'):
        photo_groups(folder, manifest_hash(folder))


def test_groups_of_another_manifest_or_of_none_are_unknown(folder):
    with pytest.raises(DataError, match='no such file'):
        photo_groups(folder, 'abc')
    (folder / 'manifest.json').write_text('{"images": []}')
    with pytest.raises(DataError, match='has changed'):
        photo_groups(folder, 'abc')
