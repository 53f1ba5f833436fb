"""Names of copies: what augmentation tools, systems and people call them; numbers alone are no copies."""

import pytest

from flowercls.data.prepare.raw.copy_names import find_copies, original_name
from flowercls.data.prepare.raw.raw_folder import RawFile

UUID = '0a1b2c3d-0a1b-4a1b-8a1b-0a1b2c3d4e5f'


@pytest.mark.parametrize(
    'name',
    [
        *('x.jpg', 'x_flip.jpg', 'x_rot90.jpg', 'x - Copy.jpg', 'x copy 2.png', 'x_aug3.png', 'x_crop.jpg'),
        *('x_bright.jpg', 'x_hflip.jpg', 'x_jpg.rf.0a1b2c3d4e5f.jpg', f'rose_original_x.jpg_{UUID}.jpg'),
        *('x - Copy (2).jpg', 'Copy of x.jpg', 'x - Kopie.jpg', 'X_FLIP.JPG', 'x-flipped-horizontally.jpg'),
        *('x_rotated_15.jpg', 'x_rot-12.jpg', 'x_brightness_1.5.jpg', 'x_flip_rot90.jpg', 'x_augmented_12_3.jpg'),
        *('aug_0_x.jpg', 'flipped_x.jpg', 'x_GaussianBlur.jpg', 'x [flip].jpg', 'x_albumentations_3.jpg'),
        *('x_r270.jpg', 'x_zoom_in.jpg', 'x.rf.a1B2c3d4E5.jpg', f'x_{UUID}.png', 'a/b/x_mirror.webp', 'x_75crop.jpg'),
        *('x_horizontal_flip_crop_2.jpg', 'x_grayscale.jpg', 'x_noise10.jpg', 'x_shear_0.2.jpg', 'x_vflip.tif'),
    ],
)
def test_a_version_has_the_name_of_its_original(name):
    assert original_name(name) == 'x'


@pytest.mark.parametrize(
    'name',
    ['img_2024.jpg', '5547758_eea9edfd54_n.jpg', 'frame_000123.png', 'dark.jpg', 'flip.jpg', 'rose_pink.jpg',
     'img_20240501_123456.jpg', 'dsc00012.jpg', 'images (7).jpg', 'crop', 'cat.4567.jpg', 'tumor_left.png'],
)  # fmt: skip
def test_an_ordinary_name_is_its_own(name):
    assert original_name(name) == name.removesuffix('.jpg').removesuffix('.png')


def groups(names, label='a', more=30):
    """The groups of names in a class that has ``more`` other photos."""
    files = [RawFile(f'{label}/{name}.jpg', label) for name in (*names, *(f'other{n}q' for n in range(more)))]
    found = find_copies(files)
    of = {}
    for path, original in found.original_of.items():
        of.setdefault(original, []).append(path.removeprefix(f'{label}/').removesuffix('.jpg'))
    return sorted(map(sorted, of.values())), sorted(found.series)


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['x', 'x_flip', 'y', 'y_flip'], [['x', 'x_flip'], ['y', 'y_flip']]),
        (['x_flip', 'x_rot90'], [['x_flip', 'x_rot90']]),
        (['x', 'x (1)', 'x (2)'], [['x', 'x (1)', 'x (2)']]),
        (['x (1)', 'x (2)'], []),
        (['IMG_12', 'IMG_12_1', 'IMG_12-2', 'IMG_12 3'], [['IMG_12', 'IMG_12 3', 'IMG_12-2', 'IMG_12_1']]),
        (['rose', 'rose_1', 'rose-2'], []),
        (['x', 'x_0_1234', 'x_0_77', 'x_1_99'], [['x', 'x_0_1234', 'x_0_77', 'x_1_99']]),
        (['IMG_20240501_123456', 'IMG_20240501_123459'], []),
        (['IMG_12', 'IMG_12_1', 'IMG_12_1_flip'], [['IMG_12', 'IMG_12_1', 'IMG_12_1_flip']]),
        (['x', 'x_180', '34', '34_180'], [['34', '34_180']]),
        (['flip_1', 'flip_2', 'flip_3'], []),
        (['x'], []),
    ],
)
def test_names_make_groups_where_several_versions_are_there(names, expected):
    assert groups(names) == (sorted(map(sorted, expected)), [])


def test_numbered_photos_are_a_series():
    assert groups(['images'] + [f'images ({n})' for n in range(1, 40)]) == ([], ['a/images'])
    assert groups([f'leaf_crop_{n}' for n in range(40)]) == ([], ['a/leaf'])
    many = [f'{name}_crop_{n}' for name in ('leaf', 'bud', 'stem') for n in range(40)]
    found, series = groups(many)
    assert [len(group) for group in found] == [40] * 3 and series == []


def test_a_class_is_judged_on_its_own():
    files = [
        RawFile(f'{label}/x{end}.jpg', label) for label, end in (('a', ''), ('b', '_flip'), ('c', ''), ('c', '_flip'))
    ]
    assert set(find_copies(files).original_of) == {'c/x.jpg', 'c/x_flip.jpg'}


def test_the_offer_names_an_example_and_the_flag():
    files = [RawFile(f'a/{name}.jpg', 'a') for name in ('x', 'x_flip', 'y', 'z', 'w')]
    (offer,) = find_copies(files).notes(False)
    assert '2 photos' in offer and 'a/x.jpg, a/x_flip.jpg' in offer and '--group-copies' in offer
    (done,) = find_copies(files).notes(True)
    assert 'kept in one set' in done
    assert find_copies(files[2:]).notes(False) == []


def test_one_name_in_two_folders_is_of_two_photos():
    names = [
        'train/1.jpg',
        'train/1_flip.jpg',
        'train/2.jpg',
        'val/1.jpg',
        'val/2.jpg',
        'other/7_flip.jpg',
        'val/7.jpg',
    ]
    names += [f'train/x{number}.jpg' for number in 'abcdefghijkl']
    found = find_copies([RawFile(name, 'rose') for name in names]).original_of
    assert found['train/1.jpg'] == found['train/1_flip.jpg'] and found['other/7_flip.jpg'] == found['val/7.jpg']
    assert set(found) == {'train/1.jpg', 'train/1_flip.jpg', 'other/7_flip.jpg', 'val/7.jpg'}
