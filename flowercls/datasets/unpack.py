"""Unpacking archives of strangers: plain files and folders only, inside the target, within limits.

Both formats are read as a sequence of members, and every member passes the same checks and is written by the same
lines; links, devices and the archive's own permissions are never made.
"""

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from flowercls.errors import DataError

MAX_MEMBERS = 200_000
MAX_BYTES = 20 << 30
MAX_RATIO = 200  # bytes out per byte in; photos are compressed already, so honest archives are near 1
RATIO_COUNTS_FROM = 100 << 20  # bytes out below which no ratio is suspicious
HEADER_BYTES = 16 << 20  # of one tar header with its long names; tarfile holds it in memory
_DAMAGED = (
    *(EOFError, UnicodeError, NotImplementedError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
)
_NAME_REFUSED = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
_COMPRESSED = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open}


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive."""

    name: str
    size: int  # bytes it says it has when unpacked
    packed_size: int | None  # bytes in the archive, where the format tells
    is_dir: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar (plain, gz, bz2, xz) or .zip into ``folder``; what it is, its content says, not its name.

    Raises:
        DataError: if it is no archive, damaged, unsafe, or beyond the limits. ``folder`` is then incomplete.
    """
    folder.mkdir(parents=True)
    try:
        if _is_tar(archive):  # first: a tar that ends with a stored zip also looks like a zip
            _write_members(_tar_members(archive), archive, folder)
        elif zipfile.is_zipfile(archive):
            _write_members(_zip_members(archive), archive, folder)
        else:
            raise DataError(
                f'{archive.name}: is neither a tar nor a zip archive, or is cut short. Fix: fetch it again.'
            )
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:  # how bz2 says that its data are damaged
            raise _damaged(archive, error) from error
        if error.errno in _NAME_REFUSED:
            raise DataError(
                f'{archive.name}: cannot write {Path(error.filename or "").name[:80]!r} ({error.strerror}). '
                'The name is there twice, or not possible on this disk. Fix: pack it anew.'
            ) from error
        raise


def _damaged(archive: Path, reason: object) -> DataError:
    return DataError(f'{archive.name}: is damaged ({reason}). Fix: fetch it again.')


def _write_members(members: Iterator[Member], archive: Path, folder: Path) -> None:
    packed, total = archive.stat().st_size, 0
    for number, member in enumerate(members, start=1):
        total += member.size
        if number > MAX_MEMBERS or total > MAX_BYTES:
            raise DataError(
                f'{archive.name}: holds more than {MAX_MEMBERS:,} files or {MAX_BYTES:,} bytes. '
                'Fix: unpack it by hand if you trust it, and prepare that folder.'
            )
        _check_ratio(archive, archive.name, total, packed)
        if member.packed_size is not None:
            _check_ratio(archive, member.name, member.size, member.packed_size)
        _check_name(archive, member.name)
        if PurePosixPath(member.name).parts[:1] != ('__MACOSX',):  # not photos: what macOS adds to its zips
            _write_member(archive, member, folder)


def _check_ratio(archive: Path, name: str, size: int, packed_size: int) -> None:
    if size > RATIO_COUNTS_FROM and size > MAX_RATIO * packed_size:
        raise DataError(
            f'{archive.name}: {name} would grow from {packed_size:,} to {size:,} bytes, more than {MAX_RATIO} times. '
            'That is no photo. Fix: do not use this archive.'
        )


def _check_name(archive: Path, name: str) -> None:
    for path in (PurePosixPath(name), PureWindowsPath(name)):  # made on one system, unpacked on another
        if path.anchor or '..' in path.parts or '\0' in name:
            raise DataError(
                f'{archive.name}: {name!r} would be written outside the target folder. Fix: do not use this archive.'
            )


def _write_member(archive: Path, member: Member, folder: Path) -> None:
    path = folder / member.name
    if member.is_dir:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open('xb') as target:
        shutil.copyfileobj(source, target)
        if target.tell() != member.size:
            raise _damaged(archive, f'{member.name} is cut short')


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _special(archive, info.filename)
            if info.flag_bits & 1:
                raise DataError(f'{archive.name}: is locked with a password. Fix: unpack it by hand.')
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f'{archive.name}: {info.filename} is packed in a rare way. Fix: unpack it by hand.')
            yield Member(
                info.filename, info.file_size, info.compress_size, info.is_dir(), lambda info=info: file.open(info)
            )


def _tar_members(archive: Path) -> Iterator[Member]:
    """Members in one pass; the stream is read to its end, where gz, bz2 and xz keep their check sums."""
    with _open_plain(archive) as plain:
        stream = _Watched(archive, plain)
        with tarfile.open(fileobj=stream, mode='r|') as file:
            while info := file.next():
                if not (info.isreg() or info.isdir()) or info.issparse() or info.size < 0:
                    raise _special(archive, info.name)
                stream.allow(info.size + HEADER_BYTES)  # for its content and the next header
                yield Member(info.name, info.size, None, info.isdir(), lambda info=info: file.extractfile(info))
            stream.drain()
            # tarfile takes a damaged header, or a cut between two files, for the end; the true end is a block of zeros.
            if stream.content_end > file.offset or stream.position < file.offset + tarfile.BLOCKSIZE:
                raise _damaged(archive, f'after {file.offset:,} bytes')


def _special(archive: Path, name: str) -> DataError:
    return DataError(
        f'{archive.name}: {name!r} is a link or a device; only files and folders are unpacked. '
        'Fix: unpack it by hand if you trust it, and prepare that folder.'
    )


def _open_plain(archive: Path) -> IO[bytes]:
    """The archive without its compression."""
    with archive.open('rb') as file:
        start = file.read(6)
    for magic, opener in _COMPRESSED.items():
        if start.startswith(magic):
            return opener(archive, 'rb')
    return archive.open('rb')


def _is_tar(archive: Path) -> bool:
    try:
        with _open_plain(archive) as plain:
            tarfile.TarInfo.frombuf(plain.read(tarfile.BLOCKSIZE), 'utf-8', 'surrogateescape')
    except tarfile.TarError:
        return False
    return True


class _Watched:
    """A stream that gives no more bytes than allowed, and knows where the last byte that is not zero was."""

    def __init__(self, archive: Path, plain: IO[bytes]):
        self._archive, self._plain = archive, plain
        self.position, self._limit = 0, HEADER_BYTES
        self.content_end = 0

    def allow(self, num_bytes: int) -> None:
        self._limit = max(self._limit, self.position + num_bytes)

    def read(self, size: int) -> bytes:
        chunk = self._plain.read(size)
        self.position += len(chunk)
        if self.position > self._limit:
            raise DataError(
                f'{self._archive.name}: has a header of more than {HEADER_BYTES:,} bytes. Fix: pack it anew.'
            )
        if content := chunk.rstrip(b'\0'):
            self.content_end = self.position - len(chunk) + len(content)
        return chunk

    def drain(self) -> None:
        self.allow(MAX_BYTES)
        while self.read(1 << 20):
            pass
