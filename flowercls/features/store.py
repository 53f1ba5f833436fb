"""Sets of features on disk: computed by the frozen stages, read back as memory maps."""

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flowercls.data.array_store import ArrayStore, Building
from flowercls.models.classifier import StagedClassifier

DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16, 'fp32': torch.float32}
IN_ORDER, CHANNELS_LAST = 'in_order', 'channels_last'


class FeatureStore(ArrayStore):
    """Computes the features of a network and reads them back.

    Args:
        folder: Of the cache.
        model: The classifier, with its weights loaded and its preprocessor for photos.
        dtype: ``'bf16'``, ``'fp16'``, ``'fp32'``, or ``'auto'``: as the network computes, without loss.
    """

    def __init__(self, folder: str | Path, model: StagedClassifier, dtype: str = 'auto') -> None:
        super().__init__(folder)
        self._model, self._preprocessor, self._dtype = model, model.data_preprocessor, DTYPES.get(dtype)

    def has(self, key: str) -> bool:
        """Return whether the set is complete on disk."""
        return self.read(key) is not None

    def bytes_per_photo(self, batch: dict) -> int:
        """Return the size of one photo's features, measured on a batch of the loader."""
        features = self._compute(batch)
        return features.element_size() * features[0].numel()

    def build(self, key: str, description: str, batches: Iterable[dict], num_photos: int) -> None:
        """Compute a set, unless it exists; if another process is computing it, wait for that process.

        Args:
            key: Name of the set, from `FeatureKeys.key_of`.
            description: Of the set, for people.
            batches: Of the loader; not iterated if the set exists.
            num_photos: In all batches together.

        Raises:
            DiskError: if the disk is full or not writable.
        """
        with self.building(key, {'what': description}) as building:
            if building is not None:
                self._fill(building, batches, num_photos)

    def _fill(self, building: Building, batches: Iterable[dict], num_photos: int) -> None:
        array, done = None, 0
        for batch in batches:
            name, rows = _as_rows(self._compute(batch))
            if array is None:
                array = building.array(name, (num_photos, *rows.shape[1:]), rows.dtype)
            array[done : done + len(rows)] = rows
            done += len(rows)

    def _compute(self, batch: dict) -> Tensor:
        # As in training; batch augmentations, which would mix photos, are refused with feature_cache.
        features = self._model.extract_frozen(self._preprocessor(batch, training=True)['inputs'])
        return features if self._dtype is None else features.to(self._dtype)

    def read_features(self, key: str) -> tuple[Tensor, bool]:
        """Return the memory map of a set, shape (rows, ...), and whether the last dimension of a row is channels."""
        ((name, array),) = self.read(key).items()
        dtype, layout = name.split('.')
        if dtype == 'bfloat16':  # numpy has none
            array = array.view(np.int16)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # torch warns that the map is read-only
            return torch.from_numpy(array).view(getattr(torch, dtype)), layout == CHANNELS_LAST


def _as_rows(features: Tensor) -> tuple[str, np.ndarray]:
    """Return the array to write, in the order of memory, and a name that says how to read it."""
    layout = IN_ORDER
    is_channels_last = features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last)
    if is_channels_last and not features.is_contiguous():
        features, layout = features.permute(0, 2, 3, 1), CHANNELS_LAST
    name = f'{str(features.dtype).removeprefix("torch.")}.{layout}'
    features = features.cpu().contiguous()
    if features.dtype == torch.bfloat16:
        return name, features.view(torch.int16).numpy().view(np.uint16)
    return name, features.numpy()
