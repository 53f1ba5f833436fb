"""A sweep, from its file to its finished trials. Start reading here."""

import contextlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercls.config.overrides import Overrides, as_options, parse_overrides
from flowercls.core.errors import ConfigError, FlowerclsError
from flowercls.core.files import atomic_write
from flowercls.core.layout import COMMAND_FILE, LEDGER_FILE
from flowercls.core.terminal import tool_command
from flowercls.sweep.display import Display, describe_plan
from flowercls.sweep.launcher import Launcher
from flowercls.sweep.ledger import Ledger
from flowercls.sweep.scheduler import TrialScheduler, TrialState, plan_trials
from flowercls.sweep.spec import SweepSpec, read_spec
from flowercls.sweep.stale import describe_stale_trials
from flowercls.sweep.trials import Trial, make_trials
from flowercls.train.run_dir import WORK_DIRS, holds_run, lock_folder, make_folder

if TYPE_CHECKING:  # imports scipy
    from flowercls.sweep.doubtful_labels import DoubtfulLabels
    from flowercls.sweep.folds import OutOfFold


@dataclass(frozen=True)
class SweepPlan:
    """A checked sweep.

    Attributes:
        spec: Content of the sweep file.
        overrides: More values for all trials by dotted key.
        trials: All trials, with their resolved configs.
        folder: The sweep folder.
        trust_checkpoint: Whether trials may open starting weights with pickle.
    """

    spec: SweepSpec
    overrides: Mapping[str, Any]
    trials: Sequence[Trial]
    folder: Path
    trust_checkpoint: bool = False


@dataclass(frozen=True)
class SweepResult:
    """The end of a sweep.

    Attributes:
        folder: The sweep folder.
        states: The states of all trials.
        out_of_fold: The joined predictions of a sweep over folds.
        doubtful: The labels that these predictions contradict.
        notes: Lines about the folds.
        error: Why the folds could not be joined.
    """

    folder: Path
    states: Sequence[TrialState]
    out_of_fold: Sequence['OutOfFold'] = ()
    doubtful: 'DoubtfulLabels | None' = None
    notes: Sequence[str] = ()
    error: FlowerclsError | None = None


def plan_sweep(
    sweep_file: str | Path,
    work_dir: str | Path | None = None,
    overrides: Overrides = (),
    *,
    dry_run: bool = False,
    trust_checkpoint: bool = False,
) -> SweepPlan:
    """Read a sweep file, and check the config of every trial.

    Args:
        sweep_file: Path of the sweep file.
        work_dir: The sweep folder; the default is ``work_dirs/<name of the file>``.
        overrides: Values for all trials, as ``--cfg-options``.
        dry_run: Whether to draw the demo's flowers into a temporary folder if they are needed.
        trust_checkpoint: As in `SweepPlan`.

    Raises:
        ConfigError: naming the mistakes in the sweep file and in the configs of all settings.
        DataError: if a prepared folder is missing.
    """
    # 1. Read the sweep file. Its own mistakes cost no imports.
    spec = read_spec(sweep_file)
    overrides = parse_overrides(overrides)

    # 2. Every setting with every seed: the mistakes of all configs are found before anything is written.
    settings, seeds = math.prod(map(len, spec.factors)), len(spec.seeds)
    size = f'{settings} setting{"s" * (settings > 1)} with {seeds} seed{"s" * (seeds > 1)}'
    print(f'{sweep_file}: checking its {size}', flush=True)
    with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') if dry_run else contextlib.nullcontext() as drawn:
        trials, notes = make_trials(spec, overrides, drawn)
    print(*(f'note: {note}\n' for note in notes), sep='', end='', flush=True)

    folder = Path(work_dir) if work_dir else WORK_DIRS / Path(sweep_file).stem
    return SweepPlan(spec, overrides, trials, folder, trust_checkpoint)


def describe_dry_run(plan: SweepPlan, *, retry_failed: bool = False) -> str:
    """Return what `run_sweep` would do, with the state of each trial.

    Raises:
        ConfigError: if the folder holds a run.
    """
    _check_no_run(plan.folder)
    ledger = Ledger(plan.folder / LEDGER_FILE)
    states = plan_trials(plan.trials, plan.folder, ledger, retry_failed=retry_failed)
    return describe_plan(states, describe_stale_trials(states, ledger, plan.folder))


def run_sweep(plan: SweepPlan, launcher: Launcher, *, retry_failed: bool = False) -> SweepResult:
    """Run every unfinished trial. A trial that an earlier start was running is resumed.

    Args:
        plan: From `plan_sweep`.
        launcher: Starts the trials.
        retry_failed: Whether to try failed trials again.

    Raises:
        ConfigError: if the folder holds a run.
        RunInUseError: if another living process works on this sweep.
        DiskError: if the disk is full or cannot be written to.
    """
    # 1. One process works in a sweep folder.
    _check_no_run(plan.folder)
    make_folder(plan.folder)
    with lock_folder(plan.folder, 'sweep', 'start another sweep with another --work-dir'):
        _record_command(plan)

        # 2. The ledger knows which trials are finished. A finished trial that does not count is named.
        ledger = Ledger(plan.folder / LEDGER_FILE)
        ledger.plan_looks(plan.spec.looks)  # before any trial runs: a look that is declared after a verdict is none
        states = plan_trials(plan.trials, plan.folder, ledger, retry_failed=retry_failed)
        for note in describe_stale_trials(states, ledger, plan.folder):
            print(note, flush=True)

        # 3. Run the others. A trial that fails costs only itself.
        with Display(launcher.slots) as display:
            TrialScheduler(plan.folder, ledger, launcher, display.show).run(states)

        # 4. Join the folds of a cross-validation.
        return _join_folds(plan, states)


def _check_no_run(folder: Path) -> None:
    if holds_run(folder):
        raise ConfigError(f'{folder}: holds a run, not a sweep. Fix: choose another folder with --work-dir.')


def _record_command(plan: SweepPlan) -> None:
    """Write the command that resumes the sweep, which no trial records."""
    words = [plan.spec.path]
    if plan.folder != WORK_DIRS / Path(plan.spec.path).stem:
        words += ['--work-dir', plan.folder]
    if plan.trust_checkpoint:
        words.append('--trust-checkpoint')
    if plan.overrides:
        words += ['--cfg-options', *as_options(plan.overrides)]
    with atomic_write(plan.folder / COMMAND_FILE) as file:
        file.write(f'{tool_command("sweep", *words)}\n')


def _join_folds(plan: SweepPlan, states: Sequence[TrialState]) -> SweepResult:
    # Here: scipy would be imported before a mistake in a config is found.
    from flowercls.sweep.doubtful_labels import find_doubtful_labels
    from flowercls.sweep.folds import collect_out_of_fold

    out_of_fold, notes, doubtful, error = [], [], None, None
    try:
        out_of_fold, notes = collect_out_of_fold(plan.spec, states, plan.folder)
        doubtful = find_doubtful_labels(out_of_fold, plan.folder)
    except FlowerclsError as problem:  # the trials have finished
        missing, error = 'no labels to review' if out_of_fold else 'no out-of-fold predictions', problem
        notes = [*notes, f'{missing}: {problem}']
    return SweepResult(plan.folder, states, out_of_fold, doubtful, notes, error)
