"""Features choose the photos that are compared; most of a group must be copies of a photo that joins it."""

import numpy as np
import pytest
from PIL import Image

from flowercls.data.prepare.alike import feature_groups, same_scene
from flowercls.data.prepare.alike.feature_groups import group_by_features
from helpers.odd_photos import scene


def mean_colours(photos):
    """Vectors that hardly change when a photo is turned or cropped: its mean colour, and how it is spread."""
    return np.stack([np.concatenate([photo.mean(axis=(0, 1)) - 100, photo.std(axis=(0, 1))]) for photo in photos])


@pytest.fixture
def grouped(tmp_path):
    """Group photos, ``{path: image}``; returns the groups as lists of paths."""

    def group(photos, first=None, **options):
        for path, image in photos.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            image.save(tmp_path / path) if image else (tmp_path / path).write_bytes(b'damaged')
        paths, options = list(photos), {'max_distance': 2.0, 'workers': 0} | options
        found = group_by_features(tmp_path, paths, first or range(len(paths)), mean_colours, **options)
        assert all(found[index] == index <= position for position, index in enumerate(found))
        return sorted([path for path, of in zip(paths, found, strict=True) if of == index] for index in set(found))

    return group


def test_turned_and_cropped_copies_join_their_photo(grouped):
    photos = {f'a/{seed}.png': scene(seed) for seed in range(4)}
    photos |= {'b/turned.png': scene(2).rotate(12), 'b/cropped.png': scene(2).crop((0, 0, 180, 135))}
    photos['a/none.png'] = None  # cannot be read any more
    assert grouped(photos) == [
        ['a/0.png'], ['a/1.png'], ['a/2.png', 'b/turned.png', 'b/cropped.png'], ['a/3.png'], ['a/none.png'],
    ]  # fmt: skip


def test_groups_that_are_known_stay_and_are_joined_as_a_whole(grouped):
    photos = {'a/0.png': scene(0), 'a/1.png': scene(1), 'a/2.png': scene(2), 'a/3.png': scene(0).rotate(12)}
    # The photos 1 and 2 are one group by their hashes; so are 0 and 3 by their features.
    assert grouped(photos, first=[0, 1, 1, 3]) == [['a/0.png', 'a/3.png'], ['a/1.png', 'a/2.png']]
    assert grouped(photos, first=[0, 0, 2, 3]) == [['a/0.png', 'a/1.png', 'a/3.png'], ['a/2.png']]


def test_photos_beyond_the_distance_are_not_compared(grouped):
    photos = {'a/0.png': scene(0), 'a/1.png': scene(0).rotate(12)}
    assert len(grouped(photos)) == 1 and len(grouped(photos, max_distance=0.0)) == 2


def test_few_photos_are_no_error(grouped):
    assert grouped({'a/0.png': scene(0)}) == [['a/0.png']]
    assert grouped({'a/0.png': None}) == [['a/0.png']]
    assert group_by_features('.', [], [], mean_colours, workers=0) == []


@pytest.mark.parametrize('chunk_values', [1, 100, 8_000_000])
def test_the_nearest_neighbours_are_compared_nearest_first(monkeypatch, chunk_values):
    monkeypatch.setattr(feature_groups, '_CHUNK_VALUES', chunk_values)
    monkeypatch.setattr(feature_groups, 'NUM_NEIGHBOURS', 2)
    features = np.random.default_rng(0).normal(size=(30, 2, 5))
    features = (features / np.linalg.norm(features, axis=2, keepdims=True)).astype(np.float16)
    whole, middle = features.astype(float).swapaxes(0, 1)
    distances = 1 - np.maximum.reduce([whole @ whole.T, middle @ middle.T, whole @ middle.T, middle @ whole.T])
    np.fill_diagonal(distances, np.inf)
    wanted = {
        (min(i, j), max(i, j)) for i in range(30) for j in np.argsort(distances[i])[:2] if distances[i, j] <= 0.25
    }
    pairs = feature_groups._near_pairs(features, 0.25)
    assert set(pairs) == wanted and 10 < len(pairs) == len(wanted) < 60
    assert [distances[pair] for pair in pairs] == pytest.approx(sorted(distances[pair] for pair in pairs), abs=1e-3)


@pytest.mark.parametrize(
    ('copies', 'groups'),
    [
        ('01 12', [0, 0, 0]),  # half of the pairs between {0, 1} and 2
        ('01 12 23', [0, 0, 0, 3]),  # a third of those between {0, 1, 2} and 3
        ('01 12 02 23 13', [0, 0, 0, 0]),
        ('01 23 12', [0, 0, 2, 2]),  # a quarter of those between {0, 1} and {2, 3}
    ],
)
def test_one_copy_in_common_does_not_make_two_groups_one(monkeypatch, copies, groups):
    monkeypatch.setattr(same_scene, 'is_same_scene', lambda left, right: f'{left}{right}' in copies.split())
    pairs = [(int(left), int(right)) for left, right in copies.split()]
    assert feature_groups._join(len(groups), pairs, list(range(len(groups)))) == groups


def test_of_a_large_group_some_are_compared():
    assert list(feature_groups._some_of(list(range(5)))) == [0, 1, 2, 3, 4]
    assert list(feature_groups._some_of(list(range(80)))) == list(range(0, 80, 10))


def test_large_photos_reach_the_network_small(tmp_path):
    scene(0).resize((900, 600)).save(tmp_path / 'a.png')
    seen = []
    group_by_features(tmp_path, ['a.png'], [0], lambda photos: seen.extend(photos) or np.ones((2, 2)), workers=0)
    assert seen[0].shape == (171, 256, 3) and seen[0].dtype == np.uint8
    shrunk = np.asarray(scene(0).resize((256, 171), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(seen[0] - shrunk).mean() < 4
    assert (seen[1] == seen[0][25:146, 38:218]).all()  # the middle
