"""Which photos an epoch has, and in which order: a function of (seed, epoch), so it can be asked for any epoch."""

import copy
from collections import Counter

import numpy as np
from mmengine.dist import get_dist_info
from mmpretrain.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from flowercls.data.randomness import ORDER, PASS, SampleKey


@DATA_SAMPLERS.register_module()
class CounterSampler(Sampler):
    """Every photo once an epoch, or every class equally often, in an order that depends on (seed, epoch) only.

    Args:
        dataset: What is sampled from; its length matters, and its labels where ``balanced``.
        seed: The run's seed; the Runner passes its own when the config gives none.
        shuffle: False keeps the order of the dataset; augmentation still follows the counters.
        balanced: An epoch has as many photos as ever, but each class the same share of them, to within one photo.
            Each class goes through its own photos, shuffled anew whenever all were seen: of a large class an epoch
            shows a part and the next goes on from there, of a small one each photo comes several times, each time
            in another view (unless the dataset has a fixed number of ``views``).

    Attributes:
        first: Photos of each process's share that are passed over: those an interrupted epoch has trained on already.
    """

    first = 0

    def __init__(self, dataset, seed: int | None = None, shuffle: bool = True, balanced: bool = False) -> None:
        self.num_photos = len(dataset)
        self.seed = seed or 0
        self.shuffle = shuffle
        self.photos_by_class = _photos_by_class(dataset) if balanced else None
        self.epoch = 0
        self.rank, self.world_size = get_dist_info()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is drawn next, counted from 0."""
        self.epoch = epoch

    def order(self) -> np.ndarray:
        """Photo numbers of this epoch, shape (num_photos,)."""
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
        """Photos of the class ``number`` in all epochs before ``epoch``.

        What an epoch has left over when it is divided by the classes goes to them in turn, across epochs.
        """
        num_classes = len(self.photos_by_class)
        share, left_over = divmod(self.num_photos, num_classes)
        return epoch * share + (epoch * left_over + num_classes - 1 - number) // num_classes

    def _stretch(self, number: int, photos: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Part of the endless row of a class: pass after pass through its photos, each in an order of its own."""
        first, last = start // len(photos), (stop - 1) // len(photos)
        passes = [
            np.random.default_rng([self.seed, PASS, number, i]).permutation(photos) for i in range(first, last + 1)
        ]
        offset = first * len(photos)
        return np.concatenate([photos[:0], *passes])[start - offset : stop - offset]

    def __iter__(self):
        # Every process gets equally many, or they would wait for each other: the first photos are seen twice.
        keys = self.keys()
        for i in range(self.rank, len(self) * self.world_size, self.world_size)[self.first :]:
            yield keys[i % len(keys)]

    def keys(self) -> list[SampleKey]:
        """What this epoch has, of all processes, in its order."""
        keys, times = [], Counter()
        for photo in self.order().tolist():
            keys.append(SampleKey(photo, self.seed, self.epoch, times[photo]))
            times[photo] += 1
        return keys

    def keys_of(self, epoch: int) -> list[SampleKey]:
        """What another epoch has."""
        other = copy.copy(self)
        other.set_epoch(epoch)
        return other.keys()

    def __len__(self) -> int:
        return -(-self.num_photos // self.world_size)


def _photos_by_class(dataset) -> list[np.ndarray]:
    """Numbers of the photos of each class that has any."""
    labels = np.array([int(dataset.get_data_info(i)['gt_label']) for i in range(len(dataset))])
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]
