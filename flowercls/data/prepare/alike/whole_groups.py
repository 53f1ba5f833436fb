"""Groups in which every two photos are near each other: complete linkage, a group at a time.

Chains are no groups: of a, b and c, where only b is near both others, c stays out. The first photo left is the leader
of a group. Photos near it join in the order of their distance, each if it is near all that have joined. By the triangle
inequality most of these distances need not be measured.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

_NUM_LEADERS = 128  # are compared with all photos at once
_MAX_UNSURE = 300


class Comparison(Protocol):
    """How N photos are compared, by their indices."""

    def may_be_near(self, leaders: np.ndarray, others: np.ndarray, limit: float) -> np.ndarray:
        """Return what is not ruled out quickly: bool, shape (leaders, others)."""

    def align(self, leader: int, others: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance of each to the leader, float, and the orientation in which it is so near, int.

        Of those beyond the limit the distance may be infinite.
        """

    def distances(self, photo: tuple[int, int], others: np.ndarray, orientations: np.ndarray) -> np.ndarray:
        """Return the distance of each, in its orientation, to a photo and orientation."""


def find_groups(photos: np.ndarray, comparison: Comparison, limit: float) -> Iterator[np.ndarray]:
    """Yield the groups of ``photos``, leader first, also those of one photo.

    Args:
        photos: Indices.
        comparison: Measures distances, which are metric.
        limit: Largest distance of two photos in a group.
    """
    left, is_left = photos, np.ones(photos.max(initial=-1) + 1, bool)
    while left.size:
        leaders = left[:_NUM_LEADERS]
        may_be_near = comparison.may_be_near(leaders, left, limit)
        for leader, mask in zip(leaders, may_be_near, strict=True):
            if is_left[leader]:
                others = left[mask]
                others = others[is_left[others] & (others != leader)]
                members = np.append(leader, _joining(int(leader), others, comparison, limit))
                is_left[members] = False
                yield members
        left = left[is_left[left]]


def _joining(leader: int, others: np.ndarray, comparison: Comparison, limit: float) -> np.ndarray:
    if not others.size:
        return others
    distance, orientation = comparison.align(leader, others, limit)
    order = np.argsort(distance, kind='stable')
    # Photos within half of the limit of the leader are near each other; of many others only the nearest are tried.
    num_sure = np.count_nonzero(distance <= limit / 2)
    order = order[distance[order] <= limit][: num_sure + _MAX_UNSURE]
    others, distance, orientation = others[order], distance[order], orientation[order]
    joined, position = [], 0
    while position < len(others):
        joined.append(others[position])
        # A photo whose way over the leader is short enough is near for sure.
        unsure = position + 1 + np.flatnonzero(distance[position + 1 :] + distance[position] > limit)
        if unsure.size:
            photo = int(others[position]), int(orientation[position])
            is_far = comparison.distances(photo, others[unsure], orientation[unsure]) > limit
            others, distance, orientation = (
                np.delete(values, unsure[is_far]) for values in (others, distance, orientation)
            )
        position += 1
    return np.array(joined, dtype=np.intp)
