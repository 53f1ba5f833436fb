"""Where a run lives: a folder of its own, never one that already holds a run.

One living process per run folder.
"""

import contextlib
import glob
import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config

from flowercls.config.dump import dump_config
from flowercls.core.errors import CheckpointError, ConfigError, DiskError, RunInUseError
from flowercls.core.files import atomic_write, disk_errors, sync_folder
from flowercls.core.layout import COMMAND_FILE
from flowercls.train.checkpoint_files import remove_half_written

WORK_DIRS = Path('work_dirs')


def stem_of(config_path: str | Path) -> str:
    """The name a run takes from its config; a run folder's own ``config.py`` takes the folder's name."""
    path = Path(config_path)
    return path.absolute().parent.name if path.stem == 'config' else path.stem


def new_run_folder(stem: str, work_dir: str | Path | None = None) -> Path:
    """The folder a new run goes to: ``work_dir`` if given, else ``work_dirs/<stem>``, ``<stem>-2``, ...

    Raises:
        ConfigError: if ``work_dir`` holds a run.
    """
    if work_dir is not None:
        folder = Path(work_dir)
        if holds_run(folder):
            raise ConfigError(
                f'--work-dir {folder}: holds a run, which is never written over. Fix: choose another folder, or '
                'continue that run with --resume.'
            )
        return folder
    folder, number = WORK_DIRS / stem, 1
    while os.path.lexists(folder):
        number += 1
        folder = WORK_DIRS / f'{stem}-{number}'
    return folder


def run_to_resume(stem: str, work_dir: str | Path | None = None) -> Path | None:
    """The run that ``--resume`` means: the one in ``work_dir``, else the newest of the stem; None if there is none."""
    if work_dir is not None:
        return Path(work_dir) if holds_run(Path(work_dir)) else None
    runs = [
        folder for folder in [WORK_DIRS / stem, *WORK_DIRS.glob(f'{glob.escape(stem)}-*')] if _is_run_of(folder, stem)
    ]
    return max(runs, key=lambda folder: (folder / 'config.py').stat().st_mtime_ns, default=None)


