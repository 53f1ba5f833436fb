"""A value that a class refuses when it is built is a mistake in the config, not a bug of ours."""

import contextlib
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path

from mmengine.registry.build_functions import build_from_cfg
from torchvision.transforms import v2

from flowercls.core.errors import ConfigError

LONGEST = 60  # letters of one value
PACKAGE = Path(__file__).parent.parent
# What constructors of torch, mmengine and mmpretrain raise about their arguments; the last two about huge ones.
REFUSALS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError),
    *(OverflowError, MemoryError),
)


@contextlib.contextmanager
def building(
    section: str, *more_refusals: type[Exception], fix: str = 'correct the value', about: str = ''
) -> Iterator[None]:
    """Turn a refusal while ``section`` of a config is built into a `ConfigError` that names the section.

    Args:
        section: Dotted path in the config.
        more_refusals: Further exceptions that mean a refusal here, e.g. RuntimeError where shapes have to match.
        fix: What to do about it.
        about: The values in question; found out if not given.
    """
    try:
        yield
    except (*REFUSALS, *more_refusals) as error:
        if _raised_by_us(error):
            raise
        said = ' '.join(str(error).split())[:400] or type(error).__name__
        values = about or _values_of_the_part(error)
        these = f'these values ({values})' if values else 'these values'
        raise ConfigError(f'{section}: cannot be built with {these}: {said}. Fix: {fix}.') from error


def _values_of_the_part(error: Exception) -> str:
    """The innermost part that was being built or used when it failed; nothing if none is known."""
    part = ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = frame.f_locals
        if frame.f_code is build_from_cfg.__code__ and 'obj_type' in found:
            part = shown(found['cfg'])
        elif isinstance(found.get('self'), v2.Transform):
            part = repr(found['self'])
    return part


def shown(part: dict) -> str:
    """A part of a config on one line.

    Example:
        >>> shown(dict(type='ResNet', depth=17, style='pytorch'))
        "ResNet: depth=17, style='pytorch'"
    """
    values = [f'{key}={textwrap.shorten(repr(value), LONGEST)}' for key, value in part.items() if key != 'type']
    return f'{part.get("type")}: {", ".join(values)}' if values else str(part.get('type'))


def _raised_by_us(error: Exception) -> bool:
    """Whether the line that failed is in this package: what our classes refuse is a `ConfigError` from the start."""
    frames = traceback.extract_tb(error.__traceback__)
    return Path(frames[-1].filename).is_relative_to(PACKAGE)
