"""A sweep's folder, and what is said about it."""

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowercls.config.overrides import as_options
from flowercls.core.errors import ConfigError, FlowerclsError
from flowercls.core.files import atomic_write
from flowercls.sweep.display import results_table
from flowercls.sweep.doubtful_labels import DoubtfulLabels
from flowercls.sweep.folds import OutOfFold
from flowercls.sweep.ledger import FAILED, Ledger
from flowercls.sweep.scheduler import Progress, plan_trials, shown_path
from flowercls.sweep.stale import notes_of_others
from flowercls.sweep.trials import Trial
from flowercls.train.run_dir import WORK_DIRS, holds_run, lock_folder, make_folder

LEDGER_FILE, COMMAND_FILE = 'ledger.jsonl', 'command.txt'
SOME_FAILED = 9  # exit code: the sweep is done, and a trial died


@dataclass(frozen=True)
class SweepReport:
    """How a sweep ended.

    Attributes:
        text: The last block to show.
        exit_code: 0, or 9 if a trial failed.
    """

    text: str
    exit_code: int = 0

    def __str__(self) -> str:
        return self.text


def run_folder_of(sweep_file: str | Path) -> Path:
    """Where a sweep goes unless it is told otherwise."""
    return WORK_DIRS / Path(sweep_file).stem


@contextlib.contextmanager
def occupied_sweep_folder(folder: Path) -> Iterator[None]:
    """Make the folder and keep other sweeps out of it for the length of the ``with`` block.

    Raises:
        ConfigError: if there is a run in it, or it cannot be made.
        RunInUseError: if another living process works on this sweep.
        DiskError: if the folder may not be written to.
    """
    _check_no_run(folder)
    make_folder(folder)
    with lock_folder(folder, 'sweep', 'start a sweep of its own with another --work-dir'):
        yield


def record_command(folder: Path, sweep_file: str | Path, overrides: Mapping[str, Any]) -> None:
    """Write down what was typed to work in this folder; no trial says it.

    Args:
        folder: Of the sweep.
        sweep_file: As it was named.
        overrides: Of ``--cfg-options``.

    Raises:
        DiskError: if it cannot be written.
    """
    words = ['python', 'tools/sweep.py', str(sweep_file)]
    words += ['--work-dir', str(folder)] * (folder != run_folder_of(sweep_file))
    words += ['--cfg-options', *as_options(overrides)] * bool(overrides)
    with atomic_write(folder / COMMAND_FILE) as file:
        file.write(f'{shlex.join(words)}\n')


def _check_no_run(folder: Path) -> None:
    if holds_run(folder):
        raise ConfigError(f'{folder}: holds a run, not a sweep. Fix: choose another folder with --work-dir.')


def list_trials(trials: list[Trial], folder: Path, *, retry_failed: bool = False) -> str:
    """What a sweep would do: each trial with what is known of it."""
    _check_no_run(folder)
    ledger = Ledger(folder / LEDGER_FILE)
    all_progress = plan_trials(trials, folder, ledger, retry_failed=retry_failed)
    width = max(len(progress.folder.name) for progress in all_progress)
    lines = [f'{progress.folder.name.ljust(width)}  {_plan_of(progress)}' for progress in all_progress]
    ending = f'dry run: {len(trials)} trials, their configs checked, nothing written'
    return '\n'.join(filter(None, [*notes_of_others(all_progress, ledger, folder), *lines, ending]))


def _plan_of(progress: Progress) -> str:
    if progress.state != 'waiting':
        return progress.state
    return 'to go on with' if progress.can_go_on else 'to run'


def _failures(failed: Sequence[Progress]) -> list[str]:
    """Each reason once, with all that it stopped."""
    reasons: dict[str | None, list[str]] = {}
    for progress in failed:
        reasons.setdefault(progress.error, []).append(progress.folder.name)
    return [f'failed: {", ".join(names)}: {error}' for error, names in reasons.items()]


def describe_sweep(
    all_progress: list[Progress],
    folder: Path,
    compared: str = '',
    out_of_fold: Sequence[OutOfFold] = (),
    doubtful: DoubtfulLabels | None = None,
    mistakes: Sequence[FlowerclsError] = (),
    notes: Sequence[str] = (),
    report: Path | None = None,
) -> SweepReport:
    """The last block: the results, what failed and why, and where things are.

    Args:
        all_progress: Of all trials.
        folder: Of the sweep.
        compared: The comparison of the trials, or why there is none.
        out_of_fold: The predictions of a sweep over folds.
        doubtful: The labels that these make doubtful.
        mistakes: What kept the trials from being compared, or their folds from being joined.
        notes: Lines about the predictions of folds.
        report: The page that shows all of it.
    """
    lines = [results_table(all_progress), ''] + [compared, ''] * bool(compared)
    lines += [f'out of fold: top-1 {found.top1:.2f} %, {shown_path(found.path)}' for found in out_of_fold]
    lines += notes
    lines += doubtful.describe() if doubtful else []
    failed = [progress for progress in all_progress if progress.state == FAILED]
    lines += _failures(failed)
    lines += ['try these again with --retry-failed'] * bool(failed)
    lines += [f'report: {shown_path(path)}' for path in [report] if path]
    lines += [f'sweep folder: {shown_path(folder)}']
    return SweepReport('\n'.join(lines), SOME_FAILED if failed else mistakes[0].exit_code if mistakes else 0)
