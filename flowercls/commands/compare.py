"""Compare runs on the photos they share: which settings are best, which cannot be told apart, what would tell more."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from flowercls.core import signals
from flowercls.core.errors import ConfigError

EXAMPLES = (
    'work_dirs/frozen_stages                               # a sweep; written into its folder',
    'work_dirs/resnet50_flower work_dirs/resnet50_flower-2 --out comparison',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument('paths', nargs='+', metavar='RUN_OR_SWEEP', help='a run folder, or the folder of a sweep')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help="folder for comparison.md, .csv, .json and .png (default: the sweep's, if it is one, else ./comparison)",
    )
    parser.add_argument(
        '--seed-scatter',
        type=float,
        metavar='POINTS',
        help='where every setting was run once: the standard deviation of top-1 over seeds that is assumed, in points '
        '(default: 1)',
    )


def run(options: argparse.Namespace) -> int:
    """Compare, print the tables and the verdict, return the exit code."""
    print(compare(options.paths, out=options.out, seed_scatter=options.seed_scatter))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'files that were written are whole'


def compare(paths: Sequence[str | Path], *, out: str | Path | None = None, seed_scatter: float | None = None) -> str:
    """Compare runs on the photos they share: which settings are best, which cannot be told apart.

    Args:
        paths: Run folders and sweep folders.
        out: Folder for ``comparison.md``, ``.csv``, ``.json`` and ``.png``, and ``comparison_effects.csv`` where there
            are factors. The default is the sweep folder if ``paths`` is one sweep, else ``comparison``.
        seed_scatter: The standard deviation of top-1 over seeds that is assumed, 0 to 100 points. It counts only where
            every setting was run once; elsewhere the result says that it is not used. The default is 1.

    Returns:
        What is in comparison.md, and where the files are.

    Raises:
        ConfigError: if a path is neither a run nor a sweep folder, or ``seed_scatter`` is out of range.
        DataError: if results are missing or unreadable, or the runs do not share photos and labels.
    """
    from flowercls.compare.comparison import compare_runs
    from flowercls.compare.comparison_files import (
        as_markdown,
        comparison_folder,
        comparison_stem,
        with_ending,
        write_comparison,
    )
    from flowercls.core.layout import COMPARISON_SUFFIXES
    from flowercls.evaluate.significance.settings import ASSUMED_SCATTER
    from flowercls.report.comparison_plot import draw_comparison

    assumed_scatter = ASSUMED_SCATTER if seed_scatter is None else seed_scatter
    if not 0 <= assumed_scatter <= 100:
        raise ConfigError(
            f'--seed-scatter {assumed_scatter:g}: expected a standard deviation of 0 to 100 points. Fix: give how far '
            f'the top-1 of one setting scatters over seeds; without the flag {ASSUMED_SCATTER:g} point is assumed.'
        )
    folders = [Path(path) for path in paths]
    folder = comparison_folder(folders, out)
    comparison = compare_runs(folders, folder, assumed_scatter)
    stem = comparison_stem(folders, folder)
    write_comparison(comparison, stem)
    draw_comparison(comparison, with_ending(stem, '.png'))
    written = [suffix for suffix in COMPARISON_SUFFIXES if with_ending(stem, suffix).exists()]
    unused = ''
    if seed_scatter is not None and (reason := comparison.scatter_unused):
        unused = f'\n--seed-scatter {seed_scatter:g} is not used: {reason}.\n'
    return f'{as_markdown(comparison)}{unused}\nwritten     {stem}{", ".join(written)}'
