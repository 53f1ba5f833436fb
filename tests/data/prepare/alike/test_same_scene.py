"""Copies of one photo are found, however they were turned or cropped; different photos of one background are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from flowercls.data.prepare.alike import same_scene
from flowercls.data.prepare.alike.same_scene import is_same_scene, sight_of
from helpers.odd_photos import scene


def sight(image):
    return sight_of(np.asarray(image.convert('RGB')))


def saved_again(image):
    image.save(buffer := io.BytesIO(), 'JPEG', quality=40)
    return Image.open(buffer)


COPIES = {
    'itself': lambda image: image,
    'turned by 12 degrees': lambda image: image.rotate(12, Image.Resampling.BICUBIC),
    'turned on white': lambda image: image.rotate(-12, Image.Resampling.BICUBIC, expand=True, fillcolor='white'),
    'a quarter turn': lambda image: image.transpose(Image.Transpose.ROTATE_90),
    'cropped to 75 %': lambda image: image.crop((60, 0, 240, 135)),
    'mirrored': ImageOps.mirror,
    'mirrored and turned': lambda image: ImageOps.mirror(image).rotate(12, Image.Resampling.BICUBIC),
    'a third of the size': lambda image: image.resize((80, 60), Image.Resampling.BOX).resize((240, 180)),
    'three times the size': lambda image: image.resize((720, 540), Image.Resampling.BICUBIC),
    'saved again': saved_again,
    'darker, with less contrast': lambda image: image.point(lambda value: value * 0.6 + 20),
}


@pytest.mark.parametrize('change', COPIES)
def test_a_copy_is_found_from_both_sides(change):
    original, copy = sight(scene(1)), sight(COPIES[change](scene(1)))
    assert is_same_scene(original, copy) and is_same_scene(copy, original)


def test_two_crops_of_one_photo_are_copies_as_far_as_they_overlap():
    left, right, far = (sight(scene(1).crop((x, 0, x + 140, 180))) for x in (0, 60, 100))
    assert is_same_scene(left, right)
    assert not is_same_scene(left, sight(scene(1).crop((130, 0, 240, 180)))) and is_same_scene(right, far)


def test_different_photos_are_no_copies():
    sights = [sight(scene(seed)) for seed in range(6)]
    assert not any(is_same_scene(a, b) for i, a in enumerate(sights) for b in sights[:i])


@pytest.mark.parametrize('side', [30, 60])
def test_frames_of_a_fixed_camera_with_another_object_are_no_copies(side):
    frames = []
    for seed in (5, 6):
        frame = scene(1)
        frame.paste(scene(seed).resize((side, side)), (100, 60))
        frames.append(sight(frame))
    assert same_scene._map_to(*frames) is not None  # the background is the same
    assert not is_same_scene(*frames)


def test_forms_that_are_filled_in_differently_are_no_copies():
    forms = []
    for words in (('Rosa canina', 'Ulm', '17 May'), ('Bellis perennis', 'Kiel', '2 June')):
        form = Image.new('RGB', (240, 180), 'white')
        pen = ImageDraw.Draw(form)
        for row, (title, word) in enumerate(zip(('Species', 'Place', 'Date of the find'), words, strict=True)):
            pen.text((8, 10 + 56 * row), title, 'black')
            pen.rectangle((60, 24 + 56 * row, 230, 54 + 56 * row), outline='black')
            pen.text((66, 28 + 56 * row), word, 'darkblue', font_size=18)
        forms.append(sight(form))
    assert not is_same_scene(*forms)


@pytest.mark.parametrize('shape', [(1, 1, 3), (8, 300, 3), (40, 40, 3)])
def test_pictures_without_points_are_no_copies_and_no_error(shape):
    plain = sight_of(np.full(shape, 90, np.uint8))
    assert plain['num_points'] == 0
    assert not is_same_scene(plain, plain) and not is_same_scene(plain, sight(scene(1)))


def test_a_record_keeps_the_strongest_points_and_a_small_picture():
    record = sight(scene(1))
    assert record.dtype == same_scene.SIGHT and 50 < record['num_points'] <= same_scene.MAX_POINTS
    assert record['patch_size'].tolist() == [48, 64] and record['size'].tolist() == [180, 240]
    small = np.asarray(scene(1).convert('L').resize((64, 48), Image.Resampling.BOX)).astype(int)
    assert np.abs(record['patch'][:48] - small).mean() < 3 and not record['patch'][48:].any()
