"""Keyed sets of named arrays on disk, memory-mapped: a set is complete or absent, whatever ends its making.

``<folder>/<key>/`` is a complete set, ``about.json`` and one ``.npy`` an array, renamed into place once all of it is on
the disk. ``<folder>/.<key>.<process>.unfinished/`` is one in the making, or what a kill left of it, and
``<folder>/<key>.lock`` is held meanwhile.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from flowercls.core.errors import DiskError
from flowercls.core.files import disk_errors, sync_folder, write_json

try:
    import fcntl
except ImportError:  # Windows: two processes may make one set at once; the first to end is kept
    fcntl = None

ABOUT_FILE = 'about.json'
FORMAT = 1  # of the folders here; what an array means is its owner's, who puts a version of his own into the key
_NAME = re.compile(r'[0-9A-Za-z_][0-9A-Za-z_.-]*')


class Building:
    """A set of arrays in the making."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[str, np.memmap] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.memmap:
        """A new array of zeros in the set; what is written into it is kept.

        Args:
            name: Its name in the set.
            shape: As numpy's; other processes may write into the file, which is the array's ``filename``.
            dtype: As numpy's, which has no bf16: keep the bits as uint16.

        Raises:
            DiskError: if the disk has no room for it.
        """
        _check_name(name)
        path = self._folder / f'{name}.npy'
        with disk_errors(path):
            _check_room(path, math.prod(shape) * np.dtype(dtype).itemsize)
            array = np.lib.format.open_memmap(path, mode='w+', dtype=np.dtype(dtype), shape=tuple(shape))
            _reserve(path)
        self._arrays[name] = array
        return array

    def _complete(self, about: dict) -> None:
        """Put everything on the disk."""
        for array in self._arrays.values():
            array.flush()
            with Path(array.filename).open('rb+') as file:
                os.fsync(file.fileno())
        arrays = {name: _described(array) for name, array in self._arrays.items()}
        made = datetime.now().astimezone().isoformat(timespec='seconds')
        ours = {'format': FORMAT, 'made': made, 'numpy': np.__version__, 'arrays': arrays}
        write_json(self._folder / ABOUT_FILE, {**about, **ours})


class ArrayStore:
    """Keyed sets of named numpy arrays on disk, memory-mapped.

    Args:
        folder: Where the sets lie; made with the first of them.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def folder_of(self, key: str) -> Path:
        """Where the set ``key`` lies, or would lie."""
        _check_name(key)
        return self.folder / key

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a set as read-only memory maps; None where there is no complete and undamaged set."""
        about = self.about(key)
        if about is None:
            return None
        arrays = {}
        for name, described in about['arrays'].items():
            try:
                arrays[name] = np.load(self.folder_of(key) / f'{name}.npy', mmap_mode='r', allow_pickle=False)
            except (OSError, ValueError, EOFError):  # missing, cut short, or with a damaged head
                return None
            if _described(arrays[name]) != described:
                return None
        return arrays

    def about(self, key: str) -> dict | None:
        """What a set says of itself; None where there is none."""
        file = self.folder_of(key) / ABOUT_FILE
        try:
            about = json.loads(file.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            return None
        is_ours = isinstance(about, dict) and about.get('format') == FORMAT and isinstance(about.get('arrays'), dict)
        return about if is_ours and all(map(_NAME.fullmatch, about['arrays'])) else None

    def size_of(self, key: str) -> int:
        """Bytes of a set on disk, 0 where there is none."""
        folder = self.folder_of(key)
        return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0

    def bytes_free(self) -> int:
        """Of the disk that the sets lie on."""
        there = next(folder for folder in [self.folder, *self.folder.absolute().parents] if folder.is_dir())
        return shutil.disk_usage(there).free

    @contextlib.contextmanager
    def building(self, key: str, about: dict, on_wait: Callable[[], object] | None = None) -> Iterator[Building | None]:
        """Make a set: complete and on the disk when the ``with`` block has ended, absent if it raised.

        One process at a time makes a set; others wait here for it, and get None if it is complete then.

        Args:
            key: Letters, digits, ``_``, ``.`` and ``-``; another key for every other content.
            about: What it is, for ``about.json``.
            on_wait: Called once if another process has to be waited for.

        Raises:
            DiskError: if the disk is full or may not be written to.
        """
        _check_name(key)
        with contextlib.ExitStack() as stack:
            with disk_errors(self.folder):
                _make(self.folder)
                is_alone = stack.enter_context(_locked(self.folder / f'{key}.lock', on_wait))
            if self.read(key) is not None:
                yield None
                return
            with disk_errors(self.folder):
                unfinished = self._new_folder(key, is_alone)
            stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
            building = Building(unfinished)
            yield building
            with disk_errors(self.folder):
                building._complete(about)
                self._publish(unfinished, key)

    def _new_folder(self, key: str, is_alone: bool) -> Path:
        """A folder for a set in the making; what killed makers of the same set left is removed."""
        for folder in self.folder.glob(f'.{key}.*.unfinished') if is_alone else ():
            if folder.name.removeprefix(f'.{key}.').removesuffix('.unfinished').isdecimal():  # else of a longer key
                shutil.rmtree(folder)
        unfinished = self.folder / f'.{key}.{os.getpid()}.unfinished'
        unfinished.mkdir()
        return unfinished

    def _publish(self, unfinished: Path, key: str) -> None:
        sync_folder(unfinished)
        final = self.folder_of(key)
        if final.exists() and self.read(key) is None:
            shutil.rmtree(final)  # damaged
        try:
            unfinished.rename(final)
        except OSError:
            if self.read(key) is None:
                raise
        sync_folder(self.folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        # Such as a link to a disk that is not there.
        raise DiskError(f'{folder}: cannot be made ({error.strerror}). Fix: another folder as cache_dir.') from error


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], object] | None) -> Iterator[bool]:
    """Hold the lock ``path`` as soon as no other process does; yields False where there are no locks."""
    if fcntl is None:
        yield False
        return
    with path.open('a') as file:
        yield _take(file.fileno(), on_wait)


def _take(handle: int, on_wait: Callable[[], object] | None) -> bool:
    try:
        # flock, not lockf: threads of one process must wait for each other, too.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is not None:
            on_wait()
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        return False  # some network disks
    return True


def _check_room(path: Path, size: int) -> None:
    """Refuse what cannot be kept before a part of it has filled the disk."""
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, f'{size >> 20:,} MiB are needed')


def _reserve(path: Path) -> None:
    """Take the room of a sparse file now: on a full disk a write through the map would end the process (SIGBUS)."""
    if hasattr(os, 'posix_fallocate'):
        with path.open('rb+') as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _described(array: np.ndarray) -> dict:
    return {'dtype': array.dtype.str, 'shape': list(array.shape)}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f'{name!r}: expected letters, digits, "_", "." and "-", beginning with none of the last two')
