"""Near copies are found by looks, without comparing every pair."""

import io
from itertools import combinations

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from flowercls.data.prepare.alike import near_duplicates
from flowercls.data.prepare.alike.near_duplicates import group_near_duplicates


def flip_bits(value, bits):
    for bit in bits:
        value ^= 1 << int(bit)
    return value


def near_by_brute_force(hashes):
    group = list(range(len(hashes)))
    for a, b in combinations(range(len(hashes)), 2):
        along, across = ((hashes[a][way] ^ hashes[b][way]).bit_count() for way in (0, 1))
        if along <= 4 and across <= 10:
            low, high = sorted((group[a], group[b]))
            group = [low if number == high else number for number in group]
    return group


@pytest.mark.parametrize('seed', range(3))
def test_groups_are_those_that_comparing_every_pair_finds(seed):
    rng = np.random.default_rng(seed)
    hashes = [tuple(int(word) for word in rng.integers(2**60, 2**63, 2)) for _ in range(60)]
    for parent in rng.integers(0, 60, 120):  # children that are 0 to 6 bits away along, 0 to 13 across
        along, across = hashes[parent]
        along = flip_bits(along, rng.choice(64, rng.integers(0, 7), replace=False))
        hashes.append((along, flip_bits(across, rng.choice(64, rng.integers(0, 14), replace=False))))
    expected = near_by_brute_force(hashes)
    assert 60 < len(set(expected)) < 180  # there is something to find, and something not to
    assert group_near_duplicates(hashes) == expected


def test_exactly_four_bits_in_four_bands_are_near_and_five_are_not():
    along = 0x0F0F_0F0F_0F0F_0F0F
    assert group_near_duplicates([(along, 0), (flip_bits(along, [0, 20, 40, 63]), 0)]) == [0, 0]
    assert group_near_duplicates([(along, 0), (flip_bits(along, [0, 14, 27, 40, 63]), 0)]) == [0, 1]
    assert group_near_duplicates([(along, 0), (along, (1 << 10) - 1)]) == [0, 0]
    assert group_near_duplicates([(along, 0), (along, (1 << 11) - 1)]) == [0, 1]


def test_a_chain_of_near_photos_is_one_group():
    along = 0x0F0F_0F0F_0F0F_0F0F
    chain = [(flip_bits(along, range(length)), 0) for length in (8, 0, 4)]
    assert group_near_duplicates(chain) == [0, 0, 0]


def test_plain_pictures_are_not_taken_for_copies_of_each_other():
    # The hashes of plain colours are all zero, those of plain gradients all ones.
    assert group_near_duplicates([(0, 0), (0, 0), (2**64 - 1, 5), (2**64 - 1, 5)]) == [0, 1, 2, 3]
    assert group_near_duplicates([]) == []


@pytest.mark.parametrize('high', [2**63, 2], ids=['unlike photos', 'a fixed camera'])
def test_the_search_does_not_compare_every_pair(monkeypatch, high):
    compared = []
    real = np.bitwise_count
    monkeypatch.setattr(near_duplicates.np, 'bitwise_count', lambda array: compared.append(array.size) or real(array))
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, high, (4000, 2)).tolist()
    group_near_duplicates([(0x0F0F_0F0F_0F0F ^ along, across) for along, across in pairs])
    every_pair = 4000 * 3999 // 2
    assert sum(compared) < every_pair / 100


def saved_again(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', **options)
    return Image.open(buffer)


def hash_pair(image):
    grey = image.convert('L')
    return tuple(int(str(look(grey)), 16) for look in (imagehash.dhash, imagehash.dhash_vertical))


@pytest.mark.parametrize(
    'change',
    [
        lambda image: saved_again(image, quality=40),
        lambda image: image.resize((200, 150)),
        lambda image: image.resize((100, 133)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    ],
    ids=['quality 40', 'smaller', 'squeezed', 'brighter'],
)
def test_a_photo_saved_again_is_a_near_copy(change):
    blocks = np.random.default_rng(1).integers(30, 200, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((320, 240), Image.Resampling.BICUBIC)
    other = Image.fromarray(blocks[::-1]).resize((320, 240), Image.Resampling.BICUBIC)
    assert group_near_duplicates([hash_pair(image), hash_pair(change(image)), hash_pair(other)]) == [0, 0, 2]
