"""Photo cache: the photos of a prepared folder, decoded once into one memory-mapped file of RGB bytes.

All sets of the folder share one cache, and so do folds and the trials of a sweep. A photo whose short side is longer
than the size of the cache is shrunk by the same function as in a pipeline's ``Resize``.

Start reading at `prepare_photo_cache`, which a run calls before its loaders are built; its data sets read `PhotoCache`.
"""

import hashlib
import json
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import PIL
import torch
import torchvision

from flowercls.core.errors import DataError, DiskError
from flowercls.core.files import sha256_of
from flowercls.core.layout import MANIFEST_FILE
from flowercls.core.terminal import as_size
from flowercls.core.workers import usable_cpus, with_progress
from flowercls.data.array_store import ArrayStore, Building
from flowercls.data.image_formats import MAX_PIXELS, read_content
from flowercls.data.transforms import load_rgb, load_with_content, shrunk

FORMAT = 2  # of the arrays below
MIN_SIZE_PX = 256  # a validation photo of 224 px is usually cut from one of this size
BLOCK = 16  # photos that a thread takes at a time
WAITING = 'another process is reading the photos; waiting'
# Transforms after which the pixels of the file no longer count: their sizes are absolute, or shares of the photo.
_SCALING = re.compile('Resize|^EfficientNet')
_SIZE_KEYS = ('size', 'scale', 'crop_size', 'min_size', 'max_size', 'target_size')


def prepare_photo_cache(
    data_root: str | os.PathLike,
    pipelines: list,
    cache_dir: str | os.PathLike,
    budget: int | None,
    report: Callable[[str], object],
) -> tuple[dict | None, bool]:
    """Decode the photos of a prepared folder, unless this was done before, and report files that were changed.

    Several processes may call this at the same time: one decodes, the others wait.

    Args:
        data_root: The prepared folder.
        pipelines: Configs of the pipelines of all data sets of the folder.
        cache_dir: Where caches lie.
        budget: Bytes that the decoded photos may take; None reads photos from their files.
        report: Called with each line for the user.

    Returns:
        The argument ``photo_cache`` for `ImageFolder`, and whether the cache is complete. The argument is None without
        a budget, a manifest, or a size that suits all pipelines. Where only room is missing it is not None: then photos
        are shrunk as in the cache each time, so that the room changes no result.

    Raises:
        DataError: if a photo cannot be read or decoded.
    """
    size = cache_size(pipelines)
    photos = list_photos(data_root, size or MIN_SIZE_PX)
    if photos is None:
        return None, False
    arguments = {'folder': str(cache_dir), 'key': photos.key, 'size': size} if budget is not None and size else None
    reason = None
    if budget is not None and size is None:
        reason = 'a pipeline does not resize photos before it crops them'
    elif budget is not None and photos.num_bytes > budget:
        reason = f'{photos} decode to {as_size(photos.num_bytes)}, above photo_cache.budget ({as_size(budget)})'
    if reason:
        report(f'off, because {reason}; photos are read from their files')
    is_cached = budget is not None and reason is None
    try:
        changed = read_photos(ArrayStore(cache_dir), photos, report, decode=is_cached)
    except DiskError as error:
        report(f'off: {error} Until then photos are read from their files.')
        return arguments, False
    if changed:
        report(
            f'{len(changed):,} of {photos} {"are" if len(changed) > 1 else "is"} not as prepared, first {changed[0]}: '
            'replaced, or damaged. Fix: prepare again, unless it was replaced on purpose.'
        )
    return arguments, is_cached


def read_photos(store: ArrayStore, photos: 'PhotoList', report: Callable[[str], object], decode: bool) -> list[str]:
    """Read all photos of a folder, unless this was done before; returns the names of files that are not as prepared.

    Args:
        store: Keeps the result.
        photos: Of the folder.
        report: Called with each line for the user.
        decode: Whether to keep the pixels, or only which files are not as prepared.

    Raises:
        DataError: if a photo that is to be decoded cannot be.
        DiskError: if the result cannot be written.
    """
    key = photos.key if decode else f'checked-{photos.key}'
    is_here = store.read(key) is not None
    if not is_here:  # else nothing is written, so a cache that may only be read is used as well
        if decode:
            report(f'decoding {photos} once, to {as_size(photos.num_bytes)}')
        about = {'photos': len(photos.names), 'data_root': str(photos.data_root.absolute()), 'size': photos.size}
        with store.building(key, about, partial(report, WAITING)) as building:
            if building is not None:
                read_photo = (_decoder if decode else _checker)(building, photos)
                rows = _in_threads(read_photo, len(photos.names))
                for _ in with_progress(rows, len(photos.names), 'decoding photos' if decode else 'checking photos'):
                    pass
    if decode:
        note = ', decoded before' if is_here else ''
        report(f'{photos}, {as_size(store.size_of(key))}, {store.folder_of(key)}{note}')
    arrays = store.read(key)
    return [] if arrays is None else [name.decode() for name in photos.names[arrays['changed']]]


