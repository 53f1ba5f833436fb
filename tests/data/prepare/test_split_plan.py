"""Names in the prepared folder: kept where possible, valid and unique everywhere."""

from flowercls.data.prepare.raw.scan import RawPhoto
from flowercls.data.prepare.split_plan import name_in_class


def raw_photo(path, sha256='ab' * 32):
    return RawPhoto(path, 'rose', sha256, 1, (8, 8), 'JPEG', (), (0, 0))


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
