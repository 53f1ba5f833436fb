"""Where a run lives: a folder of its own, locked by the process that works in it.

Nothing heavy is imported at the top: folders are asked for before a mistake in a config is answered.
"""

import contextlib
import glob
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

from flowercls.config.dump import dump_config
from flowercls.core.errors import CheckpointError, ConfigError, DiskError, RunInUseError
from flowercls.core.files import atomic_write, disk_errors, numbered, sync_folder
from flowercls.core.layout import (
    COMMAND_FILE,
    CONFIG_FILE,
    LOCK_FILE,
    MAX_NAME_BYTES,
    METRICS_FILE,
    OLD_CONFIG_PREFIX,
    SOURCE_PREFIX,
    TEST_PREFIX,
)

if TYPE_CHECKING:
    from flowercls.train.resume import FromCheckpoint

try:
    import fcntl
except ImportError:  # Windows: two starts still take two new folders, but a resume of a running run is not noticed
    fcntl = None

WORK_DIRS = Path('work_dirs')
NEW_RUN_FIX = 'start a run of its own without --resume and with another --work-dir'
# Temporary names on the way to files of a run, each with the number of its process.
_RESULTS = (
    r'config\.py|config_until_.+\.py|source_.+|command\.txt|last_checkpoint|metrics\.json|'
    r'(predictions_\w+|mistakes)\.csv|\w+\.png|report\.html'
)
_HALF_WRITTEN = re.compile(rf'\.(((best_.+_)?epoch|iter)_\d+\.pth(\.json)?|{_RESULTS})\.\d+\.tmp')


@dataclass(frozen=True)
class RunPlan:
    """Where a run goes and what it resumes from.

    Attributes:
        folder: The run folder.
        start: The checkpoint to resume from, verified; None starts from the beginning.
        announcement: What to tell the user first.
    """

    folder: Path
    start: 'FromCheckpoint | None'
    announcement: str

    @property
    def checkpoint(self) -> Path | None:
        """The file to resume from."""
        return self.start.path if self.start else None


def stem_of(config_path: str | Path) -> str:
    """Return the name that a run takes from its config; a run folder's own ``config.py`` gives the folder's name."""
    path = Path(config_path)
    return path.absolute().parent.name if path.stem == 'config' else path.stem


@contextlib.contextmanager
def claim_run_dir(stem: str, work_dir: str | Path | None, resume: str | None) -> Iterator[RunPlan]:
    """Choose, make and lock a run folder for the length of the ``with`` block; the main process does it for all.

    A new folder is removed if the run fails before its ``config.py`` is written.

    Args:
        stem: Name of the config.
        work_dir: ``--work-dir``.
        resume: None for a new run, ``'auto'``, or the path of a checkpoint.

    Raises:
        RunInUseError: if another living process works in the folder.
        ConfigError: if the folder cannot be made, holds a run that is not resumed, or would be overwritten.
        CheckpointError: if there is nothing to resume from.
        DiskError: if the folder may not be written to.
    """
    from flowercls.core.distributed import on_main_process

    with contextlib.ExitStack() as stack:
        yield on_main_process(lambda: stack.enter_context(_claim_alone(stem, work_dir, resume)))


@contextlib.contextmanager
def _claim_alone(stem: str, work_dir: str | Path | None, resume: str | None) -> Iterator[RunPlan]:
    while True:
        folder, is_numbered = _choose_folder(stem, work_dir, resume)
        was_made = make_folder(folder)
        if was_made or not is_numbered:  # else another start was faster: take the next number
            break
    try:
        with lock_folder(folder):  # a folder that another process has locked meanwhile is not ours to remove
            try:
                yield _plan_in(folder, resume)
            finally:
                if was_made and not holds_run(folder):
                    shutil.rmtree(folder, ignore_errors=True)
    except DiskError:
        if was_made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # where the lock itself could not be written
        raise


