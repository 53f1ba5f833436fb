"""One living process per run folder."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from flowercls.engine.checkpoint_files import remove_half_written
from flowercls.engine.run_folder import RunPlan, holds_run, make_folder, plan_run
from flowercls.errors import DiskError, RunInUseError
from flowercls.files import disk_errors

try:
    import fcntl
except ImportError:  # Windows: two starts still take two new folders, but a resume of a running run is not noticed
    fcntl = None

LOCK_FILE = '.lock'
RUN_APART = 'start a run of its own without --resume and with another --work-dir'


@contextlib.contextmanager
def occupied_run_folder(stem: str, work_dir: str | Path | None, resume: str | None) -> Iterator[RunPlan]:
    """Plan a run, make its folder, and keep other processes out of it for the length of the ``with`` block.

    A folder made here goes again if nothing was begun in it, that is, if no ``config.py`` was written.

    Args:
        stem: As the others, see `plan_run`.
        work_dir: ``--work-dir``.
        resume: None, ``'auto'``, or the path of a checkpoint.

    Raises:
        RunInUseError: if another living process works in the folder.
        ConfigError: if the folder holds a run that is not resumed, or cannot be made.
        CheckpointError: if the checkpoint named does not exist.
        DiskError: if the folder may not be written to.
    """
    plan, was_made = _plan_and_make(stem, work_dir, resume)
    try:
        with lock_folder(plan.folder):  # a folder that another process has locked meanwhile is not ours to remove
            if not was_made:
                plan = _planned_again(plan, stem, resume)
            try:
                yield plan
            finally:
                if was_made and not holds_run(plan.folder):
                    shutil.rmtree(plan.folder, ignore_errors=True)
    except DiskError:
        if was_made:
            with contextlib.suppress(OSError):
                plan.folder.rmdir()  # where the lock itself could not be written
        raise


def _plan_and_make(stem: str, work_dir: str | Path | None, resume: str | None) -> tuple[RunPlan, bool]:
    while True:
        plan = plan_run(stem, work_dir, resume)
        was_made = make_folder(plan.folder)
        if was_made or not plan.numbered:  # else another start was faster: the next number
            return plan, was_made


def _planned_again(plan: RunPlan, stem: str, resume: str | None) -> RunPlan:
    """The plan, now that nobody else writes into its folder: meanwhile another process may have."""
    again = plan_run(stem, plan.folder, resume)
    return replace(again, numbered=plan.numbered)


@contextlib.contextmanager
def lock_folder(folder: Path, what: str = 'run', fix: str = RUN_APART) -> Iterator[None]:
    """Hold the folder's lock, which the operating system takes back when the process ends, however it ends.

    Args:
        folder: Of a run, or of what else only one process may work on.
        what: Its kind, for the message.
        fix: What to do where another process holds it, for the message.

    Raises:
        RunInUseError: if another living process holds it.
        DiskError: if the folder may not be written to.
    """
    with contextlib.ExitStack() as stack:
        with disk_errors(folder):
            file = stack.enter_context((folder / LOCK_FILE).open('a+', encoding='utf-8'))
            if _take(file, what, fix):
                file.truncate(0)
                file.write(f'process {os.getpid()}\n')
                file.flush()
                remove_half_written(folder)
        yield


def _take(file, what: str, fix: str) -> bool:
    """Lock ``file`` where that can be done."""
    if fcntl is None:
        return False
    try:
        # Not flock: loader workers would inherit it, and they outlive a killed process by seconds.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        owner = file.read().strip() or 'another process'
        raise RunInUseError(
            f'{Path(file.name).parent}: {owner} is working in this {what} folder. '
            f'Fix: wait until it has ended, or {fix}.'
        ) from error
    except OSError:
        return False  # some network disks
