"""Downloads: fetch a file, verify its SHA-256, unpack an archive of photos.

The digest of a file is recorded beside it in ``<name>.sha256``, which ``sha256sum -c`` reads. The record is written
before the file appears, and every later download of that file must have the same digest.
"""

import bz2
import errno
import gzip
import hashlib
import http.client
import lzma
import os
import re
import shutil
import stat
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO
from urllib.parse import unquote, urlsplit

from flowercls.core.errors import ConfigError, DataError, DiskError, FlowerclsError
from flowercls.core.files import atomic_write, disk_errors, sha256_of

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30  # without an answer
MAX_DOWNLOAD_BYTES = 20 << 30  # more than any archive of photos or checkpoint, less than would fill most disks
MAX_MEMBERS = 200_000
MAX_BYTES = 20 << 30  # of all members, unpacked
MAX_RATIO = 200  # unpacked bytes per packed byte; photos are compressed already, so honest archives are near 1
MIN_BYTES_FOR_RATIO = 100 << 20  # a smaller total is harmless at any ratio
MAX_HEADER_BYTES = 16 << 20  # of a tar header with its long names, which tarfile holds in memory
_DAMAGED = (
    *(EOFError, UnicodeError, NotImplementedError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
)
_NAME_REFUSED = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
_OPENERS = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open}


class DownloadError(FlowerclsError):
    """A download that failed or has the wrong digest; callers turn it into the error of their room."""


# --- one file -------------------------------------------------------------------------------------------------------


