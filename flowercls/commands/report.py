"""Write or renew report.html for runs and sweeps. The page is one file that needs no network."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from flowercls.commands.shared import heatmaps_of
from flowercls.core import signals

EXAMPLES = (
    'work_dirs/resnet50_flower                   # after tools/test.py: its figures are in it then',
    'work_dirs/frozen_stages                     # a sweep; its trials are compared first',
    'work_dirs/frozen_stages/trials/*',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument('paths', nargs='+', metavar='RUN_OR_SWEEP', help='a run folder, or the folder of a sweep')


def run(options: argparse.Namespace) -> int:
    """Write the reports, print where they are, return the exit code."""
    print(report(options.paths))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'files that were written are whole'


def report(paths: Sequence[str | Path]) -> str:
    """Write ``report.html`` into the folders of runs and sweeps, or renew it; a sweep's trials are compared first.

    Args:
        paths: Run folders and sweep folders.

    Returns:
        A line for each page.

    Raises:
        ConfigError: if a path is neither a run nor a sweep folder; nothing is written then.
        DiskError: if a page cannot be written.
    """
    from flowercls.compare.runs import check_folders, is_sweep

    folders = [Path(path) for path in paths]
    check_folders(folders)
    pages = [_report_sweep(folder) if is_sweep(folder) else _report_run(folder) for folder in folders]
    return '\n'.join(f'report      {page}' for page in pages)


def _report_run(folder: Path) -> Path:
    from flowercls.data.decode import decode_rgb
    from flowercls.report.run_page import write_run_report
    from flowercls.report.run_pictures import draw_run

    draw_run(folder, decode_rgb, heatmaps_of(folder), only_missing=True)
    return write_run_report(folder)


def _report_sweep(folder: Path) -> Path:
    from flowercls.commands.compare import compare
    from flowercls.core.errors import ConfigError, DataError
    from flowercls.report.sweep_page import write_sweep_report

    problem = ''
    try:
        compare([folder])
    except (ConfigError, DataError) as error:
        problem = str(error)
    return write_sweep_report(folder, problem)
