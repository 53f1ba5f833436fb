"""Photos that look alike are grouped; photos of one layout with different content are not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from flowercls.data.prepare.alike.near_duplicates import (
    NearDuplicateOptions,
    group_near_duplicates,
    large_groups,
    sort_out_near_duplicates,
)
from flowercls.data.prepare.alike.photo_look import photo_look
from flowercls.data.prepare.raw.scan import RawPhoto
from helpers.odd_photos import textured

OPTIONS = NearDuplicateOptions()


def groups_of(images, **options):
    looks = [photo_look(image.convert('L')) for image in images]
    return group_near_duplicates(looks, ['rose'] * len(looks), NearDuplicateOptions(**options))


def mixed(number, other, share):
    """Photo ``number`` with some of another photo in it."""
    return Image.blend(textured(number), textured(other), share)


@pytest.mark.parametrize('size', [(64, 64), (64, 48)])
def test_all_eight_orientations_of_a_photo_are_one_group(size):
    images = []
    for number in range(20):
        image = textured(number, size)
        images += [image, *(image.transpose(how) for how in Image.Transpose)]
    assert groups_of(images) == [8 * (index // 8) for index in range(160)]


def test_a_symmetric_photo_is_found_in_any_orientation():
    half = textured(0, (32, 64))
    image = Image.new('RGB', (64, 64))
    image.paste(half)
    image.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (32, 0))
    assert groups_of([image, textured(5), *(image.transpose(how) for how in Image.Transpose)]) == [0, 1] + [0] * 7


def test_a_chain_is_not_one_group():
    chain = [mixed(start, start + 1, share) for start in range(3) for share in (0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)]
    assert 2 <= np.bincount(groups_of(chain)).max() <= 8  # of 21; whole groups of up to 3, and a few that resemble


def frame(number):
    """A belt under a fixed camera, with another part in each frame."""
    rng = np.random.default_rng(number)
    pixels = rng.normal(92, 6, (240, 320, 3))
    pixels[26:34] = pixels[206:214] = 60
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    x, y, half = (int(value) for value in rng.integers((145, 105, 18), (176, 136, 28)))
    shape = ImageDraw.Draw(image).ellipse if number % 2 else ImageDraw.Draw(image).rectangle
    shape((x - half, y - half, x + half, y + half), tuple(int(value) for value in rng.integers(40, 230, 3)))
    return image


def test_frames_of_one_camera_with_different_things_are_no_copies():
    images = [frame(number) for number in range(60)]
    sizes = np.bincount(groups_of(images))
    assert sizes.max() <= 4 and (sizes > 0).sum() >= 45
    assert groups_of([images[0], images[0].resize((160, 120))]) == [0, 0]


def test_a_photo_that_moved_a_little_is_found_where_nothing_else_resembles_it():
    images = [textured(number, (320, 240)) for number in range(30)]
    cut = [image.crop((5, 4, 315, 236)) for image in images]
    marked = [image.copy() for image in images]
    for image in marked:
        image.paste((255, 255, 255), (250, 215, 320, 240))
    assert groups_of([*images, *cut, *marked]) == [*range(30), *range(30), *range(30)]


def test_plain_pictures_are_not_taken_for_copies_of_each_other():
    plain = [Image.new('L', (64, 64), level) for level in (0, 90, 90, 255)]
    assert groups_of([*plain, Image.linear_gradient('L'), Image.linear_gradient('L')]) == list(range(6))
    assert groups_of([]) == []


def test_thousands_of_equal_looks_take_no_time_and_neither_do_thousands_of_frames_of_one_camera():
    assert groups_of([textured(0)] * 3000) == [0] * 3000
    rng = np.random.default_rng(0)
    base = np.asarray(textured(0).convert('L').resize((32, 32))).astype(int)
    looks = []
    for _ in range(3000):
        pixels = base.copy()
        pixels[12:20, 12:20] = rng.integers(0, 255, (8, 8))
        looks.append(pixels.astype(np.uint8).tobytes())
    assert group_near_duplicates(looks, ['rose'] * 3000, OPTIONS) == list(range(3000))


def test_a_large_group_is_examined_again_at_a_smaller_distance():
    images = [mixed(1, 2, share) for share in [0, 0.25] for _ in range(15)]  # 0.52 apart
    assert groups_of(images[10:20]) == [0] * 10  # 10 photos are not large
    assert groups_of(images) == [0] * 15 + [15] * 15
    assert groups_of(images + [textured(number) for number in range(10, 1510)])[:30] == [0] * 30  # 2 % of 1,530


def test_large_groups_are_above_ten_photos_and_two_percent_of_a_class():
    groups = [0] * 11 + [1] * 10 + [2] * 30 + list(range(100, 1300))
    classes = ['a'] * 11 + ['a'] * 10 + ['b'] * 30 + ['a'] * 5 + ['b'] * 1195
    assert large_groups(groups, classes) == [list(range(21, 51)), list(range(11))]
    assert large_groups(groups, ['a'] * len(groups)) == [list(range(21, 51))]


def photo(path, size=(8, 8), number=0):
    look = photo_look(textured(number).convert('L'))
    return RawPhoto(path, path.split('/')[0], path, 1, size, 'JPEG', (), look)


def test_drop_keeps_the_largest_photo_of_each_group_and_class():
    photos = [photo('a/1'), photo('a/2', (9, 8)), photo('a/3', (9, 8)), photo('a/4', number=4), photo('b/1')]
    kept, groups, skipped = sort_out_near_duplicates(photos, NearDuplicateOptions('drop'))
    assert [photo.path for photo in kept] == ['a/2', 'a/4', 'b/1'] and groups == [0, 3, 0]
    kept, _, _ = sort_out_near_duplicates(photos, NearDuplicateOptions('drop'), ranks={'a/1': 3, 'a/3': 1})
    assert [photo.path for photo in kept] == ['a/1', 'a/4', 'b/1'], 'a test photo stays'
    assert [(skip.path, skip.reason, skip.detail, skip.class_name) for skip in skipped] == [
        ('a/1', 'near-duplicate', 'looks like a/2', 'a'),
        ('a/3', 'near-duplicate', 'looks like a/2', 'a'),
    ]


def test_off_looks_at_nothing():
    photos = [photo('a/1'), photo('a/2')]
    assert sort_out_near_duplicates(photos, NearDuplicateOptions('off')) == (photos, [0, 1], [])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'action': 'keep'}, '--near-duplicates keep: expected group, drop or off'),
        ({'method': 'nets'}, '--near-duplicate-method nets'),
        ({'distance': -0.1}, '--near-duplicate-distance -0.1'),
        ({'distance': 1.1}, '--near-duplicate-distance 1.1'),
        ({'distance': float('nan')}, '--near-duplicate-distance nan'),
        ({'action': 'off', 'distance': 0.3}, '--near-duplicates off'),
        ({'action': 'off', 'method': 'features'}, '--near-duplicates off'),
    ],
)
def test_impossible_options_are_named(options, message):
    (mistake,) = NearDuplicateOptions(**options).mistakes()
    assert message in mistake
    assert NearDuplicateOptions('drop', 'hash', 0.0).mistakes() == []
