"""Sizes on disk, as a config has them and as people read them."""

import re
from typing import Any

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
