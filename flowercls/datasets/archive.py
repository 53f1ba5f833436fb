"""A raw folder from an address: fetched, checked against its digest, unpacked whole or not at all.

The archive is kept in ``<target_dir>.download/`` with its digest beside it (``sha256sum -c`` reads it). Whoever fetches
the same address again must get the same bytes, whether or not a digest was ever given by hand.
"""

import hashlib
import http.client
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowercls.datasets.unpack import unpack
from flowercls.errors import ConfigError, DataError
from flowercls.files import DownloadError, disk_errors, download, sha256_of, write_whole


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
        with write_whole(record) as file:
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
            with write_whole(_marker(target_dir)) as file:  # first: a folder without it would be refused
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
