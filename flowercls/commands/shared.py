"""What several verbs need."""

import os
from collections.abc import Sequence
from pathlib import Path

from flowercls.core.errors import ConfigError

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
