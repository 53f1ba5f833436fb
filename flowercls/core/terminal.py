"""Terminal: output that survives a closed terminal; sizes, durations, points and tables as people write them."""

import errno
import io
import os
import re
import select
import shlex
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

MAX_STANDARD_STREAM = 2  # stderr
MAX_WAIT_S = 5  # for a slow reader
FALSE_ALARMS = (
    'Fail to import ``MultiScaleDeformableAttention``',  # mmcv-lite lacks one operator; none of our models needs it
    'In MMCV v1.4.4, we modified the default value of args',  # MobileNetV3: for users of older versions
    'Detected call of `scheduler.step\\(\\)`',  # with accumulated batches, before the first of them is complete
)
_NOBODY_READS = {errno.EPIPE, errno.EIO}  # ``| head`` has ended; the terminal was closed


def silence_false_alarms() -> None:
    """Silence warnings of libraries that mean nothing here; called before these are imported."""
    for message in FALSE_ALARMS:
        warnings.filterwarnings('ignore', message=message)


def set_up_console() -> None:
    r"""Restart this tool in Python's UTF-8 mode if need be, and let no failed print end it.

    In a locale such as ISO-8859-1 the same file names would become other texts: the lists of a prepared folder would
    depend on the locale, and some names could not be written. A letter that the terminal cannot show is printed as
    ``\u732b``. Output that cannot be written (closed terminal, full disk) is dropped, and the work goes on.
    """
    is_utf8 = sys.getfilesystemencoding().replace('-', '').lower() == 'utf8'
    if not (is_utf8 or sys.flags.utf8_mode):
        os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
    # Open standard streams that are closed: else a file of the run could get their number.
    while (handle := os.open(os.devnull, os.O_RDWR)) <= MAX_STANDARD_STREAM:
        os.set_inheritable(handle, True)
    os.close(handle)
    sys.stdout, sys.stderr = map(_lasting, (sys.stdout, sys.stderr))
    silence_false_alarms()


def tool_command(verb: str, *words: object) -> str:
    """Return a command to paste: ``python tools/<verb>.py`` in a checkout, elsewhere ``flowercls <verb>``.

    Args:
        verb: Such as ``'train'``.
        words: Its arguments, not quoted yet.
    """
    tool = f'tools/{"prepare_data" if verb == "prepare" else verb}.py'
    program = ['python', tool] if Path(tool).is_file() else ['flowercls', verb]
    return shlex.join([*program, *map(str, words)])


def _lasting(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # in a notebook, or without a console
        return stream
    stream.reconfigure(errors='backslashreplace')
    if os.name != 'posix':
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_LastingFile(stream.fileno(), 'wb', closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,  # write_through with PYTHONUNBUFFERED
    )


class _LastingFile(io.FileIO):
    """A file whose writes never fail: data that cannot be written are dropped."""

    def write(self, data: bytes) -> int | None:
        try:
            if (written := super().write(data)) is not None:
                return written
            select.select([], [self], [], MAX_WAIT_S)  # non-blocking and full
            return super().write(data) or len(data)
        except OSError as error:
            if error.errno in _NOBODY_READS:
                with Path(os.devnull).open('wb') as nowhere:
                    os.dup2(nowhere.fileno(), self.fileno())  # also for the output of libraries
            return len(data)


UNITS = {'KB': 10**3, 'MB': 10**6, 'GB': 10**9, 'TB': 10**12}
_TEXT = re.compile(rf'(\d+(?:\.\d+)?) ?({"|".join(UNITS)})', re.IGNORECASE)


def is_size(value: Any) -> bool:
    """Return whether ``value`` is a size: text such as ``'8GB'``, or a whole number of bytes."""
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def num_bytes(size: str | int) -> int:
    """Return a size in bytes.

    Example:
        >>> num_bytes('8GB'), num_bytes('1.5 MB'), num_bytes(42)
        (8000000000, 1500000, 42)
    """
    if isinstance(size, int):
        return size
    number, unit = _TEXT.fullmatch(size).groups()
    return round(float(number) * UNITS[unit.upper()])


def as_size(number: int) -> str:
    """Return bytes for people, in kB, MB or GB.

    Example:
        >>> as_size(710_040_000), as_size(1_234), as_size(8_000_000_000)
        ('0.71 GB', '1.2 kB', '8.00 GB')
    """
    if number < 10**5:
        return f'{number / 1e3:.1f} kB'
    return f'{number / 1e9:.2f} GB' if number >= 10**8 else f'{number / 1e6:.2f} MB'


def as_duration(seconds: float) -> str:
    """Return a duration for people: ``8 s``, ``2 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    return f'{whole // 3600} h {whole % 3600 // 60:02d} min'


def number_of_points(points: float) -> str:
    """Return a whole or broken number of percentage points: ``1 point``, ``0.5 points``."""
    return f'{points:g} point{"s" * (points != 1)}'


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned, so that a terminal shows it, too."""
    lines = [[cell.replace('|', '/') for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ['-' * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return '\n'.join(f'| {" | ".join(line)} |' for line in padded)


def printable(text: str) -> str:
    r"""Return a name that can neither break a line nor steer a terminal: control characters are escaped.

    Example:
        >>> printable('two\nlines')
        'two\\nlines'
    """
    return ''.join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shortened(text: str, length: int) -> str:
    """Return at most ``length`` letters of a name: its beginning and end, as files of one camera differ at the end."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f'{text[: length - 1 - tail]}…{text[-tail:]}'


def listed(names: Iterable[str], number: int = 10) -> str:
    """Return names with commas: the first ``number`` of them, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - number:,} more' if len(names) > number else ''
    return ', '.join(names[:number]) + more


def next_steps(steps: dict[str, str]) -> str:
    """Return a line on each step: a file or a command, ready to paste, and its purpose."""
    width = max(map(len, steps))
    return '\n'.join(f'next        {step:<{width}}  # {purpose}' for step, purpose in steps.items())
