"""The ledger of a sweep: an append-only file with a line for each event of a trial, and for each plan."""

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from flowercls.core.files import disk_errors, sync_folder

STARTED, FINISHED, FAILED = 'started', 'finished', 'failed'
PLAN = 'plan'
MAX_NUMBER = 1e12  # of any number in a line
MIN_LOOK, MAX_LOOKS = 2, 20  # seeds at the first look; number of looks


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


@dataclass(frozen=True)
class LookPlan:
    """A line of ``ledger.jsonl`` that says at how many seeds the settings will be judged.

    Attributes:
        looks: Numbers of seeds, ascending; empty if an earlier plan was withdrawn.
        time: When it was written: ISO 8601 in UTC, so that texts are ordered as times.
    """

    looks: tuple[int, ...]
    time: str


def utc_now() -> str:
    """Return the time as plans and verdicts are dated."""
    return datetime.now(UTC).isoformat(timespec='milliseconds')


def are_looks(value: Any) -> bool:
    """Return whether a value lists numbers of seeds at which settings can be judged."""
    is_list = isinstance(value, list | tuple) and 0 < len(value) <= MAX_LOOKS
    are_numbers = is_list and all(type(look) is int and MIN_LOOK <= look < MAX_NUMBER for look in value)
    return are_numbers and all(earlier < later for earlier, later in itertools.pairwise(value))


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
        self._append(asdict(entry))

    def plan_looks(self, looks: Sequence[int]) -> None:
        """Add a line with the numbers of seeds at which the settings will be judged, unless the last plan says it.

        Raises:
            DiskError: if it cannot be written.
        """
        if tuple(looks) != self.planned_looks():
            self._append({'event': PLAN, 'looks': list(looks), 'time': utc_now()})

    def planned_looks(self, before: str | None = None) -> tuple[int, ...]:
        """Return the looks of the last plan, or of the last one that was there at a time; empty without such a plan."""
        plans = [plan for plan in map(_parse_plan, self._lines()) if plan is not None]
        return next((plan.looks for plan in reversed(plans) if before is None or plan.time <= before), ())

    def _append(self, content: dict[str, Any]) -> None:
        line = (json.dumps(content, ensure_ascii=False) + '\n').encode()
        with disk_errors(self.path), self.path.open('a+b') as file:
            if _ends_torn(file):
                line = b'\n' + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)

    def entries(self) -> list[Entry]:
        """Return all entries in order, without lines that a kill or a crash has torn."""
        return [entry for entry in map(_parse, self._lines()) if entry is not None]

    def latest(self) -> dict[str, Entry]:
        """Return the last entry of each trial by its key."""
        return {entry.key: entry for entry in self.entries()}

    def _lines(self) -> list[bytes]:
        return self.path.read_bytes().split(b'\n') if self.path.exists() else []


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


def _parse_plan(line: bytes) -> LookPlan | None:
    """Return the plan of a line; None for any other line."""
    try:
        content = json.loads(line)
        is_plan = content['event'] == PLAN and (content['looks'] == [] or are_looks(content['looks']))
        return LookPlan(tuple(content['looks']), parse_time(content['time'])) if is_plan else None
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def parse_time(text: str) -> str:
    """Return a time of `utc_now` as it is.

    Raises:
        ValueError: if it is none.
    """
    if datetime.fromisoformat(text).isoformat(timespec='milliseconds') != text or not text.endswith('+00:00'):
        raise ValueError(f'{text} is no time in UTC')
    return text
