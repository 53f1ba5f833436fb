"""The ledger of a sweep: an append-only file with a line for each event of a trial."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePath

from flowercls.core.files import disk_errors, sync_folder

STARTED, FINISHED, FAILED = 'started', 'finished', 'failed'
MAX_NUMBER = 1e12  # of any number in a line


@dataclass(frozen=True)
class Entry:
    """One line of ``ledger.jsonl``.

    Attributes:
        key: Key of the trial: its resolved config, data and seed.
        setting: Name of the setting, ``frozen_stages=2,lr=0.01``.
        seed: The seed.
        state: ``'started'``, ``'finished'`` or ``'failed'``.
        run: The run folder, relative to the sweep folder.
        top1: Validation top-1 of the best epoch in percent, if finished with validation.
        time_s: Wall-clock seconds of the start that ended in this state.
        error: Exit code and error message, if failed.
        epochs: Epochs that this start ran, if finished; None in ledgers of older versions.
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
    """The file ``ledger.jsonl`` in a sweep folder.

    Args:
        path: Path of the file, which is created with the first entry.
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
        """Return all entries in order, without lines that a kill or a crash has torn."""
        lines = self.path.read_bytes().split(b'\n') if self.path.exists() else []
        return [entry for entry in map(_parse, lines) if entry is not None]

    def latest(self) -> dict[str, Entry]:
        """Return the last entry of each trial by its key."""
        return {entry.key: entry for entry in self.entries()}


def _ends_torn(file) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b'\n'


def _parse(line: bytes) -> Entry | None:
    """Return the entry of a line; None for any line that `Ledger.append` did not write."""
    try:
        content = json.loads(line)
        entry = Entry(**{field.name: content.get(field.name) for field in fields(Entry)})
        run = PurePath(entry.run)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    texts = (entry.key, entry.state, entry.setting or '', entry.error or '')
    numbers = (entry.seed or 0, entry.top1 or 0, entry.time_s or 0, entry.epochs or 0)
    is_sound = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int | float) and 0 <= number < MAX_NUMBER for number in numbers)
        # The sweep folder may be a stranger's: no line leads out of it.
        and not run.is_absolute()
        and '..' not in run.parts
    )
    return entry if entry.key and is_sound else None
