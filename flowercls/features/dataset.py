"""The photos of a dataset, each as what the frozen part of a network makes of it."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset

from flowercls.data.randomness import SampleKey

Row = tuple[int, int]  # number of a photo, and which of its appearances in an epoch


class KeptFeatures(Dataset):
    """Stands in for an `ImageFolder`, and gives whole batches of features instead of single photos.

    Args:
        photos: The dataset it stands for; names, labels and their order are its own.
        counts_repeats: Whether a photo that appears again in an epoch has features of its own.
    """

    def __init__(self, photos: Any, *, counts_repeats: bool = False) -> None:
        self.photos = photos
        self._counts_repeats = counts_repeats
        self._samples = [_sample(photos.get_data_info(number)) for number in range(len(photos))]

    def row_of(self, key: int) -> Row:
        """What a sampler's key stands for."""
        return int(key), key.repeat if self._counts_repeats and isinstance(key, SampleKey) else 0

    def show(self, features: Tensor, keys: Sequence[int], *, channels_last: bool) -> None:
        """Choose what is given from now on.

        Args:
            features: Shape (rows, ...), possibly a map of a file.
            keys: What each row of it is of.
            channels_last: Whether its rows are images of features with the channels in the last place.
        """
        self._features, self._channels_last = features, channels_last
        self._numbers = {self.row_of(key): number for number, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self.photos)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the photos'."""
        if name == 'photos':  # not there yet, while a copy is made
            raise AttributeError(name)
        return getattr(self.photos, name)

    def __getitems__(self, keys: Sequence[int]) -> dict:
        """A batch: ``inputs``, shape (N, C, H, W) or (N, ...), and ``data_samples`` with labels and paths."""
        rows = torch.tensor([self._numbers[self.row_of(key)] for key in keys])
        inputs = self._features.index_select(0, rows)
        if self._channels_last:
            inputs = inputs.permute(0, 3, 1, 2)
        return {'inputs': inputs, 'data_samples': [self._samples[int(key)].new() for key in keys]}


def as_it_is(batch: dict) -> dict:
    """The ``collate_fn`` for batches that are batches already."""
    return batch


def _sample(info: dict) -> DataSample:
    names = {name: info[name] for name in ('img_path', 'sample_idx') if name in info}
    return DataSample(metainfo=names).set_gt_label(info['gt_label'])
