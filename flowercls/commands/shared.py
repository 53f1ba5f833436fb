"""What several verbs need."""

from collections.abc import Sequence

Overrides = Sequence[str] | dict


def accuracy_text(metrics: dict) -> str:
    """Return top-1 with its interval: ``top-1 96.32 % (549 of 570, 95 % interval 94.4-97.6)``."""
    from flowercls.evaluate.intervals import INTERVAL

    hits = sum(row[i] for i, row in enumerate(metrics['confusion']))
    low, high = metrics['top1_interval']
    return f'top-1 {metrics["top1"]:.2f} % ({hits} of {metrics["n"]}, {INTERVAL} {low:.1f}-{high:.1f})'