def cache_size(pipelines: list) -> int | None:
    """Return the short side in pixels that suits all ``pipelines``: the largest size in them, at least `MIN_SIZE_PX`.

    None if a pipeline would give another result from a smaller photo: if it crops a number of pixels, takes the whole
    photo as it is, or scales it by a factor.
    """
    sizes = [MIN_SIZE_PX]
    for pipeline in pipelines:
        steps = [step for step in dicts_in(pipeline) if re.search('Resize|Crop', str(step.get('type')))]
        names = [str(step.get('type')).rpartition('.')[2] for step in steps]
        if not steps or not _SCALING.search(names[0]) or any('scale_factor' in step for step in steps):
            return None
        for value in (step.get(key) for step in steps for key in _SIZE_KEYS):
            values = value if isinstance(value, list | tuple) else [value]
            sizes += [number for number in values if isinstance(number, int) and not isinstance(number, bool)]
    return max(sizes)


def dicts_in(node: Any) -> Iterator[dict]:
    """Yield every dict in a config node, outer ones first."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        yield from dicts_in(child)


@dataclass(frozen=True)
class PhotoList:
    """The photos of a cache, known before any is decoded; ``str()`` gives their number.

    Attributes:
        data_root: The prepared folder.
        size: Short side in pixels that larger photos are shrunk to.
        names: Files in the folder with forward slashes, as bytes, sorted.
        file_shapes: Height and width of each file, shape (N, 2), from the manifest.
        digests: SHA-256 of each file as it was prepared; None if the manifest has none.
        key: Name of the cache; it differs for other photos, another size, or another decoder.
    """

    data_root: Path
    size: int
    names: np.ndarray
    file_shapes: np.ndarray
    digests: tuple[str | None, ...]
    key: str

    def __str__(self) -> str:
        return f'{len(self.names):,} photos'

    @cached_property
    def shapes(self) -> np.ndarray:
        """Height and width of each photo in the cache, shape (N, 2)."""
        short = self.file_shapes.min(axis=1, keepdims=True)
        smaller = self.size * self.file_shapes // short  # rounded down, as in torchvision
        return np.where(short > self.size, smaller, self.file_shapes)

    @cached_property
    def offsets(self) -> np.ndarray:
        """First byte of each photo, and the end of the last, shape (N + 1,)."""
        return np.concatenate([[0], np.cumsum(3 * self.shapes.prod(axis=1, dtype=np.int64))])

    @property
    def num_bytes(self) -> int:
        """Size of all photos, decoded."""
        return int(self.offsets[-1])

    def path(self, row: int) -> Path:
        """Return the file of a photo."""
        return self.data_root / self.names[row].decode()

    def is_changed(self, row: int, content: bytes) -> bool:
        """Return whether a file differs from the prepared one: a damaged JPEG may decode, to other pixels."""
        return self.digests[row] not in (None, hashlib.sha256(content).hexdigest())


def list_photos(data_root: str | os.PathLike, size: int) -> PhotoList | None:
    """Return the photos for a cache of ``size``; None for a folder without a usable manifest."""
    data_root = Path(data_root)
    manifest = data_root / MANIFEST_FILE
    try:
        images = json.loads(manifest.read_text(encoding='utf-8'))['images']
        shapes = {image['file']: _shape(image) for image in images}
        digests = {image['file']: image.get('sha256') for image in images}
        files = {name: stat for name in shapes if (stat := _stat_inside(data_root, name))}
        names = sorted((name.encode(), name) for name in files)
        file_shapes = np.array([shapes[name] for _, name in names], np.int64)
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):  # not our manifest
        return None
    if not names:
        return None
    # A photo that was replaced by hand has another time or length. Newer decoders may give other pixels.
    parts = [FORMAT, size, sha256_of(manifest), PIL.__version__, torchvision.__version__, sorted(files.items())]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return PhotoList(
        data_root=data_root,
        size=size,
        names=np.array([encoded for encoded, _ in names]),
        file_shapes=file_shapes,
        digests=tuple(digests[name] for _, name in names),
        key=f'photos-{size}px-{digest}',
    )


def _shape(image: dict) -> tuple[int, int]:
    width, height = map(int, image['size'])
    if min(width, height) < 1 or width * height > MAX_PIXELS:
        raise ValueError(image['size'])
    return height, width


def _stat_inside(data_root: Path, name: str) -> tuple[int, int] | None:
    """Return size and time of a file of the folder; None if it is missing, or the name leads out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or '..' in path.parts:
        return None
    try:
        status = (data_root / name).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _checker(building: Building, photos: PhotoList) -> Callable[[int], None]:
    """Return a function that notes whether the photo of a row is as prepared."""
    changed = building.array('changed', (len(photos.names),), np.bool_)

    def check(row: int) -> None:
        try:
            changed[row] = photos.is_changed(row, read_content(photos.path(row)))
        except DataError:  # decoding the photo will say more
            changed[row] = True

    return check


