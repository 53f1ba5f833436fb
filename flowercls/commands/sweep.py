"""Train every setting of a sweep file with every seed. The same command resumes an interrupted sweep."""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides
from flowercls.core import signals
from flowercls.core.errors import FlowerclsError, WorkerError

if TYPE_CHECKING:
    from flowercls.sweep.doubtful_labels import DoubtfulLabels
    from flowercls.sweep.launcher import Launcher
    from flowercls.sweep.sweeper import SweepResult

EXAMPLES = (
    'configs/sweeps/frozen_stages.py --dry-run       # list the trials, check their configs',
    'configs/sweeps/frozen_stages.py                 # again: resumes an interrupted sweep',
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
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load the files in load_from with pickle, which can run code: only if you trust their source',
    )


def run(options: argparse.Namespace) -> int:
    """Run the sweep, print its results, return the exit code."""
    arguments = dict(vars(options))
    arguments['overrides'] = arguments.pop('cfg_options')
    report = sweep(arguments.pop('sweep'), **arguments)
    print(report)
    return report.exit_code


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'the same command resumes the sweep'


@dataclass(frozen=True)
class SweepReport:
    """How a sweep ended.

    Attributes:
        text: The last block to show.
        exit_code: 0; 9 if a trial failed; else the code of what kept the trials from being compared or joined.
    """

    text: str
    exit_code: int = 0

    def __str__(self) -> str:
        return self.text


def sweep(
    sweep_file: str | Path,
    *,
    jobs: int = 1,
    work_dir: str | None = None,
    overrides: Overrides = (),
    retry_failed: bool = False,
    dry_run: bool = False,
    trust_checkpoint: bool = False,
    launcher: 'Launcher | None' = None,
) -> SweepReport:
    """Train every setting of a sweep file with every seed. An interrupted sweep is resumed.

    Args:
        sweep_file: Path of the sweep file.
        jobs: How many trials run at once, each with its part of the cores, or a GPU.
        work_dir: The sweep folder; the default is ``work_dirs/<name of the file>``.
        overrides: As ``--cfg-options``, for all trials.
        retry_failed: Try failed trials again.
        dry_run: List the trials and check their configs; write nothing.
        trust_checkpoint: Open what ``load_from`` names even if it holds more than plain data, and so could run code.
        launcher: Starts the trials; the default runs ``jobs`` processes on this machine.

    Raises:
        ConfigError: naming the mistakes in the sweep file and in the configs of all its settings.
        DataError: if a prepared folder is missing.
        CheckpointError: if starting weights are missing or damaged.
        RunInUseError: if another process works on this sweep.
    """
    from flowercls.config.loader import find_config
    from flowercls.models.weight_files import find_weights
    from flowercls.sweep.launcher import LocalLauncher, train_command
    from flowercls.sweep.sweeper import describe_dry_run, plan_sweep, run_sweep

    launcher = launcher or LocalLauncher(jobs, partial(train_command, trust_checkpoint=trust_checkpoint))
    sweep_file = find_config(sweep_file)
    plan = plan_sweep(sweep_file, work_dir, overrides, dry_run=dry_run, trust_checkpoint=trust_checkpoint)
    for load_from in filter(None, dict.fromkeys(trial.cfg.get('load_from') for trial in plan.trials)):
        find_weights(load_from)  # once, before several trials fetch or miss the same file
    if dry_run:
        return SweepReport(describe_dry_run(plan, retry_failed=retry_failed))

    from flowercls.report.sweep_page import write_sweep_report
    from flowercls.sweep.ledger import FAILED

    result = run_sweep(plan, launcher, retry_failed=retry_failed)
    comparison, mistake = _compare(result)
    if result.doubtful:
        _draw_doubtful_labels(result.doubtful)
    report = write_sweep_report(result.folder, str(mistake or ''))
    mistakes = [error for error in (mistake, result.error) if error]
    exit_code = mistakes[0].exit_code if mistakes else 0
    if any(state.status == FAILED for state in result.states):
        exit_code = WorkerError.exit_code
    return SweepReport(_describe(result, comparison, report), exit_code)


def _compare(result: 'SweepResult') -> tuple[str, FlowerclsError | None]:
    """Return the comparison of all finished trials as text, and what prevented it."""
    from flowercls.commands.compare import compare
    from flowercls.sweep.ledger import FINISHED

    if not any(state.status == FINISHED for state in result.states):
        return '', None
    try:
        return compare([result.folder]), None
    except FlowerclsError as error:  # the trials have finished
        return f'not compared: {error}', error


def _draw_doubtful_labels(doubtful: 'DoubtfulLabels') -> None:
    from flowercls.data.decode import decode_rgb
    from flowercls.report.gallery import plot_doubtful_labels

    plot_doubtful_labels(
        doubtful.predictions,
        doubtful.check,
        doubtful.origin,
        lambda number: decode_rgb(doubtful.photo(number)),
        doubtful.picture,
    )


def _describe(result: 'SweepResult', comparison: str, report: Path) -> str:
    """Return the last block: results, comparison, failures, and where the files are."""
    from flowercls.config.loader import shorten
    from flowercls.sweep.display import describe_failures, results_table, selection_line

    lines = [results_table(result.states), *filter(None, [selection_line(result.states)]), '']
    lines += [comparison, ''] if comparison else []
    lines += [f'out of fold: top-1 {item.top1:.2f} %, {shorten(item.path)}' for item in result.out_of_fold]
    lines += filter(None, [selection_line([state for item in result.out_of_fold for state in item.folds])])
    lines += [*result.notes, *(result.doubtful.describe() if result.doubtful else [])]
    lines += describe_failures(result.states)
    return '\n'.join([*lines, f'report: {shorten(report)}', f'sweep folder: {shorten(result.folder)}'])
