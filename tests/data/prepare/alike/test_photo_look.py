"""How far two photos are from each other, against values worked out by hand and by plain loops."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import uniform_filter

from flowercls.data.prepare.alike.photo_look import look_distances, look_maps, photo_look, structure_content, turned
from helpers.odd_photos import textured


def look(image):
    return photo_look(image.convert('L'))


def maps_of(*images):
    return look_maps([look(image) for image in images])


def test_structure_is_each_pixel_against_the_seven_by_seven_around_it_and_tone_against_the_whole():
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)
    ((structure, tone),) = look_maps([pixels.tobytes()]) / 24
    grey = pixels.astype(float)
    mean = uniform_filter(grey, 7)
    expected = (grey - mean) / np.sqrt(uniform_filter(grey**2, 7) - mean**2 + 9)
    np.testing.assert_allclose(structure[3:-3, 3:-3], expected[3:-3, 3:-3], atol=0.5 / 24 + 1e-9)
    np.testing.assert_allclose(tone, (grey - grey.mean()) / grey.std(), atol=0.5 / 24 + 1e-9)


def distance_by_loops(maps, others):
    squares = ((maps.astype(float) - others) / 24) ** 2
    windows = [squares[:, y : y + 8, x : x + 8].sum(0).mean() for y in range(0, 25, 4) for x in range(0, 25, 4)]
    return max(*windows, 2 * squares.sum(0).mean()) ** 0.5


def test_the_distance_is_that_of_the_worst_window_or_twice_that_of_the_whole():
    maps = maps_of(*(textured(number) for number in range(6)))
    spot = np.array(maps[0])
    spot[:, 8:12, 8:12] += 20  # 2 x 16 of 2 x 64 values of a window differ by 20 steps of 1/24
    maps = np.stack([*maps, spot])
    expected = [[distance_by_loops(one, other) for other in maps] for one in maps]
    np.testing.assert_allclose(look_distances(maps, maps), expected, rtol=1e-6)
    assert look_distances(maps[:1], maps[-1:])[0, 0] == pytest.approx((2 * 16 * (20 / 24) ** 2 / 64) ** 0.5)


def test_distances_are_sums_of_whole_numbers_so_their_order_does_not_matter():
    maps = np.random.default_rng(0).choice([-127, 127], (2, 2, 32, 32)).astype(np.int8)
    permuted = maps.swapaxes(2, 3)
    assert look_distances(maps, maps).tolist() == look_distances(permuted, permuted).tolist()
    assert look_distances(maps, maps).diagonal().tolist() == [0, 0]


def test_the_eight_orientations_are_those_of_pillow():
    image = textured(3, (32, 32)).convert('L')
    found = {turned(np.asarray(image), number).tobytes() for number in range(8)}
    assert found == {image.tobytes(), *(image.transpose(how).tobytes() for how in Image.Transpose)}


@pytest.mark.parametrize(
    'change',
    [
        lambda image: image.resize((200, 150)),
        lambda image: image.resize((100, 133)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
        lambda image: ImageEnhance.Contrast(image).enhance(1.3),
        lambda image: ImageOps.posterize(image.convert('RGB'), 5),
    ],
    ids=['smaller', 'squeezed', 'brighter', 'contrast', 'fewer levels'],
)
def test_copies_are_near_and_other_photos_far(change):
    image, other = textured(1, (320, 240)), textured(2, (320, 240))
    distances = look_distances(maps_of(image), maps_of(change(image), other))[0]
    assert distances[0] < 0.3 and distances[1] > 1.5


@pytest.mark.parametrize('factor', [2, 3, 10])
def test_a_drawing_of_few_pixels_is_near_its_enlargement(factor):
    sprite = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8))
    larger = sprite.resize((16 * factor, 16 * factor), Image.Resampling.NEAREST)
    assert look_distances(maps_of(sprite), maps_of(larger))[0, 0] < 0.3


def test_plain_pictures_and_gradients_have_no_structure():
    plain = Image.new('L', (64, 64), 90)
    noisy = Image.fromarray(np.random.default_rng(0).normal(90, 5, (256, 256)).astype(np.uint8))
    content = structure_content(maps_of(plain, Image.linear_gradient('L'), noisy, textured(0)))
    assert (content < [0.01, 0.3, 0.5, 9]).all() and content[3] > 0.6