def plan_run(stem: str, work_dir: str | Path | None, resume: str | None) -> RunPlan:
    """Decide where a run would go, without making or locking a folder.

    Args:
        stem: As in `claim_run_dir`.
        work_dir: As in `claim_run_dir`.
        resume: As in `claim_run_dir`.

    Raises:
        ConfigError: As `claim_run_dir`.
        CheckpointError: As `claim_run_dir`.
    """
    return _plan_in(_choose_folder(stem, work_dir, resume)[0], resume)


def _choose_folder(stem: str, work_dir: str | Path | None, resume: str | None) -> tuple[Path, bool]:
    """Return the folder, and whether it is a new one whose next number would do as well."""
    if resume not in (None, 'auto'):
        check_checkpoint_exists(resume)
        return Path(resume).parent if work_dir is None else Path(work_dir), False
    if resume and (run := run_to_resume(stem, work_dir)):
        return run, False
    if work_dir is not None:
        if holds_run(Path(work_dir)):
            raise _holds_a_run(Path(work_dir))
        return Path(work_dir), False
    return next(folder for folder in numbered(WORK_DIRS / stem) if not os.path.lexists(folder)), True


def _holds_a_run(folder: Path) -> ConfigError:
    return ConfigError(
        f'--work-dir {folder}: holds a run, which is never overwritten. Fix: choose another folder, or continue that '
        'run with --resume.'
    )


def _plan_in(folder: Path, resume: str | None) -> RunPlan:
    if resume is None:
        if holds_run(folder):  # begun by another process meanwhile
            raise _holds_a_run(folder)
        return RunPlan(folder, None, f'run folder: {folder}')
    from flowercls.train.resume import FromCheckpoint, check_nothing_is_overwritten, newest_usable

    if resume != 'auto':
        start = FromCheckpoint(Path(resume))
        start.read()
        check_nothing_is_overwritten(folder, start.path)
        return RunPlan(folder, start, f'run folder: {folder} (resumed from {resume})')
    if not holds_run(folder):
        return RunPlan(folder, None, f'run folder: {folder} (there was no run to resume)')
    start, rejected = newest_usable(folder)
    if start is None and (folder / METRICS_FILE).exists():
        raise CheckpointError(
            f'{folder}: has results but no checkpoint, so it cannot be resumed (results are never overwritten). Fix: '
            'put its checkpoints back, or start a new run without --resume and with another --work-dir.'
        )
    how = f'resumed from {start.path.name}' if start else 'nothing was saved: from the beginning'
    lines = [f'not used: {reason}' for reason in rejected]
    return RunPlan(folder, start, '\n'.join([*lines, f'run folder: {folder} ({how})']))


def run_to_resume(stem: str, work_dir: str | Path | None = None) -> Path | None:
    """Return the run that ``--resume`` means: the one in ``work_dir``, else the newest of the stem, else None."""
    if work_dir is not None:
        return Path(work_dir) if holds_run(Path(work_dir)) else None

    def is_run(folder: Path) -> bool:
        number = folder.name.removeprefix(stem).removeprefix('-')
        return (number == '' or number.isdecimal()) and (folder / CONFIG_FILE).exists()

    runs = filter(is_run, [WORK_DIRS / stem, *WORK_DIRS.glob(f'{glob.escape(stem)}-*')])
    return max(runs, key=lambda folder: (folder / CONFIG_FILE).stat().st_mtime_ns, default=None)


def check_checkpoint_exists(checkpoint: str | Path) -> None:
    """Raise a `CheckpointError` unless ``checkpoint`` is a file."""
    path = Path(checkpoint)
    if not path.is_file():
        what, folder = ('is a folder', path) if path.is_dir() else ('no such checkpoint', path.parent)
        near = sorted(file.name for file in folder.glob('*.pth'))
        there = f'{folder} has {", ".join(near)}' if near else f'there is no .pth file in {folder}'
        raise CheckpointError(f'{path}: {what}; {there}. Fix: name a checkpoint of a run folder.')


def holds_run(folder: Path) -> bool:
    """Return whether a run was started in ``folder``."""
    return (folder / CONFIG_FILE).exists() or any(folder.glob('*.pth'))


