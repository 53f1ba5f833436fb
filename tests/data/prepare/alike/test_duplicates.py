"""Exact copies are found by content."""

from flowercls.data.prepare.alike.duplicates import find_exact_duplicates
from flowercls.data.prepare.raw.scan import RawPhoto


def photo(path, content):
    return RawPhoto(path, path.split('/')[0], content, 1, (8, 8), 'JPEG', (), b'')


def test_of_equal_photos_in_one_class_the_first_path_is_kept():
    kept, duplicates, conflicts = find_exact_duplicates(
        [photo('rose/a', 'x'), photo('rose/b', 'y'), photo('rose/c', 'x'), photo('rose/d', 'x')]
    )
    assert [photo.path for photo in kept] == ['rose/a', 'rose/b']
    assert [(copy.path, first.path) for copy, first in duplicates] == [('rose/c', 'rose/a'), ('rose/d', 'rose/a')]
    assert conflicts == []


def test_one_photo_in_two_classes_leaves_all_its_copies_out():
    kept, duplicates, conflicts = find_exact_duplicates(
        [photo('daisy/a', 'x'), photo('rose/a', 'x'), photo('rose/b', 'x'), photo('rose/c', 'y')]
    )
    assert [photo.path for photo in kept] == ['rose/c']
    assert duplicates == []
    assert [(skip.path, skip.reason, skip.detail) for skip in conflicts] == [
        ('daisy/a', 'label conflict', 'the same photo as rose/a, rose/b'),
        ('rose/a', 'label conflict', 'the same photo as daisy/a, rose/b'),
        ('rose/b', 'label conflict', 'the same photo as daisy/a, rose/a'),
    ]
