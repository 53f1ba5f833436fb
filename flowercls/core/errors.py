"""Errors for users, one small tree, each with its exit code.

FlowerclsError
├── ConfigError       2  a config file, a flag or a --cfg-options value; all mistakes at once
├── DataError         3  a raw folder, a prepared folder, or one photo in it
├── CheckpointError   4  a checkpoint or starting weights: missing, damaged, of another model or other classes
├── DiskError         5  the disk is full or read-only
├── DivergedError     6  training diverged: NaN or infinite values
├── OutOfMemoryError  7  a step needs more memory than the machine has
├── RunInUseError     8  another living process uses the run folder
└── WorkerError       9  a loader worker has died

Every message says what (with the value), where, the expected value, and the fix. Any other exception is a bug of ours
and keeps its traceback (exit code 1).
"""

import re

_OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)


class FlowerclsError(Exception):
    """Base of all errors that are shown as a message instead of a traceback."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(_without_worker_traceback(message))


class ConfigError(FlowerclsError):
    """A mistake in a config file, a flag or an override."""

    exit_code = 2


class DataError(FlowerclsError):
    """A raw or prepared folder that cannot be used, or a photo in it."""

    exit_code = 3


class CheckpointError(FlowerclsError):
    """A checkpoint or starting weights that cannot be used."""

    exit_code = 4


class DiskError(FlowerclsError):
    """Writing failed: disk full, read-only, or no permission."""

    exit_code = 5


class DivergedError(FlowerclsError):
    """The loss or the weights are NaN or infinite."""

    exit_code = 6


class OutOfMemoryError(FlowerclsError):
    """A step needs more memory than the machine has."""

    exit_code = 7


class RunInUseError(FlowerclsError):
    """A run folder that another living process uses."""

    exit_code = 8


class WorkerError(FlowerclsError):
    """A loader worker has died."""

    exit_code = 9


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python or torch says that memory is short."""
    names = [cls.__name__ for cls in type(error).__mro__]  # torch's class by its name, as torch may not be there
    return 'MemoryError' in names or 'OutOfMemoryError' in names or bool(_OUT_OF_MEMORY.search(str(error)))


def _without_worker_traceback(message: str) -> str:
    # A DataLoader re-raises a worker's error with the worker's traceback as its text; only its end is for the user.
    if 'Original Traceback (most recent call last)' not in message:
        return message
    _, marker, last_error = message.rpartition('flowercls.core.errors.')
    return last_error.partition(': ')[2].strip() if marker else message
