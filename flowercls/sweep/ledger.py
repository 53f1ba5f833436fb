"""What became of each trial: one line an event, only ever appended, so that no kill can lose what was known before."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePath

from flowercls.core.files import disk_errors, sync_folder

STARTED, FINISHED, FAILED = 'started', 'finished', 'failed'


@dataclass(frozen=True)
class Entry:
    """One line of ``ledger.jsonl``.

    Attributes:
        key: Of the trial: resolved config, data and seed.
        setting: Its name, as ``frozen_stages=2,lr=0.01``.
        seed: Its seed.
        state: ``'started'``, ``'finished'`` or ``'failed'``.
        run: Its run folder, relative to the sweep's.
        top1: Validation top-1 of its best epoch in percent, if finished with validation.
        time_s: Wall-clock seconds of the start that ended so.
        error: Exit code and last words, if failed.
        epochs: How many epochs of it that start did, if finished; None in ledgers that do not say so.
    """

    key: str
    setting: str
    seed: int
    state: str
    run: str
    top1: float | None = None
    time_s: float | None = None
    error: str | None = None
    epochs: int | None = None


class Ledger:
    """The file ``ledger.jsonl`` of a sweep's folder.

    Args:
        path: Of the file, which appears with the first entry.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    def append(self, entry: Entry) -> None:
        """Add a line; it is on the disk when this returns.

        Raises:
            DiskError: if it cannot be written.
        """
        line = (json.dumps(asdict(entry), ensure_ascii=False) + '\n').encode()
        with disk_errors(self.path), self.path.open('a+b') as file:
            if _ends_torn(file):
                line = b'\n' + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)

    def entries(self) -> list[Entry]:
        """All entries in order; a line torn by a kill or a crash is passed over."""
        lines = self.path.read_bytes().split(b'\n') if self.path.exists() else []
        return [entry for entry in map(_parsed, lines) if entry is not None]

    def latest(self) -> dict[str, Entry]:
        """The last entry of each trial by its key; what is finished stays so."""
        latest: dict[str, Entry] = {}
        for entry in self.entries():
            if entry.key not in latest or entry.state == FINISHED or latest[entry.key].state != FINISHED:
                latest[entry.key] = entry
        return latest


def _ends_torn(file) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b'\n'


def _parsed(line: bytes) -> Entry | None:
    try:
        content = json.loads(line)
        entry = Entry(**{field.name: content.get(field.name) for field in fields(Entry)})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return entry if entry.key and _is_sound(entry) else None


def _is_sound(entry: Entry) -> bool:
    """Whether it can be one that was written here; a ledger may come from somebody else, with its folder."""
    texts = (entry.key, entry.state, entry.run, entry.setting or '', entry.error or '')
    numbers = (entry.seed or 0, entry.top1 or 0, entry.time_s or 0, entry.epochs or 0)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, int | float) for n in numbers):
        return False
    run = PurePath(entry.run)
    return not run.is_absolute() and '..' not in run.parts and all(0 <= number < 1e12 for number in numbers)
