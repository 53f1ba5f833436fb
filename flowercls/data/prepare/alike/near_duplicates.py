"""Near-duplicates among photos, by their look: saved again, resized, of one burst."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import numpy as np

# Measured on 2,848 flower photos: all 12 pairs that differ in at most 4 of 64 bits along rows really show one scene and
# differ in at most 6 along columns; unrelated pairs that come close along rows differ in 12 or more along columns.
MAX_DISTANCE = 4
MAX_DISTANCE_ACROSS = 10
HASH_BITS = 64
# 4 wrong bits touch at most 4 of 6 bands, so a near pair has two equal bands. Sorted by these two bands, near photos
# are neighbours, and only neighbours are compared.
NUM_BANDS = MAX_DISTANCE + 2


def group_near_duplicates(hashes: Sequence[tuple[int, int]]) -> list[int]:
    """Group photos that look the same.

    Args:
        hashes: Difference hashes of N photos, along rows and along columns, 64 bits each.

    Returns:
        For each photo the index of the first photo of its group; a photo without near-duplicates has its own index.
        Groups are closed: if a is near b and b near c, all three are one group.
    """
    first = np.arange(len(hashes))
    along, across = np.array(hashes, dtype=np.uint64).reshape(-1, 2).T
    for lefts, rights in _near_pairs(along, across):
        is_new = first[lefts] != first[rights]  # most pairs of a large group are known already
        for left, right in zip(lefts[is_new].tolist(), rights[is_new].tolist(), strict=True):
            low, high = sorted((_root(first, left), _root(first, right)))
            first[high] = low
        while is_new.any() and (first[first] != first).any():
            first[:] = first[first]
    return first.tolist()


def _root(first: np.ndarray, index: int) -> int:
    while first[index] != index:
        index = int(first[index])
    return index


def _near_pairs(along: np.ndarray, across: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all near pairs, many at a time, some more than once."""
    # Photos of one plain colour or gradient have the same hashes whatever they show, so they are not compared.
    num_bits = np.bitwise_count(along)
    compared = np.flatnonzero((num_bits > MAX_DISTANCE) & (num_bits < HASH_BITS - MAX_DISTANCE))
    # Thousands of photos may have the same hashes, as those of a fixed camera; only the first is compared further.
    both = np.stack((along, across), axis=1)[compared]
    _, first_of_same, same = np.unique(both, axis=0, return_index=True, return_inverse=True)
    yield compared[first_of_same[same.ravel()]], compared
    compared = compared[np.sort(first_of_same)]
    edges = [HASH_BITS * band // NUM_BANDS for band in range(NUM_BANDS + 1)]
    bands = [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]
    for band, other_band in combinations(bands, 2):
        keys = along[compared] & (band | other_band)
        order = np.argsort(keys, kind='stable')
        for positions, distance in _equal_neighbours(keys[order]):
            a, b = compared[order[positions]], compared[order[positions + distance]]
            is_near = np.bitwise_count(along[a] ^ along[b]) <= MAX_DISTANCE
            is_near &= np.bitwise_count(across[a] ^ across[b]) <= MAX_DISTANCE_ACROSS
            yield a[is_near], b[is_near]


def _equal_neighbours(keys: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield all pairs of equal keys in a sorted array: (positions, distance), for each distance that occurs."""
    positions, distance = np.arange(len(keys)), 1
    while len(positions := positions[: np.searchsorted(positions, len(keys) - distance)]):
        positions = positions[keys[positions] == keys[positions + distance]]
        yield positions, distance
        distance += 1
