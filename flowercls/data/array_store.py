"""Keyed sets of named arrays on disk, memory-mapped; a set is complete or absent, even if its process is killed.

``<folder>/<key>/`` is a complete set: ``about.json`` and one ``.npy`` for each array, renamed into place once all of it
is on the disk. ``<folder>/.<key>.<process>.unfinished/`` is a set in the making, or left by a killed process, and
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
FORMAT = 1  # of the folders; the meaning of the arrays has its own version in the key
_NAME = re.compile(r'[0-9A-Za-z_][0-9A-Za-z_.-]*')


class ArrayStore:
    """Keyed sets of named numpy arrays on disk, memory-mapped.

    Args:
        folder: Where the sets lie; made with the first of them.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def folder_of(self, key: str) -> Path:
        """Return the folder of the set ``key``, which need not exist."""
        _check_name(key)
        return self.folder / key

    def read(self, key: str) -> dict[str, np.ndarray] | None:
        """Return the arrays of a set as read-only memory maps; None if absent, damaged or of another format."""
        folder = self.folder_of(key)
        try:
            about = json.loads((folder / ABOUT_FILE).read_text(encoding='utf-8'))
            descriptions = about['arrays']
            if about['format'] != FORMAT or not all(map(_NAME.fullmatch, descriptions)):
                return None
            arrays = {name: np.load(folder / f'{name}.npy', mmap_mode='r', allow_pickle=False) for name in descriptions}
        except (OSError, ValueError, EOFError, LookupError, TypeError):  # absent, cut short, or not ours
            return None
        return arrays if {name: _description(array) for name, array in arrays.items()} == descriptions else None

    def size_of(self, key: str) -> int:
        """Return the bytes of a set on disk, 0 if it is absent."""
        folder = self.folder_of(key)
        return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0

    def bytes_free(self) -> int:
        """Return the free bytes of the disk that the sets lie on."""
        existing = next(folder for folder in [self.folder, *self.folder.absolute().parents] if folder.is_dir())
        return shutil.disk_usage(existing).free

    @contextlib.contextmanager
    def building(
        self, key: str, about: dict, on_wait: Callable[[], object] | None = None
    ) -> Iterator['Building | None']:
        """Make a set: complete and on the disk when the ``with`` block has ended, absent if it raised.

        One process at a time makes a set. Others wait, and get None if the set is complete then.

        Args:
            key: Letters, digits, ``_``, ``.`` and ``-``; every other content needs another key.
            about: Facts for ``about.json``.
            on_wait: Called once if another process has to be waited for.

        Raises:
            DiskError: if the disk is full or read-only.
        """
        _check_name(key)
        with contextlib.ExitStack() as stack:
            with disk_errors(self.folder):
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:  # a link to a missing disk
                    raise DiskError(
                        f'{self.folder}: cannot be made ({error.strerror}). Fix: another folder as cache_dir.'
                    ) from error
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
        """Make a folder for a set in the making; remove what killed processes left of the same set."""
        for folder in self.folder.glob(f'.{key}.*.unfinished') if is_alone else ():
            # Only digits between key and suffix: else the folder belongs to a longer key.
            if folder.name.removeprefix(f'.{key}.').removesuffix('.unfinished').isdecimal():
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


class Building:
    """A set of arrays in the making."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[str, np.memmap] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.memmap:
        """Add an array of zeros to the set; what is written into it is kept.

        Args:
            name: Its name in the set.
            shape: As in numpy. Other processes may write into the array's ``filename``.
            dtype: As in numpy, which has no bf16: keep the bits as uint16.

        Raises:
            DiskError: if the disk has no room for it.
        """
        _check_name(name)
        path = self._folder / f'{name}.npy'
        with disk_errors(path):
            size = math.prod(shape) * np.dtype(dtype).itemsize
            if shutil.disk_usage(path.parent).free < size:
                raise OSError(errno.ENOSPC, f'{size >> 20:,} MiB are needed')
            array = np.lib.format.open_memmap(path, mode='w+', dtype=np.dtype(dtype), shape=tuple(shape))
            if hasattr(os, 'posix_fallocate'):
                # Reserve the room now: on a full disk a write through the map would end the process (SIGBUS).
                with path.open('rb+') as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        self._arrays[name] = array
        return array

    def _complete(self, about: dict) -> None:
        """Put everything on the disk."""
        for array in self._arrays.values():
            array.flush()
            with Path(array.filename).open('rb+') as file:
                os.fsync(file.fileno())
        arrays = {name: _description(array) for name, array in self._arrays.items()}
        made = datetime.now().astimezone().isoformat(timespec='seconds')
        facts = {'format': FORMAT, 'made': made, 'numpy': np.__version__, 'arrays': arrays}
        write_json(self._folder / ABOUT_FILE, {**about, **facts})


@contextlib.contextmanager
def _locked(path: Path, on_wait: Callable[[], object] | None) -> Iterator[bool]:
    """Hold the lock ``path`` as soon as no other process does; yields False where files cannot be locked."""
    if fcntl is None:
        yield False
        return
    with path.open('a') as file:
        is_locked = True
        try:
            # flock, not lockf: threads of one process must wait for each other, too.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network disks
            is_locked = False
        yield is_locked


def _description(array: np.ndarray) -> dict:
    return {'dtype': array.dtype.str, 'shape': list(array.shape)}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f'{name!r}: expected letters, digits, "_", "." and "-", beginning with a letter, digit or "_"')