def _decoder(building: Building, photos: PhotoList) -> Callable[[int], None]:
    """Return a function that stores the pixels of a row, and notes whether the photo is as prepared."""
    number = len(photos.names)
    building.array('names', (number,), photos.names.dtype)[:] = photos.names
    building.array('offsets', (number + 1,), np.int64)[:] = photos.offsets
    building.array('file_shapes', (number, 2), np.int32)[:] = photos.file_shapes
    shapes = building.array('shapes', (number, 2), np.int32)
    changed = building.array('changed', (number,), np.bool_)
    pixels = building.array('pixels', (photos.num_bytes,), np.uint8)

    def decode(row: int) -> None:
        rgb, content = load_with_content(photos.path(row))
        rgb = shrunk(rgb, photos.size)
        changed[row] = photos.is_changed(row, content)
        # A photo replaced by one of another size has no room here: its shape stays 0, and it is read from its file.
        if rgb.shape[:2] == tuple(photos.shapes[row]):
            pixels[photos.offsets[row] : photos.offsets[row + 1]] = rgb.reshape(-1)
            shapes[row] = rgb.shape[:2]

    return decode


def _in_threads(function: Callable[[int], None], number: int) -> Iterator[int]:
    """Yield 0 to ``number`` - 1 after a call with each; in threads, as Pillow decodes without Python's lock."""
    is_over = threading.Event()

    def call_block(start: int) -> range:
        rows = range(start, min(start + BLOCK, number))
        for row in rows:
            if not is_over.is_set():
                function(row)
        return rows

    with ThreadPoolExecutor(usable_cpus()) as threads:
        try:
            for rows in threads.map(call_block, range(0, number, BLOCK)):
                yield from rows
        finally:
            is_over.set()  # a block can take seconds, and a signal should not wait for it
            threads.shutdown(cancel_futures=True)


class PhotoCache:
    """The photos of one cache by name; a photo that is not in it is made from its file, with the same pixels.

    The arrays are opened at the first look, in each process anew: only their path travels to a loader worker.

    Args:
        folder: Of the `ArrayStore`.
        key: Of the cache, see `PhotoList`.
        size: Of the cache, see `PhotoList`.
    """

    def __init__(self, folder: str, key: str, size: int) -> None:
        self.folder, self.key, self.size = folder, key, size
        self._arrays: dict[str, np.ndarray] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_arrays': None}

    def find(self, name: str) -> dict | None:
        """Return ``img``, a read-only view in BGR order, and ``ori_shape``, the file's (H, W); None if not cached."""
        if self._arrays is None:
            self._open()
        row = self._row(name.replace(os.sep, '/').encode())
        if row is None:
            return None
        start, end = self._arrays['offsets'][row : row + 2]
        rgb = self._arrays['pixels'][start:end].reshape(*self._arrays['shapes'][row], 3)
        return {'img': rgb[..., ::-1], 'ori_shape': tuple(self._arrays['file_shapes'][row].tolist())}

    def read(self, path: str) -> dict:
        """Make from a file what `find` would return, in writable memory.

        Raises:
            DataError: if the file cannot be read or decoded.
        """
        rgb = load_rgb(path)
        return {'img': shrunk(rgb, self.size)[..., ::-1], 'ori_shape': rgb.shape[:2]}

    def _open(self) -> None:
        arrays = ArrayStore(self.folder).read(self.key) or {}
        self._arrays = {key: np.asarray(array) for key, array in arrays.items()}
        with warnings.catch_warnings(action='ignore'):
            # torch warns once of read-only arrays: here, as nothing writes into ours, see `TorchvisionTransforms`.
            torch.from_numpy(np.broadcast_to(np.uint8(0), 1))

    def _row(self, name: bytes) -> int | None:
        names = self._arrays.get('names')
        if names is None or len(name) > names.itemsize:
            return None
        row = int(np.searchsorted(names, np.array(name, names.dtype)))
        is_cached = row < len(names) and names[row] == name and self._arrays['shapes'][row].all()
        return row if is_cached else None
