"""The nearest valid name to one that is not valid."""

import difflib
from collections.abc import Iterable

# 0.8 catches one wrong, missing or swapped letter in a word of six and leaves `lr`, `bs` and `img_size` alone.
CLOSE = 0.8
LOOKALIKES = str.maketrans('I1|0', 'lllo')  # read as the same letter in many typefaces: Ir and lr, O and 0


def nearest_name(name: str, valid: Iterable[str], cutoff: float = CLOSE) -> str | None:
    """The one of ``valid`` that ``name`` was probably meant to be, or None if none is near.

    Example:
        >>> nearest_name('optim_wraper', ['optim_wrapper', 'model'])
        'optim_wrapper'
        >>> nearest_name('Ir', ['lr', 'momentum'])
        'lr'
        >>> nearest_name('bs', ['model', 'resume']) is None
        True
    """
    read_as = {_read(candidate): candidate for candidate in sorted(valid, reverse=True)}
    found = difflib.get_close_matches(_read(name), read_as, n=1, cutoff=cutoff)
    return read_as[found[0]] if found else None


def hint(name: str, valid: Iterable[str], cutoff: float = 0.5) -> str:
    """`` (did you mean 'x'?)`` to put behind a message, or nothing if no valid name is near."""
    found = nearest_name(name, valid, cutoff)
    return f" (did you mean '{found}'?)" if found else ''


def _read(name: str) -> str:
    return str(name).translate(LOOKALIKES).lower()
