"""What several verbs need."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.core.errors import ConfigError

if TYPE_CHECKING:
    from flowercls.report.gallery import DrawHeatmaps

Overrides = Sequence[str] | dict


def accuracy_text(metrics: dict) -> str:
    """Return top-1 of a metrics.json with its interval: ``top-1 96.32 % (549 of 570, 95 % interval 94.4-97.6)``."""
    return share_text(sum(row[i] for i, row in enumerate(metrics['confusion'])), metrics['n'])


def share_text(hits: int, n: int) -> str:
    """Return the accuracy of ``hits`` right answers for ``n`` photos, as `accuracy_text`."""
    from flowercls.evaluate.intervals import INTERVAL, wilson_interval

    low, high = wilson_interval(hits, n)
    return f'top-1 {100 * hits / n:.2f} % ({hits} of {n}, {INTERVAL} {low:.1f}-{high:.1f})'


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
