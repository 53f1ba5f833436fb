"""Near-duplicates by the features of a network: also turned, cropped and mirrored copies.

The features say which photos to compare. They cannot decide: two photos of one kind of flower are often closer than a
photo and its crop. `same_scene` decides. Of each photo the whole and the middle are looked at: the middle of a photo
looks like its crop, and the middle of a turned copy lies within its frame.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flowercls.core.files import disk_errors
from flowercls.core.workers import map_in_processes, with_progress
from flowercls.data.decode import OWN_ENDS, decode_rgb
from flowercls.data.image_formats import UnreadablePhoto

MAX_FEATURE_DISTANCE = 0.4  # 1 - cosine; nearly all copies are nearer, and a larger distance only costs time
NUM_NEIGHBOURS = 10  # of each photo that are compared with it
MAX_COMPARED = 8  # photos of a group, of a larger one evenly spaced
MIN_SHARE = 0.5  # of the pairs between two groups that are copies, for the groups to be one
_MIDDLE = 0.7  # of both sides
_BATCH_SIZE = 32
_CHUNK_VALUES = 8_000_000  # of the distances in memory at a time

Vectors = Callable[[Sequence[np.ndarray]], np.ndarray]


class _View(NamedTuple):
    """A photo as the network and `same_scene` get it; ``rgb`` is None if it cannot be read any more."""

    index: int
    rgb: np.ndarray | None
    sight: np.ndarray | None


def group_by_features(
    raw_dir: str | os.PathLike,
    paths: Sequence[str],
    first: Sequence[int],
    vectors: Vectors,
    *,
    max_distance: float = MAX_FEATURE_DISTANCE,
    workers: int | None = None,
) -> list[int]:
    """Join groups of near-duplicates whose photos are pictures of one photo.

    Args:
        raw_dir: The raw folder.
        paths: Of N photos, relative to it.
        first: For each photo the index of the first photo of its group, as by their hashes. Only the first photo of
            each group is looked at.
        vectors: Photos, each (H, W, 3) uint8 RGB of at most `SIGHT_PX` a side → their features, shape (n, D), float32.
        max_distance: Largest distance, 1 - cosine of the features, of photos that are compared.
        workers: As in `flowercls.data.prepare.preparation.prepare`.

    Returns:
        As ``first``, for the larger groups.
    """
    looked_at = sorted(set(first))
    with tempfile.TemporaryFile() as file:
        features, sights = _look(Path(raw_dir), [paths[index] for index in looked_at], vectors, file, workers)
        pairs = _near_pairs(features, max_distance)
        joined = _join(len(looked_at), pairs, sights)
    new_first = {index: looked_at[joined[position]] for position, index in enumerate(looked_at)}
    return [new_first[index] for index in first]


def _look(
    raw_dir: Path, paths: list[str], vectors: Vectors, file: tempfile.TemporaryFile, workers: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of N photos and the records of `same_scene`, which lie in ``file``.

    The features are of length 1 and have the shape (N, 2, D), float16: of the whole photos and of their middles.
    """
    from flowercls.data.prepare.alike.same_scene import SIGHT  # imports OpenCV

    look = partial(_look_at, raw_dir)
    items = list(enumerate(paths))
    views = map_in_processes(look, items, workers, on_crash=lambda item: _View(item[0], None, None))
    views = with_progress(views, len(items), 'Looking for copies')
    features = None
    with disk_errors(tempfile.gettempdir()):
        readable = (view for view in views if view.rgb is not None)
        while batch := list(islice(readable, _BATCH_SIZE)):
            photos = [picture for view in batch for picture in (view.rgb, _middle_of(view.rgb))]
            rows = np.asarray(vectors(photos), np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
            if features is None:
                features = np.zeros((len(paths), 2, rows.shape[1]), np.float16)
            features[[view.index for view in batch]] = rows.reshape(len(batch), 2, -1)
            for view in batch:
                file.seek(view.index * SIGHT.itemsize)
                file.write(view.sight.tobytes())
        file.truncate(len(paths) * SIGHT.itemsize)
        file.flush()
    if features is None:
        return np.zeros((0, 2, 1), np.float16), np.zeros(0, SIGHT)
    return features, np.memmap(file, SIGHT, 'r', shape=len(paths))


def _look_at(raw_dir: Path, item: tuple[int, str]) -> _View:
    import cv2

    from flowercls.data.prepare.alike.same_scene import SIGHT_PX, sight_of

    cv2.setNumThreads(1)  # each worker process has one CPU
    index, path = item
    try:
        rgb = decode_rgb(raw_dir / path, value_range=OWN_ENDS)
    except UnreadablePhoto:  # changed since the scan; copying it reports that
        return _View(index, None, None)
    factor = SIGHT_PX / max(rgb.shape)
    if factor < 1:
        height, width = (max(1, round(factor * length)) for length in rgb.shape[:2])
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return _View(index, rgb, sight_of(rgb))


def _middle_of(rgb: np.ndarray) -> np.ndarray:
    top, left = (int(length * (1 - _MIDDLE) / 2) for length in rgb.shape[:2])
    return rgb[top : rgb.shape[0] - top, left : rgb.shape[1] - left]


def _near_pairs(features: np.ndarray, max_distance: float) -> list[tuple[int, int]]:
    """Return the pairs of photos to compare, nearest first: each photo and its nearest neighbours.

    The distance of two photos is the smallest of the four between their whole and their middle.
    """
    number = len(features)
    nearest = min(NUM_NEIGHBOURS, number - 1)
    found: dict[tuple[int, int], float] = {}
    step = max(1, _CHUNK_VALUES // max(number, features[:1].size, 1))
    for start in range(0, number, step) if nearest > 0 else ():
        rows = features[start : start + step].astype(np.float32)
        distances = np.empty((len(rows), number), np.float32)
        for left in range(0, number, step):
            columns = features[left : left + step].astype(np.float32)
            cosines = [rows[:, own] @ columns[:, other].T for own, other in product((0, 1), repeat=2)]
            distances[:, left : left + step] = 1 - np.maximum.reduce(cosines)
        distances[np.arange(len(rows)), start + np.arange(len(rows))] = np.inf
        neighbours = np.argpartition(distances, nearest - 1, axis=1)[:, :nearest]
        for row, columns in enumerate(neighbours.tolist()):
            for column in columns:
                if (distance := float(distances[row, column])) <= max_distance:
                    found[min(start + row, column), max(start + row, column)] = distance
    return sorted(found, key=lambda pair: (found[pair], pair))


def _join(number: int, pairs: list[tuple[int, int]], sights: np.ndarray) -> list[int]:
    """Return for each photo the first of its group.

    Two groups become one if at least `MIN_SHARE` of the pairs between them are copies: one photo that is like both of
    two different photos does not join them.
    """
    from flowercls.data.prepare.alike.same_scene import is_same_scene

    known: dict[tuple[int, int], bool] = {}

    def is_copy(left: int, right: int) -> bool:
        pair = min(left, right), max(left, right)
        if pair not in known:
            known[pair] = is_same_scene(sights[pair[0]], sights[pair[1]])
        return known[pair]

    groups = {index: [index] for index in range(number)}  # the first of each group -> its photos
    first = list(range(number))
    for left, right in with_progress(pairs, len(pairs), 'Comparing photos'):
        low, high = sorted((first[left], first[right]))
        if low == high or not is_copy(left, right):
            continue
        compared = [is_copy(*pair) for pair in product(_some_of(groups[low]), _some_of(groups[high]))]
        if sum(compared) >= MIN_SHARE * len(compared):
            for index in groups[high]:
                first[index] = low
            groups[low] += groups.pop(high)
    return first


def _some_of(group: list[int]) -> Iterator[int]:
    step = max(1, len(group) / MAX_COMPARED)
    return (group[int(position * step)] for position in range(min(len(group), MAX_COMPARED)))
