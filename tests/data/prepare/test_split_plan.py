"""Names and formats in the prepared folder: kept where possible, valid and unique everywhere."""

import pytest

from flowercls.data.prepare.raw.scan import RawPhoto
from flowercls.data.prepare.split_plan import PlannedPhoto, name_in_class, prepared_format, rename_reason


def raw_photo(path, sha256='ab' * 32):
    return RawPhoto(path, 'rose', sha256, 1, (8, 8), 'JPEG', (), b'')


def test_names_are_kept_where_possible_and_mended_where_not():
    def name(path):
        return name_in_class(raw_photo(f'rose/{path}'), set())

    assert name('two  spaces and 猫 🌻.jpg') == 'two  spaces and 猫 🌻.jpg'
    assert name('line\nbreak\r.jpg') == 'line_break_.jpg'
    assert name('back\\slash\u2028.jpg') == 'back_slash_.jpg'
    assert name('latin-\udce9.jpg') == 'latin-_.jpg'
    assert name('cafe\u0301.jpg') == 'caf\u00e9.jpg'
    assert name('deep/er/x.jpg') == 'x.jpg'
    long = name('猫' * 84 + '.jpg')
    assert len(long.encode()) <= 200 and long.endswith('-abababab.jpg') and long.startswith('猫猫')


def test_equal_names_within_a_class_become_different():
    taken = set()
    names = [
        name_in_class(raw_photo(path, sha256), taken)
        for path, sha256 in [('rose/a.jpg', '11' * 32), ('rose/A.JPG', '22' * 32), ('rose/x/a.jpg', '22' * 32)]
    ]
    assert names == ['a.jpg', 'A-22222222.jpg', 'a-2222222222222222.jpg']


@pytest.mark.parametrize(
    ('raw_format', 'is_lossy', 'conversions', 'size', 'expected'),
    [
        ('WEBP', True, (), (8, 8), 'JPEG'),
        ('WEBP', False, (), (8, 8), 'PNG'),
        ('HEIF', True, ('alpha on white',), (8, 8), 'PNG'),
        ('JPEG2000', True, (), (70_000, 8), 'PNG'),  # no JPEG is as wide
        ('JPEG', True, ('CMYK to RGB',), (8, 8), 'JPEG'),
        ('GIF', False, ('palette to RGB',), (8, 8), 'PNG'),
    ],
)
def test_a_photo_that_had_a_loss_becomes_a_jpeg(raw_format, is_lossy, conversions, size, expected):
    photo = RawPhoto('rose/a.HEIC', 'rose', 'ab' * 32, 1, size, raw_format, conversions, (0, 0), is_lossy=is_lossy)
    assert prepared_format(photo) == expected
    assert name_in_class(photo, set()) == {'JPEG': 'a.jpg', 'PNG': 'a.png'}[expected]
    planned = PlannedPhoto(photo, 'val_set', 'val_set/rose/a', None, None)
    changed = () if raw_format == expected else (f'{raw_format} to {expected}',)
    assert planned.converted == (*conversions, *changed)
    assert rename_reason(photo, 'a.jpg') == ('really a JPEG' if raw_format == 'JPEG' else None)


def test_a_photo_directly_in_the_raw_folder_keeps_its_name():
    assert name_in_class(raw_photo('a.jpg'), set()) == 'a.jpg'  # its class is from a table
