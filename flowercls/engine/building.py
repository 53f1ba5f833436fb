"""A value that a class refuses when it is built is a mistake in the config, not a bug of ours."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from flowercls.errors import ConfigError

PACKAGE = Path(__file__).parent.parent
# What constructors of torch, mmengine and mmpretrain raise about their arguments.
REFUSALS = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError)


@contextlib.contextmanager
def building(section: str, *more_refusals: type[Exception], fix: str = 'correct the value') -> Iterator[None]:
    """Turn a refusal while ``section`` of a config is built into a `ConfigError` that names the section.

    Args:
        section: Dotted path in the config.
        more_refusals: Further exceptions that mean a refusal here, e.g. RuntimeError where shapes have to match.
        fix: What to do about it.
    """
    try:
        yield
    except (*REFUSALS, *more_refusals) as error:
        if _raised_by_us(error):
            raise
        said = ' '.join(str(error).split())[:400] or type(error).__name__
        raise ConfigError(f'{section}: cannot be built with these values: {said}. Fix: {fix}.') from error


def _raised_by_us(error: Exception) -> bool:
    """Whether the line that failed is in this package: what our classes refuse is a `ConfigError` from the start."""
    frames = traceback.extract_tb(error.__traceback__)
    return Path(frames[-1].filename).is_relative_to(PACKAGE)
