"""The photos of a prepared folder, decoded once: RGB bytes, one photo after the other, in one memory-mapped file.

All sets of the folder share one store, and so do folds and the trials of a sweep. Photos whose short side is longer
than the store's size are shrunk to it, by the very function that a ``Resize`` in a pipeline would shrink them with.

The photos of a store that is complete, see `photo_store`, for the datasets that draw from them.
"""

import hashlib
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import PIL
import torch
import torchvision

from flowercls.core.errors import DataError
from flowercls.core.files import sha256_of
from flowercls.core.workers import usable_cpus, with_progress
from flowercls.data.array_store import ArrayStore, Building
from flowercls.data.image_formats import read_content
from flowercls.data.transforms import load_rgb, shrunk

FORMAT = 2  # of the arrays below
BLOCK = 16  # photos that a thread takes at a time


@dataclass(frozen=True)
class PhotoList:
    """What a store holds, known before any photo is decoded.

    Attributes:
        data_root: The prepared folder.
        size: Short side in pixels that larger photos are shrunk to.
        names: Files in the folder with forward slashes, as bytes, sorted.
        file_shapes: Height and width of each file, shape (N, 2), as the manifest has them.
        digests: SHA-256 of each file as it was prepared; None where the manifest has none.
        key: Another one for other photos, another size, or another decoder.
    """

    data_root: Path
    size: int
    names: np.ndarray
    file_shapes: np.ndarray
    digests: tuple[str | None, ...]
    key: str

    @cached_property
    def shapes(self) -> np.ndarray:
        """Height and width of each photo in the store, shape (N, 2)."""
        short = self.file_shapes.min(axis=1, keepdims=True)
        shrunk = self.size * self.file_shapes // short  # rounded down, as torchvision does
        return np.where(short > self.size, shrunk, self.file_shapes)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each photo's bytes begin, and where the last one's end, shape (N + 1,)."""
        return np.concatenate([[0], np.cumsum(3 * self.shapes.prod(axis=1, dtype=np.int64))])

    @property
    def num_bytes(self) -> int:
        """Size of all photos, decoded."""
        return int(self.offsets[-1])

    def path(self, row: int) -> Path:
        """The file of a photo."""
        return self.data_root / self.names[row].decode()

    def is_changed(self, row: int, content: bytes) -> bool:
        """Whether a file is not as it was prepared: a JPEG with some bytes overwritten decodes, to other pixels."""
        return self.digests[row] not in (None, hashlib.sha256(content).hexdigest())


def list_photos(data_root: str | os.PathLike, size: int) -> PhotoList | None:
    """The photos of a prepared folder that a store of ``size`` would hold; None for a folder without a manifest."""
    data_root = Path(data_root)
    manifest = data_root / 'manifest.json'
    try:
        images = json.loads(manifest.read_text(encoding='utf-8'))['images']
        sizes = {image['file']: (int(image['size'][1]), int(image['size'][0])) for image in images}
        digests = {image['file']: image.get('sha256') for image in images}
        files = {name: stat for name in sizes if _is_inside(name) and (stat := _stat(data_root / name))}
        names = sorted((name.encode(), name) for name in files if min(sizes[name]) > 0)
        file_shapes = np.array([sizes[name] for _, name in names], np.int64)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):  # not what we write
        return None
    if not names:
        return None
    # A photo that was replaced by hand has another time or another length. Newer decoders may give other pixels.
    says = [FORMAT, size, sha256_of(manifest), PIL.__version__, torchvision.__version__, sorted(files.items())]
    digest = hashlib.sha256(json.dumps(says).encode()).hexdigest()[:16]
    return PhotoList(
        data_root=data_root,
        size=size,
        names=np.array([encoded for encoded, _ in names]),
        file_shapes=file_shapes,
        digests=tuple(digests[name] for _, name in names),
        key=f'photos-{size}px-{digest}',
    )


def build_photo_store(store: ArrayStore, photos: PhotoList, on_wait: Callable[[], object] | None = None) -> bool:
    """Decode all ``photos``, unless another process is at it already, which is then waited for.

    Args:
        store: Where to.
        photos: What `list_photos` found.
        on_wait: Called once if another process has to be waited for.

    Returns:
        Whether they were decoded here.

    Raises:
        DataError: if a photo cannot be read or decoded.
        DiskError: if the store cannot be written.
    """
    about = {'photos': len(photos.names), 'data_root': str(photos.data_root.absolute()), 'size': photos.size}
    with store.building(photos.key, about, on_wait) as building:
        if building is not None:
            _fill(building, photos)
    return building is not None


def changed_photos(store: ArrayStore, photos: PhotoList) -> list[str]:
    """Photos of a complete store that were not the files that had been prepared: replaced by hand, or damaged."""
    return _changed(store, photos, photos.key)


def changed_files(store: ArrayStore, photos: PhotoList, on_wait: Callable[[], object] | None = None) -> list[str]:
    """As `changed_photos`, where photos are read from their files: these are read once, and the outcome is kept.

    Raises:
        DiskError: if the outcome cannot be written.
    """
    key = f'checked-{photos.key}'
    with store.building(key, {'data_root': str(photos.data_root.absolute())}, on_wait) as building:
        if building is not None:
            changed = building.array('changed', (len(photos.names),), np.bool_)

            def check(row: int) -> None:
                try:
                    changed[row] = photos.is_changed(row, read_content(photos.path(row)))
                except DataError:  # whoever needs its pixels says more
                    changed[row] = True

            _for_each(check, len(photos.names), 'checking photos')
    return _changed(store, photos, key)


def _changed(store: ArrayStore, photos: PhotoList, key: str) -> list[str]:
    arrays = store.read(key)
    return [] if arrays is None else [name.decode() for name in photos.names[arrays['changed']]]


def _fill(building: Building, photos: PhotoList) -> None:
    number = len(photos.names)
    names = building.array('names', (number,), photos.names.dtype)
    names[:] = photos.names
    building.array('offsets', (number + 1,), np.int64)[:] = photos.offsets
    building.array('file_shapes', (number, 2), np.int32)[:] = photos.file_shapes
    shapes = building.array('shapes', (number, 2), np.int32)
    changed = building.array('changed', (number,), np.bool_)
    pixels = building.array('pixels', (photos.num_bytes,), np.uint8)

    def put(row: int) -> None:
        path = photos.path(row)
        rgb = shrunk(load_rgb(path), photos.size)
        changed[row] = photos.is_changed(row, read_content(path))
        # A photo replaced by one of another size has no room here: its shape stays 0, and it is read from its file.
        if rgb.shape[:2] == tuple(photos.shapes[row]):
            pixels[photos.offsets[row] : photos.offsets[row + 1]] = rgb.reshape(-1)
            shapes[row] = rgb.shape[:2]

    _for_each(put, number, 'decoding photos')


def _for_each(function: Callable[[int], None], number: int, what: str) -> None:
    for _ in with_progress(_in_threads(function, number), number, what):
        pass


def _in_threads(function: Callable[[int], None], number: int) -> Iterator[int]:
    """Yield 0 to ``number`` - 1 after a call with each; by threads, as Pillow decodes without Python's lock."""
    is_over = threading.Event()

    def block(start: int) -> range:
        rows = range(start, min(start + BLOCK, number))
        for row in rows:
            if not is_over.is_set():
                function(row)
        return rows

    with ThreadPoolExecutor(usable_cpus()) as threads:
        try:
            for rows in threads.map(block, range(0, number, BLOCK)):
                yield from rows
        finally:
            is_over.set()  # a block can take seconds, and a signal should not
            threads.shutdown(cancel_futures=True)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and '..' not in path.parts


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


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
