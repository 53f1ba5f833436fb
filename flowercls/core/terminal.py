"""The command line and what is printed: letters of every language, and a terminal that may be gone.

A leaf like ``errors``, for the tools.

Sizes on disk, as a config has them and as people read them.
"""

import errno
import io
import os
import re
import select
import sys
from pathlib import Path
from typing import Any, TextIO

LAST_STANDARD = 2  # number of the last standard stream
LONGEST_WAIT_S = 5  # for a reader that is slow
_NOBODY_READS = {errno.EPIPE, errno.EIO}  # ``| head`` has read enough; the terminal was closed


def set_up_console() -> None:
    r"""Start this tool anew in Python's UTF-8 mode if need be, and let no print end it.

    A locale such as ISO-8859-1, or PYTHONUTF8=0 in the C locale, would make other texts of the same file names: the
    lists of a prepared folder would depend on it, and names that it has no letters for could not be written. What is
    printed comes out as ``\u732b`` where the terminal has no such letter. Where nobody reads it any more, or a file
    that it goes to has no room, it is lost, and the work goes on.
    """
    is_utf8 = sys.getfilesystemencoding().replace('-', '').lower() == 'utf8'
    if not (is_utf8 or sys.flags.utf8_mode):
        os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
    _open_all()
    sys.stdout, sys.stderr = map(_lasting, (sys.stdout, sys.stderr))


def _open_all() -> None:
    """Put something in the place of standard streams that are closed: a file of the run could get their number."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= LAST_STANDARD:
        os.set_inheritable(handle, True)
    os.close(handle)


def _lasting(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # a notebook's, or none
        return stream
    stream.reconfigure(errors='backslashreplace')
    if os.name != 'posix':
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_LastingFile(stream.fileno(), 'wb', closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,  # the latter with PYTHONUNBUFFERED
    )


class _LastingFile(io.FileIO):
    """Takes everything, whatever becomes of it."""

    def write(self, data: bytes) -> int | None:
        try:
            if (written := super().write(data)) is not None:
                return written
            select.select([], [self], [], LONGEST_WAIT_S)  # one that does not wait by itself, and is full
            return super().write(data) or len(data)
        except OSError as error:
            if error.errno in _NOBODY_READS:
                with Path(os.devnull).open('wb') as nowhere:
                    os.dup2(nowhere.fileno(), self.fileno())  # for what libraries print, too
            return len(data)


UNITS = {'KB': 10**3, 'MB': 10**6, 'GB': 10**9, 'TB': 10**12}
_TEXT = re.compile(rf'(\d+(?:\.\d+)?) ?({"|".join(UNITS)})', re.IGNORECASE)


def is_size(value: Any) -> bool:
    """Whether ``value`` is a size: text as ``'8GB'``, or a whole number of bytes."""
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def num_bytes(size: str | int) -> int:
    """A size in bytes.

    Example:
        >>> num_bytes('8GB'), num_bytes('1.5 MB'), num_bytes(42)
        (8000000000, 1500000, 42)
    """
    if isinstance(size, int):
        return size
    number, unit = _TEXT.fullmatch(size).groups()
    return round(float(number) * UNITS[unit.upper()])


def as_size(number: int) -> str:
    """Bytes as a reader wants them.

    Example:
        >>> as_size(710_040_000), as_size(1_234), as_size(8_000_000_000)
        ('0.71 GB', '0.00 MB', '8.00 GB')
    """
    return f'{number / 1e9:.2f} GB' if number >= 10**8 else f'{number / 1e6:.2f} MB'


def as_duration(seconds: float) -> str:
    """A time span for people: ``8 s``, ``2 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    return f'{whole // 3600} h {whole % 3600 // 60:02d} min'
