"""Photos in two sets: each is found once, leaves the right set, and is named with the other photo."""

import pytest

from flowercls.core.errors import DataError
from flowercls.data.prepare.raw.scan import RawPhoto
from flowercls.data.prepare.sets.leaks import LOOK_ALIKE, SAME_FILE, SAME_GROUP, count_leaks, find_leaks, refuse

SETS = {'train': 'training_set', 'val': 'val_set', 'test': 'test_set'}


def photo(path, content=None, group=None):
    set_name = SETS[path.split('/')[0]]
    return RawPhoto(path, 'rose', content or path, 1, (8, 8), 'JPEG', (), (0, 0), set_name, group)


def found(photos, looks=None):
    leaks = find_leaks(photos, range(len(photos)) if looks is None else looks)
    return [(leak.kind, leak.photo.path, leak.other.path) for leak in leaks]


def test_a_photo_leaves_training_before_validation_before_test():
    photos = [
        photo('test/1', 'a'),
        photo('train/1', 'a'),
        photo('train/2', 'b'),
        photo('val/1', 'a'),
        photo('val/2', 'b'),
    ]
    assert found(photos) == [
        (SAME_FILE, 'train/1', 'test/1'),
        (SAME_FILE, 'train/2', 'val/2'),
        (SAME_FILE, 'val/1', 'test/1'),
    ]
    left = {path for _, path, _ in found(photos)}
    assert found([photo for photo in photos if photo.path not in left]) == []


def test_within_one_set_nothing_leaks():
    assert found([photo('train/1', 'a'), photo('train/2', 'a'), photo('val/1')], looks=[0, 0, 2]) == []


def test_looks_and_groups_leak_and_the_strongest_reason_is_told_once():
    photos = [
        photo('test/1', 'a', group='plant 1'),
        photo('train/1', 'a', group='plant 1'),
        photo('train/2', group='plant 1'),
        photo('train/3', group='plant 1'),
        photo('val/1'),
    ]
    assert found(photos, looks=[0, 0, 0, 3, 3]) == [
        (SAME_FILE, 'train/1', 'test/1'),
        (LOOK_ALIKE, 'train/2', 'test/1'),
        (LOOK_ALIKE, 'train/3', 'val/1'),
    ]
    assert found(photos, looks=[0, 1, 2, 3, 4])[1:] == [
        (SAME_GROUP, 'train/2', 'test/1'),
        (SAME_GROUP, 'train/3', 'test/1'),
    ]
    assert 'plant 1' in find_leaks(photos, [0, 1, 2, 3, 4])[1].skipped().detail
    assert count_leaks(find_leaks(photos, [0, 0, 0, 3, 3])) == {SAME_FILE: 1, LOOK_ALIKE: 2, SAME_GROUP: 0}


def test_the_refusal_names_ten_of_each_kind_and_both_ways_out():
    photos = [photo(f'test/{number:02}', f'{number}') for number in range(12)]
    photos += [photo(f'train/{number:02}', f'{number}') for number in range(12)]
    refuse('raw', [], 'look closer')
    with pytest.raises(DataError) as caught:
        refuse('raw', find_leaks(photos, range(24)), 'look closer')
    text = str(caught.value)
    assert 'photos of one set are also in another (12)' in text and f'{SAME_FILE} (12)' in text and 'and 2 more' in text
    assert 'train/09 and test/09' in text and 'train/10' not in text
    assert '--leaks drop' in text and '--leaks allow' in text and 'look closer' not in text
    with pytest.raises(DataError, match='different photos: look closer'):
        refuse('raw', find_leaks([photo('train/1'), photo('val/1')], [0, 0]), 'look closer')
