"""The figures of each epoch, read from the ``scalars.json`` of a run."""

import json
from pathlib import Path


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