def begin_run(
    plan: RunPlan, cfg: Config, config_path: str | Path, changed: Sequence[str] = (), command: str | None = None
) -> None:
    """Write ``config.py``, a copy of its source and ``command.txt``: from now on the folder holds a run.

    Args:
        plan: Where the run lives and what it resumes from.
        cfg: The resolved config.
        config_path: The file that it was loaded from.
        changed: Keys of the config that have other values than before. Then the earlier config is kept, too.
        command: The command as typed; ``command.txt`` has one line for each start.
    """
    if plan.checkpoint and changed:
        before = plan.checkpoint.with_name(CONFIG_FILE)
        kept = plan.folder / f'{OLD_CONFIG_PREFIX}{plan.checkpoint.stem}.py'
        if before.is_file() and not kept.exists():  # of the same step, the first is what it was trained with
            with atomic_write(kept) as file:
                file.write(before.read_text(encoding='utf-8'))
    write_config(plan.folder, cfg, config_path)
    if command is not None:
        path = plan.folder / COMMAND_FILE
        earlier = path.read_text(encoding='utf-8') if plan.checkpoint and path.is_file() else ''
        with atomic_write(path) as file:
            file.write(f'{earlier}{command}\n')


def write_config(folder: Path, cfg: Config, source: str | Path) -> None:
    """Write ``config.py``, resolved so that it runs by itself, and a copy of the file it came from.

    The folder's own name is left out, so that running ``config.py`` again makes a new run.
    """
    with atomic_write(folder / CONFIG_FILE) as file:
        file.write(dump_config(cfg))
    copy = folder / f'{SOURCE_PREFIX}{Path(source).name}'
    if not copy.exists():
        with atomic_write(copy, 'wb') as file:
            file.write(Path(source).read_bytes())


def make_folder(folder: Path) -> bool:
    """Make a folder for results, unless it is there.

    Returns:
        Whether this call made it; of several processes that try at once only one gets True.

    Raises:
        ConfigError: if there is something else in its place.
        DiskError: if it may not be made.
    """
    if folder.is_dir():
        return False
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            for path in new:
                sync_folder(path.parent)  # else a power cut could take the run's folder with all that is in it
        return True
    except OSError as error:
        if folder.is_dir():
            return False
        raise ConfigError(f'folder {folder}: cannot be made ({error.strerror}). Fix: another place for it.') from error


@contextlib.contextmanager
def results_folder(work_dir: Path, checkpoint: Path, data: str = '') -> Iterator[Path]:
    """Make the folder for the results of testing ``checkpoint``: the first by its name that holds none yet.

    Args:
        work_dir: Where it is made.
        checkpoint: The file that is tested.
        data: Name of the folder of photos, where it is not a set of the run.

    A new folder is removed if the ``with`` block ends in an error and has written no more than a log.

    Raises:
        ConfigError: As `make_folder`.
        DiskError: As `make_folder`.
    """
    name = f'{TEST_PREFIX}{checkpoint.stem}' + (f'_{data}' if data else '')
    folders = numbered(work_dir / os.fsdecode(os.fsencode(name)[:MAX_NAME_BYTES]))
    folder = next(folder for folder in folders if not (folder / METRICS_FILE).exists())
    was_made = make_folder(folder)
    try:
        yield folder
    except BaseException:
        if was_made and all(path.suffix == '.log' for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        raise


@contextlib.contextmanager
def lock_folder(folder: Path, what: str = 'run', fix: str = NEW_RUN_FIX) -> Iterator[None]:
    """Hold the folder's lock, which the operating system releases when the process ends, however it ends.

    Args:
        folder: A folder that only one process may work on.
        what: Its kind, for the message.
        fix: What to do where another process holds the lock, for the message.

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
                for path in folder.glob('.*.tmp'):  # left by killed processes
                    if _HALF_WRITTEN.fullmatch(path.name):
                        path.unlink(missing_ok=True)
        yield


def _take(file, what: str, fix: str) -> bool:
    """Lock ``file``; return False where the system or the disk has no locks."""
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
