"""The folder a prepared folder grows in, next to its final place: it appears whole, under its name, or not at all.

A process that is killed cannot clear up, so the next one does. Whoever works in a staging folder holds a lock on the
marker in it, which the system releases when that process ends, however it ends.
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
from flowercls.core.files import disk_errors, sync_folder
from flowercls.data.prepare.split import TEST, TRAIN, VAL

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and so nothing is cleared
    fcntl = None

MARKER = '.preparing'
LONGEST_WITHOUT_MARKER_S = 10  # from making a folder to its marker, or from that to its name; it takes microseconds
_FILES = r'(classes\.txt|train\.txt|val\.txt|test\.txt|manifest\.json|overview\.png)'
_OURS = re.compile(rf'{_FILES}|\.{_FILES}\.\d+\.tmp|{TRAIN}|{VAL}|{TEST}|folds|{re.escape(MARKER)}')
_APPEARED = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


def is_used(folder: Path) -> bool:
    """Whether there is something that may not be written over."""
    return folder.is_dir() and any(folder.iterdir())


def refusal(out: Path) -> ConfigError:
    """What to say when the prepared folder's name is taken."""
    return ConfigError(
        f'{out}: is there already, and is not empty. Fix: choose another name, or --overwrite, '
        'which moves the folder aside and keeps it.'
    )


@contextlib.contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """A folder next to ``out``, on the same file system; whatever is left of it at the end is removed."""
    out = out.resolve()
    missing = [folder for folder in out.parents if not folder.exists()]
    staging = _free_name(out.with_name(f'.{out.name}.preparing-{os.getpid()}'))
    with contextlib.ExitStack() as held:
        try:
            # Before the photos are read: who may not write here should not wait for that.
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
        new.rename(staging / MARKER)  # only now: a marker without a lock is taken for one of a process that is dead
    else:
        file.close()
        new.unlink()
    return file


def _lock(file: IO[bytes]) -> bool:
    """Whether the lock is ours now; not if another process has it, nor where files cannot be locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, AttributeError):
        return False
    return True


def clear_leftovers(out: Path) -> tuple[str, ...]:
    """Remove staging folders of ``out`` whose process was killed; says what was removed, and what was left alone."""
    out = out.resolve()
    name = re.compile(rf'\.{re.escape(out.name)}\.preparing-\d+(-\d+)?')
    try:
        found = sorted(folder for folder in out.parent.iterdir() if name.fullmatch(folder.name))
    except OSError:  # what is wrong with the place is said when the folder is made
        return ()
    return tuple(_clear(folder) for folder in found if folder.is_dir() and not folder.is_symlink())


def _clear(folder: Path) -> str:
    left_alone = f'{folder}: in use by another run, or not made by this tool; left alone'
    removed = f'{folder}: left by a run that was killed; removed'
    try:
        entries = list(folder.iterdir())
        if _has_lost_its_process(folder, entries):
            shutil.rmtree(folder, ignore_errors=True)
            return removed
        file = (folder / MARKER).open('rb+')
    except OSError:
        return left_alone
    with file:
        if not all(_OURS.fullmatch(entry.name) for entry in entries) or not _lock(file):
            return left_alone
        shutil.rmtree(folder, ignore_errors=True)
    return removed


def _has_lost_its_process(folder: Path, entries: list[Path]) -> bool:
    """Whether its process was killed in its first or its last moment: a living one is without a marker no longer."""
    names = {entry.name for entry in entries}
    is_bare, is_finished = names <= {f'{MARKER}.new'}, 'manifest.json' in names and all(map(_OURS.fullmatch, names))
    waits = time.time() - folder.stat().st_mtime > LONGEST_WITHOUT_MARKER_S
    return waits and MARKER not in names and (is_bare or is_finished)


def publish(staging: Path, out: Path, overwrite: bool) -> Path | None:
    """Give the finished folder its name.

    Args:
        staging: The finished folder.
        out: Its name.
        overwrite: Move what has this name aside.

    Returns:
        Where the folder that had the name before is now.

    Raises:
        ConfigError: if another folder got the name meanwhile, without ``overwrite``. If it is the same folder, as when
            one command is started twice, it is taken, and ``staging`` removed.
    """
    (staging / MARKER).unlink(missing_ok=True)
    real, backup = out.resolve(), None
    if overwrite and is_used(real):
        backup = _free_name(real.with_name(f'{real.name}.bak-{time.strftime("%Y%m%d-%H%M%S")}'))
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


def _same_manifest(one: Path, other: Path) -> bool:
    """Whether both folders are the same; their manifests hold the digests of all photos and say where each is."""
    try:
        return (one / 'manifest.json').read_bytes() == (other / 'manifest.json').read_bytes()
    except OSError:
        return False


def _free_name(path: Path) -> Path:
    name, number = path, 2
    while name.exists():
        name, number = path.with_name(f'{path.name}-{number}'), number + 1
    return name
