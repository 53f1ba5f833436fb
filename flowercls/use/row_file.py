"""A file of rows that is whole once it has its name, and that a later run can go on with.

Until then the rows are in ``<out>.partial``. ``<out>.partial.json`` records how many of its bytes count, and what was
done for them. Bytes behind these, of a process that was killed, are cut off before more are appended.
"""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Self

from flowercls.core.errors import ConfigError, DiskError, RunInUseError
from flowercls.core.files import atomic_write, disk_errors, sync_folder
from flowercls.core.layout import PARTIAL_SUFFIX, RECORD_SUFFIX

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two processes apart there
    fcntl = None

SAVED_EVERY_S = 5


def partial_of(out: Path) -> Path:
    """Return the file that holds the rows until they are complete."""
    return out.with_name(out.name + PARTIAL_SUFFIX)


def record_of(out: Path) -> Path:
    """Return the file that says what the partial file holds."""
    return out.with_name(out.name + RECORD_SUFFIX)


def check_output(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse an output that would be lost, before any work is done.

    Raises:
        ConfigError: if it exists, or rows of an interrupted run exist, and nothing says what to do with them.
    """
    if out.is_dir():
        raise ConfigError(f'--out {out}: is a folder. Fix: name a file.')
    if partial_of(out).exists():
        if not (resume or overwrite):
            raise ConfigError(
                f'--out {out}: {partial_of(out).name} holds rows of an interrupted run. Fix: the same command with '
                '--resume to go on, or --overwrite to start anew.'
            )
    elif out.exists() and not overwrite:
        why = 'is complete, there is nothing to resume' if resume else 'exists already'
        raise ConfigError(f'--out {out}: {why}. Fix: name another file, or add --overwrite.')


class RowFile:
    """A file of rows in the making, to be used in a ``with`` block; rows that were appended survive its end.

    Args:
        out: The final name; folders on the way to it are made.
        origin: What the rows depend on, as plain values by name. A run goes on only with the same. Values of names
            that begin with ``--`` are told to the user.
        resume: Whether to go on with the partial file, if there is one.

    Attributes:
        done: What was done for the rows so far, as it was given to `append`; None at the start.

    Raises:
        ConfigError: if the partial file cannot be resumed, saying why.
        DiskError: if the disk is full or may not be written to.
        RunInUseError: if another process writes the file.
    """

    def __init__(self, out: Path, origin: dict[str, Any], *, resume: bool) -> None:
        self.out, self._origin = out, origin
        self.done: dict | None = None
        self._num_bytes = 0
        partial = partial_of(out)
        with disk_errors(out):
            out.absolute().parent.mkdir(parents=True, exist_ok=True)
            resume = resume and partial.exists()
            try:
                self._file = partial.open('ab', buffering=0)
            except FileNotFoundError as error:  # a file system such as /proc
                raise DiskError(f'{out}: may not be written. Fix: choose another folder.') from error
            try:
                self._lock()
                if resume:
                    self._read_record()
                self._file.truncate(self._num_bytes)
                self.save()
            except RunInUseError:
                self._file.close()
                raise
            except BaseException:
                self._file.close() if resume else self.discard()
                raise

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunInUseError(f'{self.out}: another process writes it. Fix: wait, or name another.') from error
            except OSError:  # a file system without locks
                pass

    def _read_record(self) -> None:
        path = record_of(self.out)
        start_anew = 'Fix: --overwrite instead of --resume starts anew.'
        try:
            record = json.loads(path.read_text(encoding='utf-8'))
            origin, num_bytes, done = record['origin'], int(record['bytes']), record['done']
            changed = [key for key in {**origin, **self._origin} if origin.get(key) != self._origin.get(key)]
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise ConfigError(f'--resume: {path} cannot be read ({type(error).__name__}). {start_anew}') from error
        if changed:
            changes = [
                f'{key} was {origin.get(key)}, is {self._origin.get(key)}'
                if key.startswith('--')
                else f'the {key} changed'
                for key in changed
            ]
            raise ConfigError(f'--resume: {partial_of(self.out)} cannot be resumed: {"; ".join(changes)}. {start_anew}')
        if self._file.seek(0, os.SEEK_END) < num_bytes:
            raise ConfigError(f'--resume: {partial_of(self.out)} has lost rows since. {start_anew}')
        self._num_bytes, self.done = num_bytes, done

    def append(self, text: str, done: dict) -> None:
        """Append rows.

        Args:
            text: The rows. A half of a surrogate pair, from a file name that is no UTF-8, is written as its escape.
            done: What is done with them, as plain values.

        Raises:
            DiskError: if the disk is full.
        """
        self._num_bytes += self._write(text)
        self.done = done
        if time.monotonic() - self._saved_at > SAVED_EVERY_S:
            self.save()

    def _write(self, text: str) -> int:
        """Write a text behind all others; returns its length in bytes, which do not count yet."""
        content = text.encode('utf-8', 'backslashreplace')
        rest = memoryview(content)
        with disk_errors(self.out):
            while rest:
                rest = rest[self._file.write(rest) :]
        return len(content)

    def save(self) -> None:
        """Write down what is done, so that it outlives a power loss."""
        with disk_errors(self.out):
            os.fsync(self._file.fileno())
        with atomic_write(record_of(self.out)) as file:  # in ASCII, as names of files need not be UTF-8
            json.dump({'origin': self._origin, 'bytes': self._num_bytes, 'done': self.done}, file)
        self._saved_at = time.monotonic()

    def finish(self, end: str = '') -> None:
        """Give the file its name.

        Args:
            end: Text behind the rows. It is not recorded: a run that goes on from here writes it again.

        Raises:
            DiskError: if the disk is full or may not be written to.
        """
        self._write(end)
        with disk_errors(self.out):
            os.fsync(self._file.fileno())
            if os.name != 'posix':  # an open file cannot be renamed there; elsewhere it stays locked until it is
                self._file.close()
            partial_of(self.out).replace(self.out)
            self._file.close()
            sync_folder(self.out.absolute().parent)
            record_of(self.out).unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing."""
        self._file.close()
        for path in (partial_of(self.out), record_of(self.out)):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file.closed:
            return
        if not self._num_bytes:  # nothing to go on with
            self.discard()
            return
        # On a full disk the older record stays, and the rows that it counts.
        with contextlib.suppress(Exception):
            self._file.truncate(self._num_bytes)
            self.save()
        self._file.close()
