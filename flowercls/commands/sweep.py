"""Train every setting of a sweep file with every seed. Started again, a sweep goes on where it stopped."""

import argparse
import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides, weights_file
from flowercls.core import signals
from flowercls.core.errors import FlowerclsError

if TYPE_CHECKING:
    from flowercls.sweep.doubtful_labels import DoubtfulLabels
    from flowercls.sweep.folds import OutOfFold
    from flowercls.sweep.scheduler import Progress
    from flowercls.sweep.spec import SweepFile
    from flowercls.sweep.sweep_dir import SweepReport
    from flowercls.sweep.trials import Trial

EXAMPLES = (
    'configs/sweeps/frozen_stages.py --dry-run       # list the trials, check their configs',
    'configs/sweeps/frozen_stages.py                 # again after an interruption: goes on',
    'configs/sweeps/frozen_stages.py --jobs 4        # four at once, a GPU or some cores each',
    'configs/sweeps/frozen_stages.py --retry-failed',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument('sweep', help='a sweep file: base, grid, seeds, overrides')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='trials at once (default: %(default)s)')
    parser.add_argument('--work-dir', help='folder of the sweep (default: work_dirs/<name of the sweep file>)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override keys of all trials')
    parser.add_argument('--retry-failed', action='store_true', help='try trials again that have failed')
    parser.add_argument('--dry-run', action='store_true', help='list the trials, check every config, write nothing')


def run(options: argparse.Namespace) -> int:
    """Run the sweep, print its results, return the exit code."""
    arguments = dict(vars(options))
    arguments['overrides'] = arguments.pop('cfg_options')
    report = sweep(arguments.pop('sweep'), **arguments)
    print(report)
    return report.exit_code


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'the same command goes on where this stopped'


def sweep(
    sweep_file: str | Path,
    *,
    jobs: int = 1,
    work_dir: str | None = None,
    overrides: Overrides = (),
    retry_failed: bool = False,
    dry_run: bool = False,
) -> 'SweepReport':
    """Train every setting of a sweep file with every seed; started again, go on where it stopped.

    Args:
        sweep_file: Path of the sweep file.
        jobs: How many trials run at once, each with its share of the cores, or a GPU.
        work_dir: Folder of the sweep; the default is ``work_dirs/<name of the file>``.
        overrides: As ``--cfg-options``, for all trials.
        retry_failed: Try failed trials again.
        dry_run: List the trials and check their configs; write nothing.

    Raises:
        ConfigError: naming the mistakes in the sweep file and in the configs of all its settings.
        DataError: if a prepared folder is missing or is none.
        CheckpointError: if starting weights are missing or damaged.
        RunInUseError: if another process works on this sweep.
    """
    from flowercls.config.loader import find_config
    from flowercls.config.overrides import parse_overrides
    from flowercls.sweep.launcher import check_jobs
    from flowercls.sweep.spec import read_sweep_file
    from flowercls.sweep.trials import describe_size, make_trials

    check_jobs(jobs)
    sweep_file = find_config(sweep_file)
    sweep = read_sweep_file(sweep_file)
    extra = dict(overrides) if isinstance(overrides, dict) else parse_overrides(overrides)
    print(f'{sweep_file}: checking its {describe_size(sweep)}', flush=True)
    with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') if dry_run else contextlib.nullcontext() as drawn:
        trials, notes = make_trials(sweep, extra, drawn)
        for load_from in dict.fromkeys(trial.load_from for trial in trials if trial.load_from):
            weights_file(load_from)  # once, before several trials fetch or miss the same file
    print(*(f'{note}\n' for note in notes), sep='', end='', flush=True)

    from flowercls.sweep.sweep_dir import SweepReport, list_trials, run_folder_of  # heavy: after all mistakes

    folder = Path(work_dir) if work_dir else run_folder_of(sweep_file)
    if dry_run:
        return SweepReport(list_trials(trials, folder, retry_failed=retry_failed))
    return _run_sweep(sweep, extra, trials, folder, jobs, retry_failed)


