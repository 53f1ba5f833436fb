"""Compare runs on the photos they share: which settings are best, which cannot be told apart, what would tell more."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from flowercls.core import signals

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


def run(options: argparse.Namespace) -> int:
    """Compare, print the tables and the verdict, return the exit code."""
    print(compare(options.paths, out=options.out))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'files that were written are whole'


def compare(paths: Sequence[str | Path], *, out: str | Path | None = None) -> str:
    """Compare runs on the photos they share: which settings are best, which cannot be told apart.

    Args:
        paths: Run folders and sweep folders.
        out: Folder for ``comparison.md``, ``.csv``, ``.json`` and ``.png``, and ``comparison_effects.csv`` where there
            are factors. The default is the sweep folder if ``paths`` is one sweep, else ``comparison``.

    Returns:
        What is in comparison.md, and where the files are.

    Raises:
        ConfigError: if a path is neither a run nor a sweep folder.
        DataError: if results are missing or unreadable, or the runs do not share photos and labels.
    """
    from flowercls.compare.comparison import compare_runs
    from flowercls.compare.comparison_files import comparison_folder, comparison_stem, with_ending, write_comparison
    from flowercls.compare.wording import as_markdown
    from flowercls.core.layout import COMPARISON_SUFFIXES
    from flowercls.report.comparison_plot import draw_comparison

    folders = [Path(path) for path in paths]
    folder = comparison_folder(folders, out)
    comparison = compare_runs(folders, folder)
    stem = comparison_stem(folders, folder)
    write_comparison(comparison, stem)
    draw_comparison(comparison, with_ending(stem, '.png'))
    written = [suffix for suffix in COMPARISON_SUFFIXES if with_ending(stem, suffix).exists()]
    return f'{as_markdown(comparison)}\nwritten     {stem}{", ".join(written)}'
