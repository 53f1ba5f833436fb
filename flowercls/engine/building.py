"""A value that a class refuses when it is built is a mistake in the config, not a bug of ours."""

import contextlib
from collections.abc import Iterator

from flowercls.errors import ConfigError

# What constructors of torch, mmengine and mmpretrain raise about their arguments.
REFUSALS = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError)


@contextlib.contextmanager
def building(section: str, *more_refusals: type[Exception]) -> Iterator[None]:
    """Turn a refusal while ``section`` of a config is built into a `ConfigError` that names the section.

    Args:
        section: Dotted path in the config.
        more_refusals: Further exceptions that mean a refusal here, e.g. RuntimeError where shapes have to match.
    """
    try:
        yield
    except (*REFUSALS, *more_refusals) as error:
        said = ' '.join(str(error).split())[:400] or type(error).__name__
        raise ConfigError(f'{section}: cannot be built with these values: {said}. Fix: correct the value.') from error
