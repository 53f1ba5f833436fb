"""Files that are complete or absent, their fingerprints, and downloads that are checked.

A leaf like ``errors``: every room may use it, it uses none.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from flowercls.core.errors import DiskError, FlowerclsError

CHUNK_BYTES = 1 << 20
DELIMITERS = ',;\t'  # spreadsheets choose one by the language they speak
MAX_DOWNLOAD_BYTES = 20 << 30  # beyond any archive of photos or checkpoint; less than would fill most disks
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FAILS = {errno.EIO, getattr(errno, 'ESTALE', None), errno.ENXIO, errno.ENODEV}


class DownloadError(FlowerclsError):
    """A download that failed or brought other bytes than promised; callers turn it into their room's error."""


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn what a disk cannot, may not or fails to do into a `DiskError` that names ``path``; others pass through."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskError(
                f'{path}: the disk is full ({error.strerror}). Fix: free some space and run again.'
            ) from error
        if error.errno in _NOT_ALLOWED:
            raise DiskError(
                f'{path}: may not be written ({error.strerror}). Fix: choose a folder that you may write to.'
            ) from error
        if error.errno in _FAILS:
            raise DiskError(
                f'{path}: the disk fails ({error.strerror}). Fix: look after the disk or its connection, and run again.'
            ) from error
        raise


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = 'w') -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when it is complete and on the disk.

    Written beside the target under a temporary name, flushed, synced, renamed, and the folder synced. If the body
    raises, the target stays as it was and no temporary file is left.

    Args:
        path: The final name; its folder must exist.
        mode: ``'w'`` (UTF-8 text, LF line ends) or ``'wb'``.

    Raises:
        DiskError: if the disk is full or may not be written to.
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
    """Make renames inside ``folder`` survive a power loss, where the platform lets a folder be synced."""
    if os.name != 'posix':
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write ``content`` as readable JSON (UTF-8, two spaces), whole or not at all."""
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write('\n')


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes as 64 hex digits."""
    with Path(path).open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def download(
    url: str,
    destination: str | os.PathLike,
    sha256: str | None = None,
    timeout_s: float = 30,
    max_bytes: int = MAX_DOWNLOAD_BYTES,
    before_publishing: Callable[[str], object] | None = None,
) -> str:
    """Fetch ``url`` into the file ``destination``, which appears only when it is complete and checked.

    Args:
        url: An ``http://``, ``https://`` or ``file://`` address.
        destination: File to write; its folder is made if missing.
        sha256: Digest in hex that the bytes must have, or its first digits; None accepts any.
        timeout_s: Seconds without an answer after which to give up.
        max_bytes: More is refused, before the first byte where the server says how much it will send.
        before_publishing: Is called with the SHA-256 when all is well, before the file appears.

    Returns:
        The full SHA-256 of what was written.

    Raises:
        DownloadError: if the address cannot be reached, or the bytes are too many or not the promised ones.
        DiskError: if they cannot be written, or the disk has no room for them.
    """
    import http.client  # here: few processes ever fetch anything, and all import this module
    import ssl
    import urllib.error
    import urllib.request

    destination = Path(destination)
    with disk_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            total = int(answer.headers.get('Content-Length') or 0)
            _check_room(url, destination, total, max_bytes)
            with atomic_write(destination, 'wb') as file:
                digest = _copy_body(url, answer, file, total, max_bytes)
                if sha256 and not digest.startswith(sha256.lower()):
                    raise DownloadError(f'{url}: has SHA-256 {digest}, expected {sha256}. Nothing was kept.')
                if before_publishing is not None:
                    before_publishing(digest)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ssl.SSLError,
        ValueError,
    ) as error:
        raise DownloadError(f'{url}: cannot be downloaded ({error}).') from error
    return digest


def _check_room(url: str, destination: Path, total: int, max_bytes: int) -> None:
    if total > max_bytes:
        raise _too_large(url, max_bytes)
    free = shutil.disk_usage(destination.parent).free
    if free < total:
        raise DiskError(
            f'{destination}: needs {total >> 20:,} MiB, {free >> 20:,} MiB are free. Fix: free some space, or choose '
            'another disk.'
        )


def _too_large(url: str, max_bytes: int) -> DownloadError:
    return DownloadError(
        f'{url}: sends more than {max_bytes:,} bytes; expected an archive or a checkpoint. Nothing was kept. '
        'Fix: check the address, or fetch it by hand if you trust it.'
    )


def _copy_body(url: str, answer: IO[bytes], file: IO[bytes], total: int, max_bytes: int) -> str:
    """Copy what the server sends; returns its SHA-256."""
    from rich.progress import wrap_file  # here: rich is not needed to answer a misspelt key

    digest = hashlib.sha256()
    with wrap_file(answer, total=total, description=url.rsplit('/', 1)[-1]) as body:
        while chunk := body.read(CHUNK_BYTES):
            if file.tell() + len(chunk) > max_bytes:
                raise _too_large(url, max_bytes)
            digest.update(chunk)
            file.write(chunk)
    if total and file.tell() != total:
        raise DownloadError(f'{url}: broke off after {file.tell():,} of {total:,} bytes. Fix: run again.')
    return digest.hexdigest()


def delimiter_of(table: str) -> str:
    """What stands between the cells of a CSV table, judged by its first line."""
    return max(DELIMITERS, key=''.join(table.splitlines()[:1]).count)