def checkpoint_to_resume(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint of a run, or None where it has not come that far; and why newer ones are not used.

    Raises:
        CheckpointError: if there are checkpoints and none can be used.
    """
    # Here, as it brings torch: names and contents of folders are asked for before a mistake in a config is answered.
    from flowercls.train.resume import newest_usable

    return newest_usable(folder)


def check_usable(checkpoint: Path) -> None:
    """Raise a `CheckpointError` unless a run can go on from ``checkpoint``."""
    from flowercls.train.checkpoint import read_checkpoint
    from flowercls.train.resume import check_resumable

    check_resumable(read_checkpoint(checkpoint), str(checkpoint))


def check_checkpoint_exists(checkpoint: str | Path) -> None:
    """Raise a `CheckpointError` unless ``checkpoint`` is a file."""
    path = Path(checkpoint)
    if not path.is_file():
        what, folder = ('is a folder', path) if path.is_dir() else ('no such checkpoint', path.parent)
        near = sorted(file.name for file in folder.glob('*.pth'))
        there = f'{folder} has {", ".join(near)}' if near else f'there is no .pth file in {folder}'
        raise CheckpointError(f'{path}: {what}; {there}. Fix: name a checkpoint of a run folder.')


@dataclass(frozen=True)
class RunPlan:
    """Where a run goes and from where it continues.

    Attributes:
        folder: The run folder.
        checkpoint: What to continue from; None starts from the beginning.
        announcement: What to tell the user first.
        numbered: Whether the folder is a new one that we chose, so that the next number would do as well.
    """

    folder: Path
    checkpoint: Path | None
    announcement: str
    numbered: bool = False


def plan_run(stem: str, work_dir: str | Path | None, resume: str | None) -> RunPlan:
    """Decide where a run goes.

    Args:
        stem: Name of the config.
        work_dir: ``--work-dir``.
        resume: None for a new run, ``'auto'``, or the path of a checkpoint.

    Raises:
        ConfigError: if ``work_dir`` holds a run and nothing is resumed, or a resumed run would be written over.
        CheckpointError: if the checkpoint named does not exist, or a run has results but no checkpoints.
    """
    if resume not in (None, 'auto'):
        check_checkpoint_exists(resume)
        check_usable(Path(resume))
        folder = Path(work_dir) if work_dir is not None else Path(resume).parent
        _check_nothing_is_written_over(folder, Path(resume))
        return RunPlan(folder, Path(resume), f'run folder: {folder} (resumed from {resume})')
    found = run_to_resume(stem, work_dir) if resume else None
    if found is None:
        folder = new_run_folder(stem, work_dir)
        announcement = f'run folder: {folder}' + (' (there was no run to resume)' if resume else '')
        return RunPlan(folder, None, announcement, numbered=work_dir is None)
    checkpoint, rejected = checkpoint_to_resume(found)
    if checkpoint is None and (found / 'metrics.json').exists():
        raise CheckpointError(
            f'{found}: has results but no checkpoint to go on from, and they are never written over. Fix: put its '
            'checkpoints back, or start a new run without --resume and with another --work-dir.'
        )
    how = f'resumed from {checkpoint.name}' if checkpoint else 'nothing was saved: from the beginning'
    lines = [f'not used: {reason}' for reason in rejected]
    return RunPlan(found, checkpoint, '\n'.join([*lines, f'run folder: {found} ({how})']))


def holds_run(folder: Path) -> bool:
    """Whether a run was started in ``folder``."""
    return (folder / 'config.py').exists() or any(folder.glob('*.pth'))


def make_folder(folder: Path) -> bool:
    """Make a folder for results, unless it is there.

    Returns:
        Whether it was made here; of several processes that try at once only one is told so.

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
def results_folder(work_dir: Path, checkpoint: Path) -> Iterator[Path]:
    """Make the folder for the results of testing ``checkpoint``: the first by its name that holds none yet.

    Made here, it goes again where the ``with`` block ends in an error and no more than a log was written.

    Raises:
        ConfigError: as `make_folder`.
        DiskError: as `make_folder`.
    """
    first = work_dir / f'test_{checkpoint.stem}'
    numbered = (first.with_name(f'{first.name}-{number}') for number in itertools.count(2))
    folder = next(folder for folder in itertools.chain([first], numbered) if not (folder / 'metrics.json').exists())
    was_made = make_folder(folder)
    try:
        yield folder
    except BaseException:
        if was_made and all(path.suffix == '.log' for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run as its pointer says, not looked into; None where there is none."""
    try:
        path = folder / Path((folder / 'last_checkpoint').read_text(encoding='utf-8')).name
    except (OSError, ValueError):
        return None
    return path if path.is_file() else None


def begin_run(
    plan: RunPlan, cfg: Config, config_path: str | Path, changed: Sequence[str] = (), command: str | None = None
) -> None:
    """Write ``config.py``, a copy of its source and ``command.txt``: from now on the folder holds a run.

    Args:
        plan: Where the run lives and what it resumes from.
        cfg: The resolved config.
        config_path: The file that it was loaded from.
        changed: Keys of the config that have other values than before; then the earlier config is kept, too.
        command: The command as typed; one line of ``command.txt`` for each start.
    """
    if plan.checkpoint and changed:
        keep_earlier_config(plan.folder, plan.checkpoint)
    write_config(plan.folder, cfg, config_path)
    if command is not None:
        path = plan.folder / COMMAND_FILE
        before = path.read_text(encoding='utf-8') if plan.checkpoint and path.is_file() else ''
        with atomic_write(path) as file:
            file.write(f'{before}{command}\n')


def write_config(folder: Path, cfg: Config, source: str | Path) -> None:
    """Write ``config.py``, resolved so that it runs by itself, and a copy of the file it came from.

    From now on the folder holds a run. The folder's own name is left out, so that running it again makes a new run.
    """
    with atomic_write(folder / 'config.py') as file:
        file.write(dump_config(cfg))
    copy = folder / f'source_{Path(source).name}'
    if not copy.exists():
        with disk_errors(copy):
            shutil.copyfile(source, copy)


def keep_earlier_config(folder: Path, checkpoint: Path) -> None:
    """Keep the ``config.py`` that a run had until ``checkpoint``, as ``config_until_<checkpoint>.py``."""
    before, kept = checkpoint.with_name('config.py'), folder / f'config_until_{checkpoint.stem}.py'
    if before.is_file() and not kept.exists():  # of the same step, the first is what it was trained with
        with atomic_write(kept) as file:
            file.write(before.read_text(encoding='utf-8'))


def _check_nothing_is_written_over(folder: Path, checkpoint: Path) -> None:
    newest, _ = checkpoint_to_resume(folder) if folder.is_dir() else (None, [])
    if newest is None or newest.samefile(checkpoint) or _stand_alike(newest, checkpoint):
        return
    raise ConfigError(
        f'--resume {checkpoint}: {folder} holds {newest.name}; going on from here would write over it. '
        'Fix: add --work-dir with a new folder, or --resume alone to go on from the newest.'
    )


def _stand_alike(one: Path, other: Path) -> bool:
    """Whether a run goes on from both at the same step: an epoch's checkpoint, and its second name as the best."""
    from flowercls.train.checkpoint import stands_at

    return one.parent.samefile(other.parent) and stands_at(one) == stands_at(other)


def _is_run_of(folder: Path, stem: str) -> bool:
    number = folder.name.removeprefix(stem).removeprefix('-')
    return (number == '' or number.isdecimal()) and (folder / 'config.py').exists()


pass


try:
    import fcntl
except ImportError:  # Windows: two starts still take two new folders, but a resume of a running run is not noticed
    fcntl = None

LOCK_FILE = '.lock'
RUN_APART = 'start a run of its own without --resume and with another --work-dir'


@contextlib.contextmanager
def claim_run_dir(stem: str, work_dir: str | Path | None, resume: str | None) -> Iterator[RunPlan]:
    """Plan a run, make its folder, and lock it for the length of the ``with`` block, in the main process for all.

    A new folder is removed if the run fails before its ``config.py`` is written.

    Args:
        stem: Name of the config.
        work_dir: ``--work-dir``.
        resume: None, ``'auto'``, or the path of a checkpoint.

    Raises:
        RunInUseError: if another living process works in the folder.
        ConfigError: if the folder holds a run that is not resumed, or cannot be made.
        CheckpointError: if the checkpoint named does not exist.
        DiskError: if the folder may not be written to.
    """
    from flowercls.core.distributed import decide_once

    with contextlib.ExitStack() as stack:
        yield decide_once(lambda: stack.enter_context(_claim_alone(stem, work_dir, resume)))


@contextlib.contextmanager
def _claim_alone(stem: str, work_dir: str | Path | None, resume: str | None) -> Iterator[RunPlan]:
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
