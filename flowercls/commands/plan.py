"""Tell what a comparison of so many photos and seeds could find, before anything is trained."""

import argparse
from pathlib import Path

from flowercls.core import signals

SETTINGS, ACCURACY, FOLDER = 4, 95.0, 'plan'  # defaults
EXAMPLES = (
    '--photos 570 --seeds 3 --difference 2',
    '--photos 60 --seeds 1 --difference 10 --settings 6 --accuracy 90',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument('--photos', type=int, required=True, metavar='N', help='validation photos')
    parser.add_argument('--seeds', type=int, required=True, metavar='N', help='runs of each setting')
    parser.add_argument(
        '--difference',
        type=float,
        required=True,
        metavar='POINTS',
        help='by which a setting is worse than the best one',
    )
    parser.add_argument(
        '--settings', type=int, default=SETTINGS, metavar='N', help='settings to compare (default: %(default)s)'
    )
    parser.add_argument(
        '--accuracy', type=float, default=ACCURACY, metavar='PERCENT', help='of the best setting (default: %(default)g)'
    )
    parser.add_argument(
        '--seed-scatter',
        type=float,
        metavar='POINTS',
        help='standard deviation of accuracy that seeds alone cause (default: 1)',
    )
    parser.add_argument(
        '--out', default=FOLDER, metavar='DIR', help='folder for plan.md, .csv and .png (default: ./%(default)s)'
    )


def run(options: argparse.Namespace) -> int:
    """Plan, print the table, return the exit code."""
    print(plan(**vars(options)))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'files that were written are whole'


def plan(
    photos: int,
    seeds: int,
    difference: float,
    *,
    settings: int = SETTINGS,
    accuracy: float = ACCURACY,
    seed_scatter: float | None = None,
    out: str | Path = FOLDER,
) -> str:
    """Tell what a comparison could find, before anything is trained.

    Args:
        photos: To validate on.
        seeds: Runs of each setting.
        difference: By which a setting is truly worse than the best one, in points.
        settings: To compare.
        accuracy: Of the best setting, in percent.
        seed_scatter: Standard deviation of accuracy that seeds alone cause, in points; 1 if None.
        out: Folder for ``plan.md``, ``.csv`` and ``.png``. Nothing is overwritten: new files get the next free number.

    Returns:
        What is in plan.md, and where the files are.

    Raises:
        ConfigError: if a number is not possible, or ``out`` is a file.
        DiskError: if the files cannot be written.
    """
    import csv

    from flowercls.core.errors import ConfigError
    from flowercls.core.files import atomic_write, disk_errors, numbered
    from flowercls.core.layout import PLAN_STEM, PLAN_SUFFIXES
    from flowercls.evaluate.plan import Question, as_markdown, as_rows, make_plan
    from flowercls.evaluate.significance.settings import ASSUMED_SCATTER
    from flowercls.report.curves import plot_powers

    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f'--out {folder}: is a file. Expected a folder. Fix: name another.')
    scatter = ASSUMED_SCATTER if seed_scatter is None else seed_scatter
    answer = make_plan(Question(photos, seeds, difference, settings, accuracy, scatter))
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = ([stem.with_name(stem.name + suffix) for suffix in PLAN_SUFFIXES] for stem in numbered(folder / PLAN_STEM))
    text, table, picture = next(paths for paths in files if not any(path.exists() for path in paths))
    with atomic_write(text) as file:
        file.write(as_markdown(answer, picture.name))
    rows = as_rows(answer)
    with atomic_write(table) as file:
        writer = csv.DictWriter(file, rows[0], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    plot_powers(picture, answer)
    return f'{as_markdown(answer)}\nwritten     {text.with_suffix("")}{", ".join(PLAN_SUFFIXES)}'
