"""Unpacking archives of strangers: plain files and folders only, inside the target, within limits.

Both formats are read as a sequence of members, and every member passes the same checks and is written by the same
lines; links, devices and the archive's own permissions are never made.

A raw folder from an address: fetched, checked against its digest, unpacked whole or not at all.

The archive is kept in ``<target_dir>.download/`` with its digest beside it (``sha256sum -c`` reads it). Whoever fetches
the same address again must get the same bytes, whether or not a digest was ever given by hand.

Where starting weights come from: a path, a name, an address or torchvision's zoo, checked before they are used.

A path is that file. A bare name, or the name in an address, is looked for in the folder ``FLOWERCLS_WEIGHTS``, then
in torch's download cache; only then is an address downloaded. Where a file of that name is known to come from another
address, as there are many ``pytorch_model.bin``, the name gets a few digits of the address in front. A file whose
name ends in ``-<hex digits>.pth``, as those of OpenMMLab and torchvision do, must have that SHA-256; of others the
digest is noted beside them at the first download, and must stay the same.
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
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from flowercls.core.errors import CheckpointError, ConfigError, DataError
from flowercls.core.files import DownloadError, atomic_write, disk_errors, download, sha256_of

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


pass


@dataclass(frozen=True)
class FetchedArchive:
    """What `fetch_archive` brought."""

    path: Path  # the folder that holds one folder per class
    sha256: str  # of the archive, 64 hex digits
    recorded: bool  # the digest was not known before: nothing vouches for these bytes but this first download


def fetch_archive(url: str, target_dir: str | os.PathLike, sha256: str | None = None) -> FetchedArchive:
    """Bring the photos behind ``url`` to ``target_dir``; what is there already is checked and used again.

    Args:
        url: ``http://``, ``https://`` or ``file://`` address of a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip.
        target_dir: Folder to unpack into; must not hold anything else.
        sha256: Digest the archive must have, 64 hex digits. None: the digest recorded at the first download.

    Raises:
        ConfigError: if ``url`` is no address, or ``sha256`` no digest.
        DataError: if the archive cannot be fetched, has another digest, is damaged or unsafe, or holds no class
            folders. Of a refused archive nothing is kept.
        DiskError: if the disk is full or may not be written to.
    """
    target_dir = Path(target_dir)
    archive = _cache_file(url, target_dir)
    record = archive.with_name(f'{archive.name}.sha256')
    known = _checked_digest(sha256) or _recorded_digest(record)
    _check_target(target_dir)
    try:
        digest = _bring(url, archive, known, f'check the digest given, {sha256}' if sha256 else f'delete {record}')
        folder = _unpack_once(archive, target_dir, digest)
        with atomic_write(record) as file:
            file.write(f'{digest}  {archive.name}\n')
    finally:
        if archive.parent.is_dir() and not any(archive.parent.iterdir()):
            archive.parent.rmdir()
    return FetchedArchive(folder, digest, recorded=known is None)


def _cache_file(url: str, target_dir: Path) -> Path:
    try:
        parts = urlsplit(url)
    except ValueError:  # half of an IPv6 address
        parts = urlsplit('')
    if parts.scheme not in ('http', 'https', 'file'):
        raise ConfigError(f'{url}: is no address of an archive. Fix: start it with http://, https:// or file://.')
    name = re.sub(r'[^\w.-]', '_', unquote(parts.path).rsplit('/', 1)[-1])[-100:]
    # Two addresses may end in the same name; only the whole address says which bytes are meant.
    address = hashlib.sha256(url.encode()).hexdigest()[:8]
    return target_dir.with_name(f'{target_dir.name}.download') / f'{address}-{name}'


def _checked_digest(sha256: str | None) -> str | None:
    if sha256 and not re.fullmatch(r'[0-9a-fA-F]{64}', sha256):
        raise ConfigError(
            f'--sha256 {sha256}: expected 64 hex digits, this has {len(sha256)} characters. '
            'Fix: give the whole digest, as `sha256sum FILE` prints it.'
        )
    return sha256.lower() if sha256 else None


def _recorded_digest(record: Path) -> str | None:
    if not record.is_file():
        return None
    digest = record.read_text(encoding='utf-8').partition(' ')[0]
    if not re.fullmatch(r'[0-9a-f]{64}', digest):
        raise DataError(f'{record}: holds no SHA-256 digest. Fix: delete it to accept the archive as it is now.')
    return digest


def _check_target(target_dir: Path) -> None:
    if target_dir.exists() and not target_dir.is_dir():
        raise DataError(f'{target_dir}: is a file. Expected a folder to unpack into. Fix: name another one.')
    if target_dir.is_dir() and any(target_dir.iterdir()) and not _marker(target_dir).is_file():
        raise DataError(
            f'{target_dir}: holds other files. Expected an empty or new folder to unpack into. Fix: name another one, '
            'or, if these are the photos you want, prepare that folder without --download.'
        )


def _marker(target_dir: Path) -> Path:
    """Where the digest of the archive is kept that ``target_dir`` was unpacked from."""
    return target_dir.with_name(f'{target_dir.name}.download') / 'unpacked.sha256'


def _bring(url: str, archive: Path, known: str | None, fix_digest: str) -> str:
    """Download unless the right bytes are here already; the digest of what is here then."""
    if known and archive.is_file() and sha256_of(archive) == known:
        return known
    try:
        return download(url, archive, sha256=known)
    except (DownloadError, http.client.HTTPException, OSError) as error:
        said = str(error) if isinstance(error, DownloadError) else f'{url}: cannot be downloaded ({error!r}).'
        if 'SHA-256' in said:
            raise DataError(f'{said} Fix: if the new archive is known to be right, {fix_digest}.') from error
        raise DataError(said if 'Fix:' in said else f'{said} Fix: check the address and the connection.') from error


def _unpack_once(archive: Path, target_dir: Path, digest: str) -> Path:
    """Unpack, or take the folder as it is when it was unpacked from the same bytes; the folder of class folders."""
    if target_dir.is_dir() and any(target_dir.iterdir()):
        if _marker(target_dir).read_text(encoding='utf-8').strip() == digest:
            return find_class_root(target_dir)
        raise DataError(f'{target_dir}: was unpacked from another archive. Fix: remove it or name another folder.')
    try:
        return target_dir / _unpack_whole(archive, target_dir, digest)
    except DataError:
        archive.unlink()
        raise


def _unpack_whole(archive: Path, target_dir: Path, digest: str) -> Path:
    """Unpack into a staging folder and rename it; where in it the class folders are."""
    staging = target_dir.with_name(f'.{target_dir.name}.{os.getpid()}.tmp')
    shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed and had the same number
    try:
        with disk_errors(target_dir):
            unpack(archive, staging)
            inside = find_class_root(staging).relative_to(staging)
            with atomic_write(_marker(target_dir)) as file:  # first: a folder without it would be refused
                file.write(f'{digest}\n')
            if target_dir.is_dir():
                target_dir.rmdir()
            staging.replace(target_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return inside


def find_class_root(folder: Path) -> Path:
    """The folder of class folders: ``folder``, or the only folder in it as long as that one holds folders itself.

    Raises:
        DataError: if there is no folder at all.
    """
    inside = _folders(folder)
    while len(inside) == 1 and _folders(inside[0]):
        folder, inside = inside[0], _folders(inside[0])
    if not inside:
        raise DataError('The archive holds no folders. Expected one folder of photos per class. Fix: pack them so.')
    return folder


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))


WEIGHTS_VARIABLE = 'FLOWERCLS_WEIGHTS'
_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.pth$')
_SCRATCH = '`load_from=None` trains from scratch.'


def find_weights(spec: str) -> Path:
    """The checked file that ``spec`` names; downloaded if it is an address and in no place yet.

    Args:
        spec: A path, a file name, ``http://…``, ``https://…``, ``file://…``, or ``torchvision://resnet50``
            (``torchvision://resnet50.imagenet1k_v2`` for other than the first version).

    Raises:
        ConfigError: if torchvision has no such network or weights.
        CheckpointError: if there is no such file, it cannot be downloaded, or its SHA-256 is not the one
            in its name or noted beside it.
        DiskError: if a download cannot be written.
    """
    source = _torchvision_url(spec) if spec.startswith('torchvision://') else spec
    if source.startswith('file://'):
        source = url2pathname(urlsplit(source).path)
    is_address = source.startswith(('http://', 'https://'))
    name = _name_in(source) if is_address else Path(source).name
    places = [folder / name for folder in _weight_folders()]
    if is_address:
        places = [path if _may_be_of(source, path) else _own_place(source, path) for path in places]
    else:
        given = Path(source).expanduser()
        # A path that leads nowhere is a mistake, not a wish for another file of the same name.
        places = [given] if given.parent.name else [given, *places]
    for path in places:
        if path.is_file():
            _check_digest(path)
            return path
    if not is_address:
        if given.is_dir():
            raise CheckpointError(_is_folder(given))
        fix = _where_to_put(name) if len(places) > 1 else f'Fix: correct the path, or give the name alone: {name}.'
        raise CheckpointError(f'starting weights {spec} not found. {fix} {_SCRATCH}')
    return _download_checked(source, places[0])


def _is_folder(given: Path) -> str:
    there = ', '.join(sorted(path.name for path in given.glob('*.pth'))) or 'no .pth file'
    return f'starting weights {given}: is a folder, with {there}. Fix: name a file as `load_from`. {_SCRATCH}'


def _name_in(address: str) -> str:
    name = unquote(urlsplit(address).path).rsplit('/', 1)[-1]
    if not name.strip('.') or '\\' in name or '\0' in name:
        raise ConfigError(f'{address}: names no file. Fix: the full address of a file of weights.')
    return name


def _may_be_of(address: str, path: Path) -> bool:
    """Whether a file by the name in ``address`` is that one, as far as anything is known of it."""
    noted = _recorded_address(_sidecar(path))
    return hash_in_name(path.name) is not None or noted is None or noted == address


def _own_place(address: str, path: Path) -> Path:
    return path.with_name(f'{hashlib.sha256(address.encode()).hexdigest()[:8]}_{path.name}')


def hash_in_name(name: str) -> str | None:
    """The first hex digits of the SHA-256 that a file's name promises; None if it promises nothing."""
    match = _HASH_IN_NAME.search(name)
    return None if match is None or _is_date(match[1]) else match[1]


def _weight_folders() -> list[Path]:
    """Where weights are kept; a download goes to the first."""
    import torch.hub  # here: finding a file by its path needs no torch

    own = os.environ.get(WEIGHTS_VARIABLE)
    return [*([Path(own).expanduser()] if own else []), Path(torch.hub.get_dir()) / 'checkpoints']


def _download_checked(url: str, destination: Path) -> Path:
    promised, record = hash_in_name(destination.name), _sidecar(destination)
    known = promised or _recorded_digest_weight_files(record)

    def note(digest: str) -> None:  # before the weights appear: they are never there without it
        with atomic_write(record) as file:
            file.write(f'{digest}  {destination.name}\n# {url}\n')  # as sha256sum writes it, and reads it

    try:
        download(url, destination, sha256=known, before_publishing=None if promised else note)
    except DownloadError as error:
        if known and not promised and 'SHA-256' in str(error):
            raise CheckpointError(
                f'starting weights: {error} It was another file at the first download. '
                f'Fix: if the new one is known to be right, delete {record}.'
            ) from error
        raise CheckpointError(f'starting weights: {error} {_where_to_put(destination.name)} {_SCRATCH}') from error
    return destination


def _check_digest(path: Path) -> None:
    """Raise a `CheckpointError` unless the file has the digest in its name, or else the one noted beside it."""
    promised, by = hash_in_name(path.name), 'its name'
    if promised is None:
        promised, by = _recorded_digest_weight_files(_sidecar(path)), _sidecar(path).name
    if promised is None:
        return
    digest = sha256_of(path)
    if not digest.startswith(promised):
        raise CheckpointError(
            f'{path}: is damaged or another file: it has SHA-256 {digest}, {by} says {promised}. '
            'Fix: delete it and download it again.'
        )


def _recorded_digest_weight_files(record: Path) -> str | None:
    """What was noted at the first download; None where nothing was.

    Raises:
        CheckpointError: if there is a note that says nothing.
    """
    if not record.is_file():
        return None
    digest = record.read_text(encoding='utf-8', errors='replace').partition(' ')[0].strip()
    if not re.fullmatch('[0-9a-f]{64}', digest):
        raise CheckpointError(f'{record}: holds no SHA-256. Fix: delete it to accept the weights as they are now.')
    return digest


def _recorded_address(record: Path) -> str | None:
    lines = record.read_text(encoding='utf-8', errors='replace').splitlines() if record.is_file() else []
    return next((line.removeprefix('# ') for line in lines if line.startswith('# ')), None)


def _sidecar(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


def _where_to_put(name: str) -> str:
    folders = ' or '.join(str(folder) for folder in _weight_folders())
    hint = '' if os.environ.get(WEIGHTS_VARIABLE) else f' (or a folder that the variable {WEIGHTS_VARIABLE} names)'
    return f'Fix: put the file {name} into {folders}{hint}, or give its path as `load_from`.'


def _torchvision_url(spec: str) -> str:
    """Address of torchvision's weights, ``torchvision://<model>[.<version>]``; the first ImageNet version if none."""
    from torchvision.models import get_model_weights, list_models

    model, _, version = spec.removeprefix('torchvision://').partition('.')
    if model not in list_models():
        near = ', '.join(get_close_matches(model, list_models())) or 'see torchvision.models.list_models()'
        raise ConfigError(f'{spec}: torchvision has no model {model!r}. Nearest: {near}.')
    versions = get_model_weights(model).__members__
    wanted = version.upper() or ('IMAGENET1K_V1' if 'IMAGENET1K_V1' in versions else 'DEFAULT')
    if wanted not in versions:
        raise ConfigError(f'{spec}: {model} has no weights {wanted!r}, only {", ".join(versions).lower() or "none"}.')
    return versions[wanted].url


def _is_date(digits: str) -> bool:
    """Whether eight digits read as a day of this century, as in ``my_model-20260131.pth``, and not as a hash."""
    try:
        return digits.startswith('20') and bool(datetime.strptime(digits, '%Y%m%d'))
    except ValueError:
        return False
