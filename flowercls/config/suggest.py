"""Answers to misspelt names: the nearest valid one, and all mistakes in one error."""

import difflib
import os
from collections.abc import Iterable

from flowercls.core.errors import ConfigError

# 0.8 catches one wrong, missing or swapped letter in a word of six and leaves `lr`, `bs` and `img_size` alone.
CLOSE = 0.8
LOOKALIKES = str.maketrans('I1|0', 'lllo')  # one letter in many typefaces: Ir and lr, O and 0


def nearest_name(name: str, valid: Iterable[str], cutoff: float = CLOSE) -> str | None:
    """Return the name among ``valid`` that ``name`` was probably meant to be, or None if none is near.

    Example:
        >>> nearest_name('optim_wraper', ['optim_wrapper', 'model'])
        'optim_wrapper'
        >>> nearest_name('Ir', ['lr', 'momentum'])
        'lr'
        >>> nearest_name('bs', ['model', 'resume']) is None
        True
    """
    candidates = {_normalised(candidate): candidate for candidate in sorted(valid, reverse=True)}
    near = difflib.get_close_matches(_normalised(name), candidates, n=1, cutoff=cutoff)
    return candidates[near[0]] if near else None


def did_you_mean(name: str, valid: Iterable[str], cutoff: float = 0.5) -> str:
    """Return `` (did you mean 'x'?)`` to append to a message, or nothing if no valid name is near."""
    near = nearest_name(name, valid, cutoff)
    return f" (did you mean '{near}'?)" if near else ''


def _normalised(name: str) -> str:
    return str(name).translate(LOOKALIKES).lower()


def raise_mistakes(mistakes: list[str], path: str | os.PathLike) -> None:
    """Raise one `ConfigError` with all ``mistakes`` of a file, if there are any."""
    if mistakes:
        count = '1 mistake' if len(mistakes) == 1 else f'{len(mistakes)} mistakes'
        lines = [line if line.startswith('--cfg-options') else f'{path}: {line}' for line in mistakes]
        raise ConfigError('\n  '.join([f'{count} in {path}:', *lines]))
