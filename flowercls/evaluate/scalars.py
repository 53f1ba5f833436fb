"""The figures of each epoch, read from the ``scalars.json`` of a run, and whether they show overfitting."""

import json
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.errors import DataError
from flowercls.core.layout import PREDICTIONS_VAL_FILE, PREDICTIONS_VAL_LAST_FILE, SCALARS_FILE

NUM_SES = 2  # a rise of the validation loss counts from this many standard errors on


def read_epochs(path: str | Path) -> list[dict]:
    """Read a ``scalars.json``, one dict an epoch, in order; an empty list if there is no such file.

    Keys, if they were measured: ``epoch``, ``lr``, ``train_loss``, ``train_top1``, ``nll`` (the validation loss) and
    ``accuracy/top1``. Of an epoch that was run twice, after a resume, the later figures count. A half-written last
    line, left by a crash, is skipped.
    """
    path, epochs = Path(path), {}
    text = path.read_text(encoding='utf-8', errors='replace') if path.is_file() else ''
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict) or not isinstance(record.get('step'), int):
            continue
        if 'train_loss' in record:
            epochs[record['step']] = record
        elif 'accuracy/top1' in record:
            epochs.setdefault(record['step'], {'epoch': record['step']}).update(record)
    return [epochs[step] for step in sorted(epochs)]


@dataclass(frozen=True)
class Overfitting:
    """Whether a run went on to learn its training photos at the cost of others.

    Attributes:
        best: Figures of the epoch with the highest validation top-1, as from `read_epochs`.
        last: Figures of the last epoch.
        rise: Mean validation loss of the last epoch minus that of the best one, nats.
        rise_se: Standard error of ``rise``: the two losses of a photo are a pair.
    """

    best: dict
    last: dict
    rise: float
    rise_se: float

    @property
    def is_seen(self) -> bool:
        """Whether the validation loss rose by more than `NUM_SES` standard errors while the training loss fell."""
        return self.last['train_loss'] < self.best['train_loss'] and self.rise > NUM_SES * self.rise_se


def overfitting(folder: str | Path, best_epoch: int | None) -> Overfitting | None:
    """Compare the best and the last epoch of a run; None if their figures are not known.

    The best epoch was chosen by its accuracy on the same photos. So its loss is a little too low, and the rise a little
    too high.

    Args:
        folder: The run folder.
        best_epoch: As in metrics.json.
    """
    from flowercls.evaluate.metrics import log_losses  # here: a sweep reads epochs, and does without scikit-learn
    from flowercls.evaluate.predictions import Predictions

    folder = Path(folder)
    complete = [e for e in read_epochs(folder / SCALARS_FILE) if {'train_loss', 'train_top1', 'nll'} <= e.keys()]
    best = next((epoch for epoch in complete if epoch['step'] == best_epoch), None)
    if best is None:
        return None
    last = complete[-1]
    if best is last:
        return Overfitting(best, last, 0.0, 0.0)
    try:
        files = [Predictions.read_csv(folder / name) for name in (PREDICTIONS_VAL_FILE, PREDICTIONS_VAL_LAST_FILE)]
    except DataError:
        return None
    if files[0].images != files[1].images:
        return None
    before, after = (log_losses(predictions.scores, predictions.labels) for predictions in files)
    rises = after - before
    return Overfitting(best, last, float(rises.mean()), float(rises.std(ddof=1) / len(rises) ** 0.5))
