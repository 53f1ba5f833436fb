"""Staging folder of a preparation: the prepared folder appears complete, under its name, or not at all.

A killed process cannot clean up, so the next one does. A process that works in a staging folder holds a lock on the
marker file in it, which the system releases when the process ends, however it ends.
"""

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flowercls.core.errors import ConfigError, DiskError
from flowercls.core.files import disk_errors, numbered, sync_folder
from flowercls.core.layout import ANN_FILES, CLASSES_FILE, DATA_PREFIXES, FOLDS_DIR, MANIFEST_FILE, PREPARED_PICTURES

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and so nothing is removed
    fcntl = None

MARKER = '.preparing'
MAX_WITHOUT_MARKER_S = 10  # between folder and marker, or marker and final name; really microseconds
_FILES = '|'.join(map(re.escape, (CLASSES_FILE, *ANN_FILES.values(), MANIFEST_FILE, *PREPARED_PICTURES)))
_FOLDERS = '|'.join((*DATA_PREFIXES.values(), FOLDS_DIR))
_OURS = re.compile(rf'({_FILES})|\.({_FILES})\.\d+\.tmp|{_FOLDERS}|{re.escape(MARKER)}')
_APPEARED = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


def is_used(folder: Path) -> bool:
    """Return whether the folder holds anything, so that it must not be overwritten."""
    return folder.is_dir() and any(folder.iterdir())


def refusal(out: Path) -> ConfigError:
    """Return the error for a name that is taken."""
    return ConfigError(
        f'{out}: is there already, and is not empty. Fix: choose another name, or pass --overwrite, which moves the '
        'folder aside and keeps it.'
    )


@contextlib.contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """Make a folder next to ``out``, on the same file system; it is removed if the ``with`` block raises."""
    out = out.resolve()
    missing = [folder for folder in out.parents if not folder.exists()]
    names = numbered(out.with_name(f'.{out.name}.preparing-{os.getpid()}'))
    staging = next(name for name in names if not name.exists())
    with contextlib.ExitStack() as held:
        try:
            try:
                with disk_errors(out):
                    out.parent.mkdir(parents=True, exist_ok=True)
                    staging.mkdir()
                    held.enter_context(_hold_marker(staging))
            except OSError as error:  # in a file, in /proc, on a disk that is gone, ...
                raise DiskError(f'{out}: cannot be made ({error.strerror}). Fix: choose another folder.') from error
            yield staging
        except BaseException:  # also Ctrl-C
            shutil.rmtree(staging, ignore_errors=True)
            for folder in missing:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


def _hold_marker(staging: Path) -> IO[bytes]:
    file = (new := staging / f'{MARKER}.new').open('xb')
    if _lock(file):
        new.rename(staging / MARKER)  # only now: a marker without a lock belongs to a dead process
    else:
        file.close()
        new.unlink()
    return file


def _lock(file: IO[bytes]) -> bool:
    """Take the lock; returns False if another process has it, or files cannot be locked here."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, AttributeError):
        return False
    return True


def clear_leftovers(out: Path) -> tuple[str, ...]:
    """Remove staging folders of ``out`` whose process was killed; returns a line on each folder."""
    out = out.resolve()
    name = re.compile(rf'\.{re.escape(out.name)}\.preparing-\d+(-\d+)?')
    try:
        folders = sorted(folder for folder in out.parent.iterdir() if name.fullmatch(folder.name))
    except OSError:  # `staging_folder` reports it
        return ()
    return tuple(_clear(folder) for folder in folders if folder.is_dir() and not folder.is_symlink())


def _clear(folder: Path) -> str:
    left_alone = f'{folder}: in use by another run, or not made by prepare_data; left alone'
    with contextlib.ExitStack() as held:
        try:
            names = {entry.name for entry in folder.iterdir()}
            is_ours = all(map(_OURS.fullmatch, names))
            if MARKER in names:
                if not is_ours or not _lock(held.enter_context((folder / MARKER).open('rb+'))):
                    return left_alone
            else:
                # A process that was killed in its first or last moment; a living process soon has a marker, or is done.
                is_old = time.time() - folder.stat().st_mtime > MAX_WITHOUT_MARKER_S
                if not is_old or not (names <= {f'{MARKER}.new'} or (is_ours and MANIFEST_FILE in names)):
                    return left_alone
        except OSError:
            return left_alone
        shutil.rmtree(folder, ignore_errors=True)
    return f'{folder}: left by a killed run; removed'


def publish(staging: Path, out: Path, overwrite: bool) -> Path | None:
    """Give the finished folder its name.

    Args:
        staging: The finished folder.
        out: Its name.
        overwrite: Move a folder of that name aside.

    Returns:
        The new name of the folder that was moved aside; None if there was none.

    Raises:
        ConfigError: if another folder got the name meanwhile, without ``overwrite``. If the other folder is the same,
            as when one command is started twice, it is kept, and ``staging`` is removed.
    """
    (staging / MARKER).unlink(missing_ok=True)
    real, backup = out.resolve(), None
    if overwrite and is_used(real):
        names = numbered(real.with_name(f'{real.name}.bak-{time.strftime("%Y%m%d-%H%M%S")}'))
        backup = next(name for name in names if not name.exists())
    with disk_errors(out):
        try:
            if backup:
                real.rename(backup)
            elif real.is_dir():
                real.rmdir()
            staging.rename(real)
        except BaseException as error:
            if backup and backup.exists() and not real.exists():
                backup.rename(real)
            if getattr(error, 'errno', None) not in _APPEARED:
                raise
            if not _same_manifest(staging, real):
                raise refusal(out) from error
            shutil.rmtree(staging)
        sync_folder(real.parent)
    return backup if out.is_symlink() or not backup else out.with_name(backup.name)


def _same_manifest(first: Path, second: Path) -> bool:
    """Return whether both folders are the same: a manifest holds the path and digest of every photo."""
    try:
        return (first / MANIFEST_FILE).read_bytes() == (second / MANIFEST_FILE).read_bytes()
    except OSError:
        return False