def _run_sweep(
    sweep: 'SweepFile', extra: dict, trials: list['Trial'], folder: Path, jobs: int, retry_failed: bool
) -> 'SweepReport':
    from flowercls.report.curves import read_epochs
    from flowercls.sweep.display import Display
    from flowercls.sweep.launcher import LocalLauncher
    from flowercls.sweep.ledger import Ledger
    from flowercls.sweep.scheduler import SweepRun, plan_trials
    from flowercls.sweep.stale import notes_of_others
    from flowercls.sweep.sweep_dir import LEDGER_FILE, occupied_sweep_folder, record_command

    with occupied_sweep_folder(folder):
        record_command(folder, sweep.path, extra)
        ledger = Ledger(folder / LEDGER_FILE)
        all_progress = plan_trials(trials, folder, ledger, retry_failed=retry_failed)
        for note in notes_of_others(all_progress, ledger, folder):
            print(note, flush=True)
        with Display(jobs) as display:
            SweepRun(folder, ledger, LocalLauncher(jobs), read_epochs, display.show).run(all_progress)
        return _after_the_last_trial(sweep, all_progress, folder)


def _after_the_last_trial(sweep: 'SweepFile', all_progress: list['Progress'], folder: Path) -> 'SweepReport':
    """What is made of a sweep's trials: this is the place for whatever looks at all of them."""
    from flowercls.report.sweep_page import write_sweep_report
    from flowercls.sweep.sweep_dir import describe_sweep

    compared, mistake = _comparison(all_progress, folder)
    joined = _joined_folds(sweep, all_progress, folder)
    report = write_sweep_report(folder, sweep.path, str(mistake or ''))
    mistakes = [one for one in (mistake, joined.mistake) if one is not None]
    return describe_sweep(
        all_progress, folder, compared, joined.out_of_fold, joined.doubtful, mistakes, joined.notes, report
    )


@dataclass
class JoinedFolds:
    """What was made of the folds of a sweep, as far as that went.

    Attributes:
        out_of_fold: The predictions of all folds.
        doubtful: The labels that these make doubtful.
        notes: What else has to be said.
        mistake: What kept something from being made.
    """

    out_of_fold: Sequence['OutOfFold'] = ()
    doubtful: 'DoubtfulLabels | None' = None
    notes: Sequence[str] = ()
    mistake: FlowerclsError | None = None


def _joined_folds(sweep: 'SweepFile', all_progress: list['Progress'], folder: Path) -> JoinedFolds:
    from flowercls.sweep.doubtful_labels import find_doubtful_labels
    from flowercls.sweep.folds import collect_out_of_fold

    joined = JoinedFolds()
    try:
        joined.out_of_fold, joined.notes = collect_out_of_fold(sweep, all_progress, folder)
        joined.doubtful = find_doubtful_labels(joined.out_of_fold, folder)
        _draw_doubtful_labels(joined.doubtful)
    except FlowerclsError as error:  # the trials are done all the same
        what = 'no labels to review' if joined.out_of_fold else 'no out-of-fold figure'
        joined.notes, joined.mistake = [*joined.notes, f'{what}: {error}'], error
    return joined


def _comparison(all_progress: list['Progress'], folder: Path) -> tuple[str, FlowerclsError | None]:
    """The comparison of all finished trials in the folder, or why there is none."""
    from flowercls.commands.compare import compare
    from flowercls.sweep.ledger import FINISHED

    if not any(progress.state == FINISHED for progress in all_progress):
        return '', None
    try:
        return compare([folder]), None
    except FlowerclsError as error:  # the trials are done all the same
        return f'not compared: {error}', error


def _draw_doubtful_labels(doubtful: 'DoubtfulLabels | None') -> None:
    if doubtful is None:
        return
    from flowercls.data.decode import decode_rgb
    from flowercls.report.gallery import plot_doubtful_labels

    plot_doubtful_labels(
        doubtful.predictions,
        doubtful.check,
        doubtful.origin,
        lambda number: decode_rgb(doubtful.photo(number)),
        doubtful.picture,
    )
