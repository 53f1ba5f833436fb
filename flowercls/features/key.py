"""The photos behind one of a Runner's loaders: told apart from all others, and loaded in any order."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from flowercls.data.randomness import SampleKey
from flowercls.features.dataset import KeptFeatures, as_it_is


class LoaderPhotos:
    """What a loader loads, and how.

    Args:
        loader: Of a Runner.
        pipeline: The transforms of its dataset, as the config has them.
    """

    def __init__(self, loader: DataLoader, pipeline: list[dict]) -> None:
        self.dataset, self.sampler, self.batch_size = loader.dataset, loader.sampler, loader.batch_size
        self._drop_last = loader.drop_last
        self._pipeline = pipeline
        self._options = {
            'num_workers': loader.num_workers,
            'collate_fn': loader.collate_fn,
            'pin_memory': loader.pin_memory,
            'worker_init_fn': loader.worker_init_fn,
        }

    def identity(self, keys: Sequence[int]) -> dict[str, Any]:
        """What decides which pixels come in which batches, as plain values.

        Args:
            keys: Photos in their order, as a sampler gives them.
        """
        return {
            'photos': _hash(self._file(key) for key in keys),
            'views': _hash((int(key), key.repeat) if isinstance(key, SampleKey) else int(key) for key in keys),
            'store': self.dataset.photo_store,  # photos may be shrunk in it
            'pipeline': repr(self._pipeline),
            'batch_size': self.batch_size,
        }

    def batches(self, keys: Sequence[int]) -> DataLoader:
        """These photos, loaded as the loader would."""
        return DataLoader(self.dataset, self.batch_size, sampler=keys, **self._options)

    def loader_of(self, features: KeptFeatures) -> DataLoader:
        """The same order and batches, of features."""
        options = {'drop_last': self._drop_last, 'pin_memory': self._options['pin_memory'], 'collate_fn': as_it_is}
        return DataLoader(features, self.batch_size, sampler=self.sampler, **options)

    def _file(self, key: int) -> tuple:
        path = Path(self.dataset.get_data_info(int(key))['img_path'])
        found = path.stat()
        return path.parent.name, path.name, found.st_size, found.st_mtime_ns


def _hash(items: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(item).encode())
    return digest.hexdigest()
