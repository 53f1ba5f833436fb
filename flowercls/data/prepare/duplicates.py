"""Copies among photos: exact ones by their bytes, near ones (saved again, resized, shot in one burst) by how they look.

A copy of a training photo in the validation set makes every accuracy too good; nothing else reveals it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from flowercls.data.prepare.scan import RawPhoto, Skipped

# Measured on 2,848 flower photos: all 12 pairs that differ in at most 4 of 64 bits along rows are really one scene and
# differ in at most 6 along columns; unrelated pairs that come close along rows differ in 12 or more along columns.
MAX_DISTANCE = 4
MAX_DISTANCE_ACROSS = 10
HASH_BITS = 64
# 4 wrong bits cannot touch more than 4 of 6 bands, so a near pair has two bands that are equal. Sorted by these two it
# stands side by side with few others, and only those are compared.
NUM_BANDS = MAX_DISTANCE + 2


@dataclass(frozen=True)
class ExactCopies:
    """Photos sorted by their bytes.

    Attributes:
        kept: One photo for each content, the first by path.
        duplicates: (left out, kept instead of it), both of one class.
        conflicts: All photos of which the same bytes lie in two classes, so that one label must be wrong.
    """

    kept: tuple[RawPhoto, ...]
    duplicates: tuple[tuple[RawPhoto, RawPhoto], ...]
    conflicts: tuple[Skipped, ...]


def set_copies_aside(photos: Sequence[RawPhoto]) -> ExactCopies:
    """Keep one photo for each content, none where its class is in doubt; ``photos`` is sorted by path."""
    by_content = defaultdict(list)
    for photo in photos:
        by_content[photo.sha256].append(photo)
    kept, duplicates, conflicts = [], [], []
    for photo in photos:
        same = by_content[photo.sha256]
        if len({copy.class_name for copy in same}) > 1:
            others = ', '.join(copy.path for copy in same if copy is not photo)
            conflicts.append(Skipped(photo.path, 'label conflict', f'the same photo as {others}'))
        elif photo is same[0]:
            kept.append(photo)
        else:
            duplicates.append((photo, same[0]))
    return ExactCopies(tuple(kept), tuple(duplicates), tuple(conflicts))


def group_near_copies(hashes: Sequence[tuple[int, int]]) -> list[int]:
    """Group photos that look the same.

    Args:
        hashes: Difference hashes of N photos, along rows and along columns, 64 bits each.

    Returns:
        For each photo the index of the first photo of its group; a photo without near copies has its own index.
        Groups are closed: if a is near b and b near c, all three are one group.
    """
    first = np.arange(len(hashes))
    along, across = np.array(hashes, dtype=np.uint64).reshape(-1, 2).T
    for ones, others in _near_pairs(along, across):
        apart = first[ones] != first[others]  # of very many alike, most pairs say nothing new
        for one, other in zip(ones[apart].tolist(), others[apart].tolist(), strict=True):
            a, b = sorted((_root(first, one), _root(first, other)))
            first[b] = a
        if apart.any():
            _point_to_roots(first)
    return first.tolist()


def _root(first: np.ndarray, index: int) -> int:
    while first[index] != index:
        index = int(first[index])
    return index


def _point_to_roots(first: np.ndarray) -> None:
    while (first[first] != first).any():
        first[:] = first[first]


def _near_pairs(along: np.ndarray, across: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All near pairs, many at a time, some more than once."""
    # Photos of one plain colour or one plain gradient all look the same to these hashes: they say nothing about them.
    bits = np.bitwise_count(along)
    telling = np.flatnonzero((bits > MAX_DISTANCE) & (bits < HASH_BITS - MAX_DISTANCE))
    for one, other in combinations(_bands(), 2):
        keys = along[telling] & (one | other)
        order = np.argsort(keys, kind='stable')
        for places, distance in _equal_neighbours(keys[order]):
            a, b = telling[order[places]], telling[order[places + distance]]
            near = np.bitwise_count(along[a] ^ along[b]) <= MAX_DISTANCE
            near &= np.bitwise_count(across[a] ^ across[b]) <= MAX_DISTANCE_ACROSS
            yield a[near], b[near]


def _bands() -> Iterator[np.uint64]:
    edges = [HASH_BITS * band // NUM_BANDS for band in range(NUM_BANDS + 1)]
    for low, high in zip(edges, edges[1:], strict=False):
        yield np.uint64((1 << high) - (1 << low))


def _equal_neighbours(keys: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """All pairs of equal keys in a sorted array: (places, distance), for each distance that has some."""
    places, distance = np.arange(len(keys)), 1
    while len(places := places[: np.searchsorted(places, len(keys) - distance)]):
        places = places[keys[places] == keys[places + distance]]
        yield places, distance
        distance += 1
