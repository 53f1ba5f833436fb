"""The sweep folder: where it is, who works in it, and the command that was typed."""

import contextlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowercls.config.overrides import as_options
from flowercls.core.errors import ConfigError
from flowercls.core.files import atomic_write
from flowercls.core.layout import COMMAND_FILE
from flowercls.train.run_dir import WORK_DIRS, holds_run, lock_folder, make_folder


def default_sweep_dir(sweep_file: str | Path) -> Path:
    """Return the folder of a sweep that is started without ``--work-dir``."""
    return WORK_DIRS / Path(sweep_file).stem


def check_no_run(folder: Path) -> None:
    """Raise a `ConfigError` if the folder holds a run."""
    if holds_run(folder):
        raise ConfigError(f'{folder}: holds a run, not a sweep. Fix: choose another folder with --work-dir.')


@contextlib.contextmanager
def claim_sweep_dir(folder: Path) -> Iterator[None]:
    """Make the folder, and lock it against other sweeps within the ``with`` block.

    Raises:
        ConfigError: if it holds a run, or cannot be made.
        RunInUseError: if another living process works on this sweep.
        DiskError: if the folder cannot be written to.
    """
    check_no_run(folder)
    make_folder(folder)
    with lock_folder(folder, 'sweep', 'start another sweep with another --work-dir'):
        yield


def record_command(folder: Path, sweep_file: str | Path, overrides: Mapping[str, Any]) -> None:
    """Write the command that resumes the sweep, which no trial records.

    Args:
        folder: The sweep folder.
        sweep_file: The path that the user typed.
        overrides: The values of ``--cfg-options``.

    Raises:
        DiskError: if it cannot be written.
    """
    words = ['python', 'tools/sweep.py', str(sweep_file)]
    if folder != default_sweep_dir(sweep_file):
        words += ['--work-dir', str(folder)]
    if overrides:
        words += ['--cfg-options', *as_options(overrides)]
    with atomic_write(folder / COMMAND_FILE) as file:
        file.write(f'{shlex.join(words)}\n')
