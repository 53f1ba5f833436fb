"""Datasets and loaders that give cached features in place of photos."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from flowercls.data.randomness import SampleKey


class FeatureDataset(Dataset):
    """Stands in for an `ImageFolder`, and gives whole batches of features instead of single photos.

    Args:
        photos: The dataset it stands for; names, labels and their order are those of the photos.
        counts_repeats: Whether a photo that appears again in an epoch has features for each appearance.
    """

    def __init__(self, photos: Any, *, counts_repeats: bool = False) -> None:
        self.photos = photos
        self._counts_repeats = counts_repeats
        self._samples = []
        for index in range(len(photos)):
            info = photos.get_data_info(index)
            names = {name: info[name] for name in ('img_path', 'sample_idx') if name in info}
            self._samples.append(DataSample(metainfo=names).set_gt_label(info['gt_label']))

    def show(self, features: Tensor, keys: Sequence[int], *, channels_last: bool) -> None:
        """Choose the features that batches are made of from now on.

        Args:
            features: Shape (rows, ...), possibly a memory map.
            keys: The sample key of each row.
            channels_last: Whether a row is a feature map with its channels in the last dimension.
        """
        self._features, self._channels_last = features, channels_last
        self._row_numbers = {self._row_key(key): number for number, key in enumerate(keys)}

    def _row_key(self, key: int) -> tuple[int, int]:
        """Return a photo's index and, if repeats count, its appearance in the epoch."""
        return int(key), key.occurrence if self._counts_repeats and isinstance(key, SampleKey) else 0

    def __len__(self) -> int:
        return len(self.photos)

    def __getattr__(self, name: str) -> Any:
        """Look everything else up in the photos."""
        if name == 'photos':  # not there yet, while a copy is made
            raise AttributeError(name)
        return getattr(self.photos, name)

    def __getitems__(self, keys: Sequence[int]) -> dict:
        """Return a batch: ``inputs``, shape (N, C, H, W) or (N, ...), and ``data_samples`` with labels and paths."""
        rows = torch.tensor([self._row_numbers[self._row_key(key)] for key in keys])
        inputs = self._features.index_select(0, rows)
        if self._channels_last:
            inputs = inputs.permute(0, 3, 1, 2)
        return {'inputs': inputs, 'data_samples': [self._samples[int(key)].new() for key in keys]}


def feature_loader(photos: DataLoader, features: FeatureDataset) -> DataLoader:
    """Return a loader of features with the batches of ``photos``, in the same order."""
    options = {'drop_last': photos.drop_last, 'pin_memory': photos.pin_memory, 'collate_fn': identity_collate}
    return DataLoader(features, photos.batch_size, sampler=photos.sampler, **options)


def ordered_loader(photos: DataLoader, keys: Sequence[int]) -> DataLoader:
    """Return a loader of the photos ``keys`` in this order, with all other settings of ``photos``."""
    same = ('num_workers', 'collate_fn', 'pin_memory', 'worker_init_fn')
    options = {name: getattr(photos, name) for name in same}
    return DataLoader(photos.dataset, photos.batch_size, sampler=keys, **options)


def identity_collate(batch: dict) -> dict:
    """Return the batch: `FeatureDataset` gives whole batches."""
    return batch
