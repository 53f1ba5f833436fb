"""Every two photos of a group are near each other; the groups are those of plain loops over all distances."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from flowercls.data.prepare.alike.look_search import LookComparison
from flowercls.data.prepare.alike.photo_look import look_distances, look_maps, photo_look
from flowercls.data.prepare.alike.whole_groups import find_groups
from helpers.odd_photos import textured


def groups_of(looks, limit):
    group = [0] * len(looks)
    for members in find_groups(np.arange(len(looks)), LookComparison(looks), limit):
        for member in members:
            group[member] = int(members[0])
    return group


def greedy_groups(distances, limit):
    group = [None] * len(distances)
    for leader in range(len(distances)):
        if group[leader] is not None:
            continue
        left = [other for other in range(leader, len(distances)) if group[other] is None]
        members = []
        for other in sorted(left, key=lambda other: (distances[leader][other], other)):
            if all(distances[other][member] <= limit for member in [leader, *members]):
                members.append(other)
        for member in members:
            group[member] = leader
    return group


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('limit', [0.25, 0.6])
def test_groups_are_those_that_comparing_every_pair_finds(seed, limit):
    rng = np.random.default_rng(seed)
    looks = []
    for _ in range(120):
        one, other = (textured(number) for number in rng.integers(0, 12, 2))
        share = rng.choice([0, 0.05, 0.1, 0.2, 0.3, 0.5])
        looks.append(photo_look(Image.blend(one, other, share).convert('L')))
    maps = look_maps(looks)
    distances = look_distances(maps, maps)
    expected = greedy_groups(distances.tolist(), limit)
    assert 12 < len(set(expected)) < 110
    found = groups_of(looks, limit)
    assert found == expected
    for one, other in combinations(range(len(looks)), 2):
        assert found[one] != found[other] or distances[one, other] <= limit


class OnALine:
    """Photos that are numbers, and their distance is the difference."""

    def __init__(self, values):
        self.values, self.measured = np.array(values, float), 0

    def may_be_near(self, leaders, others, limit):
        return abs(self.values[leaders][:, None] - self.values[others]) <= limit

    def align(self, leader, others, limit):
        return abs(self.values[leader] - self.values[others]), np.zeros(len(others), int)

    def distances(self, photo, others, orientations):
        self.measured += len(others)
        return abs(self.values[photo[0]] - self.values[others])


@pytest.mark.parametrize(
    ('values', 'groups'),
    [
        ([0, 1, 2, 3], [[0, 1], [2, 3]]),  # a chain
        ([5, 4.4, 5.5, 9], [[0, 2], [1], [3]]),  # the nearest joins first; 4.4 is near 5, but far from 5.5
        ([0, 9, 0.5, 9, -0.5, 0.25], [[0, 5, 2, 4], [1, 3]]),
        ([7], [[0]]),
        ([], []),
    ],
)
def test_photos_join_in_the_order_of_their_distance_if_they_are_near_all_others(values, groups):
    found = find_groups(np.arange(len(values)), OnALine(values), 1.0)
    assert [members.tolist() for members in found] == groups


def test_photos_within_half_of_the_limit_are_not_measured_and_of_many_others_only_the_nearest_join():
    near = OnALine([0] + [0.5] * 1000 + [-0.5] * 1000)
    assert [len(members) for members in find_groups(np.arange(2001), near, 1.0)] == [2001]
    assert near.measured == 0
    far = OnALine([0] + [0.9] * 1000)
    assert [len(members) for members in find_groups(np.arange(1001), far, 1.0)] == [301, 700]
    assert far.measured <= 301**2 / 2
