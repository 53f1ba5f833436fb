"""Photos of one scene that moved a little, were cut by a narrow border, or got a mark laid over them.

Their worst windows are far apart, but their difference hashes hardly change (is a pixel of a tiny picture brighter than
the one before it? Krawetz 2013). Hashes are also nearly equal where many photos have one layout: frames of one camera,
digits, forms. So only a few photos that resemble each other, and no other photo, are taken for one scene.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise

import numpy as np

from flowercls.core.prepared_folder import connected_groups
from flowercls.data.prepare.alike.photo_look import LOOK_PX, MAP_STEPS

# Measured on 2,848 flower photos: all pairs within these bits whose whole pictures differ by at most 0.84 show one
# scene. Drawn flowers of one species, in the middle of plain ground, differ in 5 bits along rows or more.
_MAX_BITS = 4, 10  # along rows, along columns
_WHOLE = 1.4  # root mean square difference of the whole pictures, in limits of the distance
MAX_PHOTOS = 4  # in a group
_HASH_PX = 8
# Photos with two equal bands of six are compared with the next few. Those that resemble more have a common layout.
_NUM_BANDS = 6
_MAX_NEIGHBOURS = 8
_BATCH = 256


def moved_groups(
    looks: Sequence[bytes], photos: np.ndarray, maps_of: Callable[[np.ndarray], np.ndarray], limit: float
) -> list[list[int]]:
    """Return groups of 2 to `MAX_PHOTOS` photos that resemble each other and no other photo.

    Args:
        looks: Of all photos.
        photos: Indices of those that are compared.
        maps_of: Gives the maps of photos, see `flowercls.data.prepare.alike.photo_look.look_maps`.
        limit: Largest distance of two near-duplicates.
    """
    pairs = photos[_hash_neighbours(_hashes([looks[photo] for photo in photos]))]
    is_near = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _BATCH):
        left, right = (maps_of(side) for side in pairs[start : start + _BATCH].T)
        squares = (left.astype(np.float32) - right) ** 2
        is_near[start : start + _BATCH] = squares.sum(1).mean((1, 2)) <= (_WHOLE * limit * MAP_STEPS) ** 2
    rows = [(photo, number) for number, pair in enumerate(pairs[is_near].tolist()) for photo in pair]
    groups = defaultdict(list)
    for photo, group in sorted(connected_groups(rows).items()):
        groups[group].append(photo)
    return [group for group in groups.values() if len(group) <= MAX_PHOTOS]


def _hashes(looks: Sequence[bytes]) -> np.ndarray:
    """Return the difference hashes of N looks, along rows and along columns; shape (2, N), uint64."""
    hashes = np.zeros((2, len(looks)), np.uint64)
    narrow, wide = _shares(_HASH_PX), _shares(_HASH_PX + 1)
    for start in range(0, len(looks), _BATCH):
        pixels = np.frombuffer(b''.join(looks[start : start + _BATCH]), np.uint8).reshape(-1, LOOK_PX, LOOK_PX)
        # Exact: sums of whole numbers below 2 ** 24.
        along, across = (top @ pixels.astype(np.float32) @ side.T for top, side in ((narrow, wide), (wide, narrow)))
        bits = along[:, :, 1:] > along[:, :, :-1], across[:, 1:] > across[:, :-1]
        packed = [np.packbits(each.reshape(len(pixels), -1), axis=1).view(np.uint64)[:, 0] for each in bits]
        hashes[:, start : start + _BATCH] = packed
    return hashes


def _shares(number: int) -> np.ndarray:
    """Return how much of each pixel of a look is in each of ``number`` equal parts, in whole numbers."""
    ends = np.arange(number + 1)[:, None] * LOOK_PX
    pixels = np.arange(LOOK_PX + 1) * number
    overlap = np.minimum(ends[1:], pixels[1:]) - np.maximum(ends[:-1], pixels[:-1])
    return np.maximum(overlap, 0).astype(np.float32)


def _hash_neighbours(hashes: np.ndarray) -> np.ndarray:
    """Return pairs of positions whose hashes are nearly equal, shape (P, 2), sorted; none of photos with many."""
    edges = [_HASH_PX**2 * band // _NUM_BANDS for band in range(_NUM_BANDS + 1)]
    bands = [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]
    found = [np.zeros((0, 2), np.intp)]
    for one, other in combinations(bands, 2):
        for keys in hashes & (one | other):
            order = np.argsort(keys, kind='stable')
            for distance in range(1, min(_MAX_NEIGHBOURS + 1, len(order))):
                left, right = order[:-distance], order[distance:]
                is_near = keys[left] == keys[right]
                for hash_, max_bits in zip(hashes, _MAX_BITS, strict=True):
                    is_near[is_near] = np.bitwise_count(hash_[left[is_near]] ^ hash_[right[is_near]]) <= max_bits
                found.append(np.stack([left[is_near], right[is_near]], axis=1))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    has_few = np.bincount(pairs.ravel(), minlength=hashes.shape[1]) <= _MAX_NEIGHBOURS
    return pairs[has_few[pairs].all(axis=1)]
