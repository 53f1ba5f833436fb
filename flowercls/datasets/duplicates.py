"""Copies among photos: exact ones by their bytes, near ones (saved again, resized, shot in one burst) by how they look.

A copy of a training photo in the validation set makes every accuracy too good; nothing else reveals it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from flowercls.datasets.scan import RawPhoto, Skipped

# Measured on 2,848 flower photos: all 12 pairs that differ in at most 4 of 64 bits along rows are really one scene and
# differ in at most 6 along columns; unrelated pairs that come close along rows differ in 12 or more along columns.
MAX_DISTANCE = 4
MAX_DISTANCE_ACROSS = 10
HASH_BITS = 64
NUM_BANDS = MAX_DISTANCE + 1  # 4 wrong bits cannot touch all of 5 bands: one band of a near pair is always equal


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
    first = list(range(len(hashes)))
    along, across = np.array(hashes, dtype=np.uint64).reshape(-1, 2).T
    for one, other in _near_pairs(along, across):
        a, b = sorted((_root(first, one), _root(first, other)))
        first[b] = a
    return [_root(first, index) for index in range(len(hashes))]


def _root(first: list[int], index: int) -> int:
    while first[index] != index:
        first[index] = first[first[index]]  # shortens the way for the next call
        index = first[index]
    return index


def _near_pairs(along: np.ndarray, across: np.ndarray) -> Iterator[tuple[int, int]]:
    # Photos of one plain colour or one plain gradient all look the same to these hashes: they say nothing about them.
    bits = np.bitwise_count(along)
    telling = np.flatnonzero((bits > MAX_DISTANCE) & (bits < HASH_BITS - MAX_DISTANCE))
    for band in _bands():
        order = telling[np.argsort(along[telling] & band, kind='stable')]
        starts = np.flatnonzero(np.diff(along[order] & band)) + 1
        for bucket in np.split(order, starts):
            yield from _pairs_within(bucket, along, across)


def _bands() -> Iterator[np.uint64]:
    edges = [HASH_BITS * band // NUM_BANDS for band in range(NUM_BANDS + 1)]
    for low, high in zip(edges, edges[1:], strict=False):
        yield np.uint64((1 << high) - (1 << low))


def _pairs_within(bucket: np.ndarray, along: np.ndarray, across: np.ndarray) -> Iterator[tuple[int, int]]:
    for place, one in enumerate(bucket[:-1]):
        others = bucket[place + 1 :]
        near = np.bitwise_count(along[others] ^ along[one]) <= MAX_DISTANCE
        near &= np.bitwise_count(across[others] ^ across[one]) <= MAX_DISTANCE_ACROSS
        for other in others[near]:
            yield int(one), int(other)
