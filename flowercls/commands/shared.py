"""What several verbs need."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.core.errors import ConfigError
from flowercls.core.terminal import printable

if TYPE_CHECKING:
    from flowercls.report.gallery import DrawHeatmaps

BROKEN_SHOWN = 10  # photos, on the terminal

Overrides = Sequence[str] | dict


def accuracy_text(metrics: dict) -> str:
    """Return top-1 of a metrics.json with its interval, as `share_text`."""
    from flowercls.evaluate.intervals import share_text

    return share_text(sum(row[i] for i, row in enumerate(metrics['confusion'])), metrics['n'])


def unreadable_text(broken: Sequence[tuple[str, str]], total: int, rest: str) -> str:
    """Return a message on photos that cannot be read.

    Args:
        broken: Name and reason of each.
        total: Number of all photos.
        rest: What became of the others.
    """
    from flowercls.data.image_formats import FIXES  # here: other verbs read no photos

    lines = [f'{len(broken):,} of {total:,} photos cannot be read; {rest}.']
    lines += [f'  {printable(name)}: {printable(reason)}' for name, reason in broken[:BROKEN_SHOWN]]
    lines += [f'  and {len(broken) - BROKEN_SHOWN:,} more'] * (len(broken) > BROKEN_SHOWN)
    reasons = sorted({reason.partition(' (')[0] for _, reason in broken} & FIXES.keys())
    lines += [f'Fix, {reason}: {FIXES[reason]}.' for reason in reasons]
    return '\n'.join([*lines, 'Fix: replace these files, or leave them out.'])


def check_parents(option: str, path: str | os.PathLike) -> None:
    """Refuse a path that leads through a file.

    Raises:
        ConfigError: naming the option.
    """
    for parent in Path(path).absolute().parents:
        if parent.exists() and not parent.is_dir():
            raise ConfigError(f'{option} {path}: {parent} is not a folder. Fix: name another path.')


def heatmaps_of(run: Path, *, trusted: bool = False) -> 'DrawHeatmaps':
    """Return a function that draws heat maps of the best checkpoint of a run; it opens the checkpoint when called.

    The function raises a `CheckpointError` if that cannot be opened, and a `ConfigError` if its backbone has no stages.

    Args:
        run: The run folder.
        trusted: Whether the checkpoint's config may import modules of its own.
    """

    def draw(photos, class_numbers):
        from flowercls.use.heatmap import heatmaps, overlay
        from flowercls.use.load import load

        maps = heatmaps(load(run, trusted=trusted), photos, class_numbers)
        return [overlay(rgb, heat) for rgb, heat in zip(photos, maps, strict=True)]

    return draw
