"""The photos of a store that is complete, see `photo_store`, for the datasets that draw from them."""

import os
import warnings

import numpy as np
import torch

from flowercls.cache.array_store import ArrayStore
from flowercls.datasets.transforms import load_rgb, shrunk


class StoredPhotos:
    """The photos of one store, looked up by name; those that are not in it are made of their files, the same.

    The files are opened at the first look, in each process anew: what travels to a loader worker is only their place.

    Args:
        folder: Of the `ArrayStore`.
        key: Of the store, see `PhotoList`.
        size: Its size, see `PhotoList`.
    """

    def __init__(self, folder: str, key: str, size: int) -> None:
        self.folder, self.key, self.size = folder, key, size
        self._arrays: dict[str, np.ndarray] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_arrays': None}

    def find(self, name: str) -> dict | None:
        """``img``, a read-only view in BGR order, and ``ori_shape``, the file's (H, W); None if it is not here."""
        if self._arrays is None:
            self._open()
        row = self._row(name.replace(os.sep, '/').encode())
        if row is None:
            return None
        start, end = self._arrays['offsets'][row : row + 2]
        rgb = self._arrays['pixels'][start:end].reshape(*self._arrays['shapes'][row], 3)
        return {'img': rgb[..., ::-1], 'ori_shape': tuple(self._arrays['file_shapes'][row].tolist())}

    def read(self, path: str) -> dict:
        """What `find` would find of a photo's file, if it were there, but in memory that may be written to.

        Raises:
            DataError: if the file cannot be read or decoded.
        """
        rgb = load_rgb(path)
        return {'img': shrunk(rgb, self.size)[..., ::-1], 'ori_shape': rgb.shape[:2]}

    def _open(self) -> None:
        arrays = ArrayStore(self.folder).read(self.key) or {}
        self._arrays = {key: np.asarray(array) for key, array in arrays.items()}
        with warnings.catch_warnings(action='ignore'):
            # torch warns of arrays that are not to be written to, once: here, as nothing writes into these, see
            # `TorchvisionTransforms`.
            torch.from_numpy(np.broadcast_to(np.uint8(0), 1))

    def _row(self, name: bytes) -> int | None:
        names = self._arrays.get('names')
        if names is None or len(name) > names.itemsize:
            return None
        row = int(np.searchsorted(names, np.array(name, names.dtype)))
        found = row < len(names) and names[row] == name and self._arrays['shapes'][row].all()
        return row if found else None