def download(url: str, destination: str | os.PathLike, sha256: str | None = None, record: bool = True) -> str:
    """Fetch ``url`` into ``destination``, which appears only when it is complete and verified.

    Args:
        url: An ``http://``, ``https://`` or ``file://`` address.
        destination: File to write; its folder is made if missing.
        sha256: Expected digest in hex, or its first digits; None expects the recorded digest, if there is one.
        record: Whether to record the digest beside the file.

    Returns:
        The full SHA-256 of the file.

    Raises:
        DownloadError: if the address cannot be reached, or the file is too large or has another digest.
        DiskError: if the file cannot be written, or the disk has no room for it.
    """
    destination = Path(destination)
    expected = sha256 or recorded_digest(destination)
    try:
        with disk_errors(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            total = int(response.headers.get('Content-Length') or 0)
            if total > MAX_DOWNLOAD_BYTES:
                raise _too_large(url)
            free = shutil.disk_usage(destination.parent).free
            if free < total:
                raise DiskError(
                    f'{destination}: needs {total >> 20:,} MiB, {free >> 20:,} MiB are free. Fix: free some space, or '
                    'choose another disk.'
                )
            with atomic_write(destination, 'wb') as file:
                digest = _copy_body(url, response, file, total)
                if expected and not digest.startswith(expected.lower()):
                    fix = 'check the address and the expected digest'
                    if sha256 is None:
                        fix = f'if the new file is known to be right, delete {digest_file(destination)}'
                    was_recorded = '' if sha256 else ', as it was another file at the first download'
                    raise DownloadError(
                        f'{url}: has SHA-256 {digest}, expected {expected}{was_recorded}. Nothing was kept. Fix: {fix}.'
                    )
                if record:
                    with atomic_write(digest_file(destination)) as note:
                        note.write(f'{digest}  {destination.name}\n# {url}\n')
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(
            f'{url}: cannot be downloaded ({error or type(error).__name__}). Fix: check the address and the connection.'
        ) from error
    return digest


def _copy_body(url: str, response: IO[bytes], file: IO[bytes], total: int) -> str:
    """Copy the body of a response; returns its SHA-256."""
    from rich.progress import wrap_file  # here: slow to import

    digest = hashlib.sha256()
    with wrap_file(response, total=total, description=url.rsplit('/', 1)[-1]) as body:
        while chunk := body.read(CHUNK_BYTES):
            if file.tell() + len(chunk) > MAX_DOWNLOAD_BYTES:
                raise _too_large(url)
            digest.update(chunk)
            file.write(chunk)
    if total and file.tell() != total:
        raise DownloadError(f'{url}: broke off after {file.tell():,} of {total:,} bytes. Fix: run again.')
    return digest.hexdigest()


def _too_large(url: str) -> DownloadError:
    return DownloadError(
        f'{url}: sends more than {MAX_DOWNLOAD_BYTES:,} bytes; expected an archive or a checkpoint. Nothing was kept. '
        'Fix: check the address, or download the file by hand if you trust it.'
    )


def digest_file(path: Path) -> Path:
    """Return the file in which the digest of ``path`` is recorded."""
    return path.with_name(f'{path.name}.sha256')


def recorded_digest(path: Path) -> str | None:
    """Return the SHA-256 recorded for ``path``, None without a record.

    Raises:
        DownloadError: if the record holds no digest.
    """
    record = digest_file(path)
    if not record.is_file():
        return None
    digest = record.read_text(encoding='utf-8', errors='replace').partition(' ')[0].strip()
    if not re.fullmatch('[0-9a-f]{64}', digest):
        raise DownloadError(f'{record}: holds no SHA-256. Fix: delete it to accept the file as it is now.')
    return digest


def recorded_url(path: Path) -> str | None:
    """Return the address that ``path`` was downloaded from, None if it is not recorded."""
    record = digest_file(path)
    lines = record.read_text(encoding='utf-8', errors='replace').splitlines() if record.is_file() else []
    return next((line.removeprefix('# ') for line in lines if line.startswith('# ')), None)


# --- an archive of photos -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FetchedArchive:
    """The result of `fetch_archive`."""

    path: Path  # the folder that holds one folder per class
    sha256: str  # of the archive, 64 hex digits
    recorded: bool  # whether the digest was unknown before, so that only this first download vouches for the bytes


def fetch_archive(url: str, target_dir: str | os.PathLike, sha256: str | None = None) -> FetchedArchive:
    """Download an archive of photos and unpack it; an archive that is here already is verified and used again.

    The archive is kept in ``<target_dir>.download/``. It is unpacked completely or not at all.

    Args:
        url: ``http://``, ``https://`` or ``file://`` address of a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip.
        target_dir: Folder to unpack into; must not hold anything else.
        sha256: Expected digest of the archive, 64 hex digits; None expects the recorded digest, if there is one.

    Raises:
        ConfigError: if ``url`` is not an address, or ``sha256`` not a digest.
        DataError: if the archive cannot be downloaded, has another digest, is damaged or unsafe, or holds no class
            folders. Nothing is kept of a refused archive.
        DiskError: if the disk is full or read-only.
    """
    target_dir = Path(target_dir)
    cache_dir = target_dir.with_name(f'{target_dir.name}.download')
    archive = cache_dir / _cache_name(url)
    if sha256 and not re.fullmatch(r'[0-9a-fA-F]{64}', sha256):
        raise ConfigError(
            f'--sha256 {sha256}: expected 64 hex digits, this has {len(sha256)} characters. '
            'Fix: give the whole digest, as `sha256sum FILE` prints it.'
        )
    marker = cache_dir / 'unpacked.sha256'  # the digest of the archive that target_dir was unpacked from
    if target_dir.exists() and not target_dir.is_dir():
        raise DataError(f'{target_dir}: is a file. Expected a folder to unpack into. Fix: name another folder.')
    is_unpacked = target_dir.is_dir() and any(target_dir.iterdir())
    if is_unpacked and not marker.is_file():
        raise DataError(
            f'{target_dir}: holds other files. Expected an empty or new folder to unpack into. Fix: name another '
            'folder, or, if these are the photos you want, prepare this folder without --download.'
        )
    try:
        known = sha256.lower() if sha256 else recorded_digest(archive)
        if known is None or not archive.is_file() or sha256_of(archive) != known:
            digest = download(url, archive, sha256)
        else:
            digest = known
        if is_unpacked and marker.read_text(encoding='utf-8').strip() != digest:
            raise DataError(f'{target_dir}: was unpacked from another archive. Fix: remove it or name another folder.')
        if not is_unpacked:
            _unpack_once(archive, target_dir, marker, digest)
        return FetchedArchive(find_class_root(target_dir), digest, recorded=known is None)
    except DownloadError as error:
        raise DataError(str(error)) from error
    finally:
        if cache_dir.is_dir() and not any(cache_dir.iterdir()):
            cache_dir.rmdir()


def _cache_name(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # half of an IPv6 address
        parts = urlsplit('')
    if parts.scheme not in ('http', 'https', 'file'):
        raise ConfigError(f'{url}: is not the address of an archive. Fix: start it with http://, https:// or file://.')
    name = re.sub(r'[^\w.-]', '_', unquote(parts.path).rsplit('/', 1)[-1])[-100:]
    # Two addresses may end in the same name, so the name begins with a hash of the whole address.
    return f'{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}'


def _unpack_once(archive: Path, target_dir: Path, marker: Path, digest: str) -> None:
    """Unpack into a staging folder and rename it; a refused archive is removed."""
    staging = target_dir.with_name(f'.{target_dir.name}.{os.getpid()}.tmp')
    shutil.rmtree(staging, ignore_errors=True)  # left by a killed process of the same number
    try:
        with disk_errors(target_dir):
            unpack(archive, staging)
            find_class_root(staging)
            with atomic_write(marker) as file:  # first: a folder without a marker would be refused
                file.write(f'{digest}\n')
            try:
                if target_dir.is_dir():
                    target_dir.rmdir()
                staging.replace(target_dir)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                raise ConfigError(
                    f'{target_dir}: was unpacked by another process meanwhile. Fix: run again when that has ended.'
                ) from error
    except DataError:
        archive.unlink()
        digest_file(archive).unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def find_class_root(folder: Path) -> Path:
    """Return the folder of class folders: ``folder``, or the innermost folder that is alone and holds folders.

    Raises:
        DataError: if there is no folder at all.
    """

    def folders_in(parent: Path) -> list[Path]:
        return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith('.'))

    inner = folders_in(folder)
    while len(inner) == 1 and folders_in(inner[0]):
        folder, inner = inner[0], folders_in(inner[0])
    if not inner:
        raise DataError('The archive holds no folders. Expected one folder of photos per class. Fix: pack them so.')
    return folder


# --- unpacking: only plain files and folders, only inside the target folder, only up to the limits --------------------


@dataclass(frozen=True)
class _Member:
    """One file or folder of an archive."""

    name: str
    size: int  # claimed bytes, unpacked
    packed_size: int  # bytes in the archive; of a tar, of the whole archive
    is_dir: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar (plain, gz, bz2, xz) or .zip, recognised by its content, into the new ``folder``.

    Raises:
        DataError: if the file is not an archive, damaged, unsafe, or beyond the limits. ``folder`` is then incomplete.
    """
    folder.mkdir(parents=True)
    try:
        if _is_tar(archive):  # first: a tar that ends with a stored zip also looks like a zip
            members = _tar_members(archive)
        elif zipfile.is_zipfile(archive):
            members = _zip_members(archive)
        else:
            raise DataError(
                f'{archive.name}: is neither a tar nor a zip archive, or is cut short. Fix: download it again.'
            )
        total = 0
        for number, member in enumerate(members, start=1):
            total += member.size
            _check_member(archive, member, number, total)
            if PurePosixPath(member.name).parts[:1] != ('__MACOSX',):  # no photos: macOS adds it to its zips
                _write_member(archive, member, folder)
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:  # bz2 reports damaged data so
            raise _damaged(archive, error) from error
        if error.errno in _NAME_REFUSED:
            raise DataError(
                f'{archive.name}: cannot write {Path(error.filename or "").name[:80]!r} ({error.strerror}). '
                'The name is there twice, or not possible on this disk. Fix: pack it anew.'
            ) from error
        raise


def _check_member(archive: Path, member: _Member, number: int, total: int) -> None:
    if number > MAX_MEMBERS or total > MAX_BYTES:
        raise DataError(
            f'{archive.name}: holds more than {MAX_MEMBERS:,} files or {MAX_BYTES:,} bytes. '
            'Fix: unpack it by hand if you trust it, and prepare that folder.'
        )
    sizes = ((archive.name, total, archive.stat().st_size), (member.name, member.size, member.packed_size))
    for name, size, packed_size in sizes:
        if size > MIN_BYTES_FOR_RATIO and size > MAX_RATIO * packed_size:
            raise DataError(
                f'{archive.name}: {name} would grow from {packed_size:,} to {size:,} bytes, more than {MAX_RATIO} '
                'times. No photo does. Fix: do not use this archive.'
            )
    for path in (PurePosixPath(member.name), PureWindowsPath(member.name)):  # packed on one system, unpacked on another
        if path.anchor or '..' in path.parts or '\0' in member.name:
            raise DataError(
                f'{archive.name}: {member.name!r} would be written outside the target folder. '
                'Fix: do not use this archive.'
            )


def _write_member(archive: Path, member: _Member, folder: Path) -> None:
    path = folder / member.name
    if member.is_dir:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open('xb') as target:
        shutil.copyfileobj(source, target)
        if target.tell() != member.size:
            raise _damaged(archive, f'{member.name} is cut short')


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _special(archive, info.filename)
            if info.flag_bits & 1:
                raise DataError(f'{archive.name}: is locked with a password. Fix: unpack it by hand.')
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(
                    f'{archive.name}: {info.filename} has an unsupported compression. Fix: unpack it by hand.'
                )
            size, packed_size = info.file_size, info.compress_size
            yield _Member(info.filename, size, packed_size, info.filename.endswith('/'), partial(file.open, info))


def _tar_members(archive: Path) -> Iterator[_Member]:
    """Yield members in one pass; the stream is read to its end, where gz, bz2 and xz keep their checksums."""
    packed_size = archive.stat().st_size
    with _open_tar(archive) as plain:
        stream = _BoundedStream(archive, plain)
        with tarfile.open(fileobj=stream, mode='r|') as file:
            while info := file.next():
                if not (info.isreg() or info.isdir()) or info.issparse() or info.size < 0:
                    raise _special(archive, info.name)
                stream.limit = stream.position + info.size + MAX_HEADER_BYTES  # its content and the next header
                yield _Member(info.name, info.size, packed_size, info.isdir(), partial(file.extractfile, info))
            stream.limit = stream.position + MAX_BYTES
            while stream.read(CHUNK_BYTES):
                pass
            # tarfile takes a damaged header, or a cut between two files, for the end; the true end is a block of zeros.
            if stream.content_end > file.offset or stream.position < file.offset + tarfile.BLOCKSIZE:
                raise _damaged(archive, f'after {file.offset:,} bytes')


class _BoundedStream:
    """A stream that ends in an error at its limit, and knows where its last byte other than zero was."""

    def __init__(self, archive: Path, plain: IO[bytes]) -> None:
        self._archive, self._plain = archive, plain
        self.position, self.limit, self.content_end = 0, MAX_HEADER_BYTES, 0

    def read(self, size: int) -> bytes:
        chunk = self._plain.read(size)
        self.position += len(chunk)
        if self.position > self.limit:
            raise DataError(
                f'{self._archive.name}: has a header of more than {MAX_HEADER_BYTES:,} bytes. Fix: pack it anew.'
            )
        if content := chunk.rstrip(b'\0'):
            self.content_end = self.position - len(chunk) + len(content)
        return chunk


def _open_tar(archive: Path) -> IO[bytes]:
    """Open the archive without its compression."""
    with archive.open('rb') as file:
        start = file.read(6)
    return next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), open)(archive, 'rb')


def _is_tar(archive: Path) -> bool:
    try:
        with _open_tar(archive) as plain:
            tarfile.TarInfo.frombuf(plain.read(tarfile.BLOCKSIZE), 'utf-8', 'surrogateescape')
    except tarfile.TarError:
        return False
    return True


def _damaged(archive: Path, reason: object) -> DataError:
    return DataError(f'{archive.name}: is damaged ({reason}). Fix: download it again.')


def _special(archive: Path, name: str) -> DataError:
    return DataError(
        f'{archive.name}: {name!r} is a link or a device; only files and folders are unpacked. '
        'Fix: unpack it by hand if you trust it, and prepare that folder.'
    )
