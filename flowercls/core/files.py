"""Atomic writes, disk errors, digests, free names, links that lead up, and CSV delimiters."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from flowercls.core.errors import DiskError

DELIMITERS = ',;\t'  # spreadsheets choose one by their locale
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FAILS = {errno.EIO, getattr(errno, 'ESTALE', None), errno.ENXIO, errno.ENODEV}


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn an `OSError` of a full, read-only or failing disk into a `DiskError` that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskError(
                f'{path}: the disk is full ({error.strerror}). Fix: free some space and run again.'
            ) from error
        if error.errno in _NOT_ALLOWED:
            raise DiskError(
                f'{path}: may not be written ({error.strerror}). Fix: choose a folder with write permission.'
            ) from error
        if error.errno in _FAILS:
            raise DiskError(
                f'{path}: the disk fails ({error.strerror}). Fix: check the disk and its connection, then run again.'
            ) from error
        raise


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = 'w') -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it is complete and on the disk.

    The file is written beside the target under a temporary name, synced and renamed; then the folder is synced. If the
    body raises, the target stays as it was and no temporary file is left.

    Args:
        path: The final name; its folder must exist.
        mode: ``'w'`` (UTF-8 text, LF line ends) or ``'wb'``.

    Raises:
        DiskError: if the disk is full or read-only.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    text = {} if 'b' in mode else {'encoding': 'utf-8', 'newline': '\n'}
    with disk_errors(path):
        try:
            with temporary.open(mode, **text) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: str | os.PathLike) -> None:
    """Make renames inside ``folder`` survive a power loss, where the platform can sync a folder."""
    if os.name != 'posix':
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write ``content`` as readable JSON (UTF-8, two spaces), atomically."""
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write('\n')


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with Path(path).open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def numbered(path: Path, suffix: str = '') -> Iterator[Path]:
    """Yield ``path``, and then the same name with ``-2``, ``-3``, ... before its ``suffix``."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f'{path.name.removesuffix(suffix)}-{number}{suffix}')


def delimiter_of(table: str) -> str:
    """Return the delimiter of a CSV table: the most frequent candidate in its first line."""
    return max(DELIMITERS, key=''.join(table.splitlines()[:1]).count)


def leads_up(link: str | os.PathLike) -> bool:
    """Return whether a link leads to a folder that holds it: who followed it would never come to an end."""
    return Path(link).parent.resolve().is_relative_to(Path(link).resolve())
