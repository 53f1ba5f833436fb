"""Order of the photos of an epoch: a function of (seed, epoch), so that it can be computed for any epoch."""

import copy
from collections import Counter
from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_dist_info
from mmpretrain.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from flowercls.data.randomness import CLASS_PASS, ORDER, SampleKey


@DATA_SAMPLERS.register_module()
class CounterSampler(Sampler):
    """Every photo once an epoch, or every class equally often, in an order that depends on (seed, epoch) only.

    Args:
        dataset: Its length matters, and its labels if ``balanced``.
        seed: The run's seed; the Runner passes its own when the config gives none.
        shuffle: False keeps the order of the dataset; augmentation still follows the counters.
        balanced: An epoch has as many photos as without, but the same number of each class, to within one photo.
            A large class shows a part of its photos in an epoch, and the next part in the next. A photo of a small
            class comes several times, each time in another view (unless the dataset has a fixed number of ``views``).
    """

    def __init__(self, dataset, seed: int | None = None, shuffle: bool = True, balanced: bool = False) -> None:
        self.num_photos = len(dataset)
        self.seed = seed or 0
        self.shuffle = shuffle
        self.photos_by_class = _photos_by_class(dataset) if balanced else None
        self.epoch = 0
        self.rank, self.world_size = get_dist_info()
        self._start_index = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is drawn next, counted from 0."""
        self.epoch = epoch

    def start_at(self, index: int) -> None:
        """Skip the first ``index`` photos of each process: an interrupted epoch was trained on them already."""
        self._start_index = index

    def order(self) -> np.ndarray:
        """Return the photo numbers of this epoch, shape (num_photos,)."""
        photos = np.arange(self.num_photos) if self.photos_by_class is None else self._balanced()
        if not self.shuffle:
            return np.sort(photos)
        return np.random.default_rng([self.seed, ORDER, self.epoch]).permutation(photos)

    def _balanced(self) -> np.ndarray:
        parts = []
        for number, photos in enumerate(self.photos_by_class):
            start, stop = self._drawn_before(number, self.epoch), self._drawn_before(number, self.epoch + 1)
            parts.append(self._stretch(number, photos, start, stop))
        return np.concatenate(parts)

    def _drawn_before(self, number: int, epoch: int) -> int:
        """Return how many photos of the class ``number`` all epochs before ``epoch`` have.

        The remainder of an epoch's photos divided by the classes goes to the classes in turn, across epochs.
        """
        num_classes = len(self.photos_by_class)
        share, remainder = divmod(self.num_photos, num_classes)
        return epoch * share + (epoch * remainder + num_classes - 1 - number) // num_classes

    def _stretch(self, number: int, photos: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Return a part of the endless row of a class: pass after pass through its photos, each in its own order."""
        first, last = start // len(photos), (stop - 1) // len(photos)
        passes = [
            np.random.default_rng([self.seed, CLASS_PASS, number, i]).permutation(photos)
            for i in range(first, last + 1)
        ]
        offset = first * len(photos)
        return np.concatenate([photos[:0], *passes])[start - offset : stop - offset]

    def __iter__(self) -> Iterator[SampleKey]:
        # Every process gets equally many, as processes wait for each other: the first photos are seen twice.
        keys = self.keys()
        for i in range(self.rank, len(self) * self.world_size, self.world_size)[self._start_index :]:
            yield keys[i % len(keys)]

    def keys(self) -> list[SampleKey]:
        """Return the samples of this epoch, of all processes, in order."""
        keys, occurrences = [], Counter()
        for photo in self.order().tolist():
            keys.append(SampleKey(photo, self.seed, self.epoch, occurrences[photo]))
            occurrences[photo] += 1
        return keys

    def keys_of(self, epoch: int) -> list[SampleKey]:
        """Return the samples of another epoch."""
        sampler = copy.copy(self)
        sampler.set_epoch(epoch)
        return sampler.keys()

    def __len__(self) -> int:
        return -(-self.num_photos // self.world_size)


def _photos_by_class(dataset) -> list[np.ndarray]:
    """Return the photo numbers of each class that has any."""
    labels = np.array([int(dataset.get_data_info(i)['gt_label']) for i in range(len(dataset))])
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]
