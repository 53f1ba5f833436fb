"""The split: exact shares, groups together, nothing but seed and content decides."""

import hashlib
import random
from collections import Counter

import pytest

from flowercls.core.errors import ConfigError
from flowercls.core.layout import TEST_DIR, TRAIN_DIR, VAL_DIR
from flowercls.data.prepare.sets.split import SplitItem, SplitOptions, count_for_share, make_folds, split_photos


def items(groups):
    """Photos from a list of groups, each a string with one letter (the class) a photo."""
    found = []
    for group, letters in enumerate(groups):
        for letter in letters:
            found.append(SplitItem(letter, hashlib.sha256(str(len(found)).encode()).hexdigest(), group))
    return found


def counts(photos, sets):
    return Counter((photo.class_name, name) for photo, name in zip(photos, sets, strict=True))


@pytest.mark.parametrize(
    ('num_photos', 'share', 'expected'),
    [(588, 0.2, 118), (556, 0.2, 111), (2, 0.2, 1), (3, 0.2, 1), (7, 0.2, 1), (8, 0.2, 2), (5, 0.5, 3), (9, 0.0, 0)],
)
def test_a_share_is_rounded_half_up_and_at_least_one(num_photos, share, expected):
    assert count_for_share(num_photos, share) == expected


@pytest.mark.parametrize('size', range(1, 41))
def test_every_class_size_is_split_exactly_and_nothing_is_lost(size):
    photos = items(['a'] * size + ['b'] * 10)
    found = counts(photos, split_photos(photos, SplitOptions(val_ratio=0.2)))
    expected = min(count_for_share(size, 0.2), size - 1)
    assert found['a', VAL_DIR] == expected and found['a', TRAIN_DIR] == size - expected
    assert found['b', VAL_DIR] == 2 and found['b', TRAIN_DIR] == 8


def test_a_test_set_takes_its_share_too():
    photos = items(['a'] * 100 + ['b'] * 3 + ['c'] * 2)
    found = counts(photos, split_photos(photos, SplitOptions(val_ratio=0.2, test_ratio=0.1)))
    assert [found['a', name] for name in (TRAIN_DIR, VAL_DIR, TEST_DIR)] == [70, 20, 10]
    assert [found['b', name] for name in (TRAIN_DIR, VAL_DIR, TEST_DIR)] == [1, 1, 1]
    assert [found['c', name] for name in (TRAIN_DIR, VAL_DIR, TEST_DIR)] == [1, 1, 0]


def test_training_keeps_a_photo_whatever_the_shares():
    photos = items(['a'] * 3)
    assert counts(photos, split_photos(photos, SplitOptions(val_ratio=0.9)))['a', TRAIN_DIR] == 1
    assert counts(photos, split_photos(photos, SplitOptions(val_ratio=0.5, test_ratio=0.45))) == {
        ('a', TRAIN_DIR): 1,
        ('a', VAL_DIR): 1,
        ('a', TEST_DIR): 1,
    }


def test_the_order_of_photos_and_the_numbers_of_groups_do_not_matter():
    photos = items(['a', 'aa', 'ab', 'b', 'bbb', *'aaaabbbbbaaaabbbb'])
    expected = dict(zip(photos, split_photos(photos, SplitOptions(val_ratio=0.3, test_ratio=0.1, seed=5)), strict=True))
    order = list(photos)
    random.Random(0).shuffle(order)
    other = [SplitItem(photo.class_name, photo.sha256, 1000 - photo.group) for photo in order]
    again = split_photos(other, SplitOptions(val_ratio=0.3, test_ratio=0.1, seed=5))
    assert [expected[photo] for photo in order] == again


def test_another_seed_is_another_split_of_the_same_sizes():
    photos = items(['a'] * 50)
    one, other = (split_photos(photos, SplitOptions(val_ratio=0.2, seed=seed)) for seed in (0, 1))
    assert one != other and counts(photos, one) == counts(photos, other)


def test_a_photo_added_later_leaves_most_photos_where_they_were():
    photos = items(['a'] * 201)
    before = split_photos(photos[:200], SplitOptions(val_ratio=0.2))
    after = split_photos(photos, SplitOptions(val_ratio=0.2))[:200]
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= 1


