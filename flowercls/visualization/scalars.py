"""Reading ``scalars.json``: what happened in each epoch."""

import json
from pathlib import Path


def read_epochs(path: str | Path) -> list[dict]:
    """One dict an epoch, in order, from a run's ``scalars.json``.

    Keys, where they were measured: ``epoch``, ``lr``, ``train_loss``, ``train_top1``, ``nll`` (the validation loss) and
    ``accuracy/top1``. Of an epoch that was run twice, after a resume, the later figures count. A half-written last
    line, as a crash leaves it, is passed over.
    """
    epochs: dict[int, dict] = {}
    for line in Path(path).read_text(encoding='utf-8', errors='replace').splitlines():
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