@pytest.mark.parametrize('seed', range(20))
def test_groups_stay_together_and_the_shares_stay_exact(seed):
    rng = random.Random(seed)
    groups = [rng.choice(['a', 'b']) for _ in range(60)]
    groups += [''.join(rng.choices('ab', k=rng.randint(2, 5))) for _ in range(15)]  # some across classes
    photos = items(groups)
    sets = split_photos(photos, SplitOptions(val_ratio=0.2, test_ratio=0.1, seed=seed))
    for group in range(len(groups)):
        assert len({name for photo, name in zip(photos, sets, strict=True) if photo.group == group}) == 1
    found, sizes = counts(photos, sets), Counter(photo.class_name for photo in photos)
    for label in 'ab':
        assert found[label, VAL_DIR] == count_for_share(sizes[label], 0.2)
        assert found[label, TEST_DIR] == count_for_share(sizes[label], 0.1)


def test_groups_are_neither_drawn_to_validation_nor_kept_from_it():
    # 300 pairs among 1,000 photos: a fifth of them belongs to validation, give or take three standard deviations.
    photos = items(['aa'] * 300 + ['a'] * 400)
    sets = split_photos(photos, SplitOptions(val_ratio=0.2))
    pairs = sum(name == VAL_DIR for photo, name in zip(photos, sets, strict=True) if photo.group < 300) / 2
    assert 39 <= pairs <= 81


def test_classes_made_of_groups_only_come_as_close_as_groups_allow():
    photos = items(['aa'] * 5 + ['bbb'] * 5 + ['cccc', 'cc'] + ['ddddd', 'ddddd'])
    found = counts(photos, split_photos(photos, SplitOptions(val_ratio=0.2)))
    assert [found[label, VAL_DIR] for label in 'abcd'] == [2, 3, 2, 5]


def test_a_class_of_one_group_is_all_in_training():
    photos = items(['aaa'] + ['b'] * 5)
    found = counts(photos, split_photos(photos, SplitOptions(val_ratio=0.2)))
    assert found['a', TRAIN_DIR] == 3 and found['b', VAL_DIR] == 1


def test_folds_validate_every_photo_once_with_even_classes_and_whole_groups():
    photos = items(['a', 'b'] * 20 + ['ab'] * 5)
    folds = make_folds(photos, 5)
    assert sorted(set(folds)) == [0, 1, 2, 3, 4]
    for photo, fold in zip(photos, folds, strict=True):
        assert {other for same, other in zip(photos, folds, strict=True) if same.group == photo.group} == {fold}
    spread = Counter((photo.class_name, fold) for photo, fold in zip(photos, folds, strict=True))
    assert all(spread[label, fold] == 5 for label in 'ab' for fold in range(5))


def test_folds_do_not_depend_on_the_order_of_photos():
    photos = items(['a', 'b', 'ab'] * 10)
    expected = dict(zip(photos, make_folds(photos, 3, seed=1), strict=True))
    order = list(reversed(photos))
    assert make_folds(order, 3, seed=1) == [expected[photo] for photo in order]
    assert make_folds(photos, 3, seed=2) != make_folds(photos, 3, seed=1)


def test_more_folds_than_photos_of_a_class_are_refused():
    with pytest.raises(ConfigError, match='folds=3.*b has 2'):
        make_folds(items(['a'] * 5 + ['b', 'bb']), 3)


@pytest.mark.parametrize('classes', ['ab', 'abcd'])
@pytest.mark.parametrize('is_mixed', [False, True])
def test_shares_of_few_large_groups_are_close_to_what_is_possible(classes, is_mixed):
    """30 patients of 1 to 60 photos, each of one class or of all: within 2 points of a fifth, on the average."""
    off = []
    for seed in range(8):
        rng = random.Random(seed)
        labels = [classes[number % len(classes)] for number in range(30)]
        groups = [
            ''.join(rng.choices(classes, k=size)) if is_mixed else label * size
            for label, size in zip(labels, rng.choices(range(1, 61), k=30), strict=True)
        ]
        photos = items(groups)
        found, sizes = counts(photos, split_photos(photos, SplitOptions(seed=seed))), Counter(''.join(groups))
        off += [abs(100 * found[label, VAL_DIR] / sizes[label] - 20) for label in classes]
    assert sum(off) / len(off) < 2 and max(off) < 10
