"""How far a trial is, and how long it will still take."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowercls.sweep.grid import Trial
from flowercls.sweep.ledger import Entry

WAITING, RUNNING = 'waiting', 'running'  # besides what the ledger says; only shown
RETRY_S, LONGEST_RETRY_S = 3.0, 30.0  # between looks at a folder in which a process of an earlier start is still alive
GIVE_UP_S = 300.0  # such a process would have died with its sweep, or soon be done
ReadEpochs = Callable[[Path], list[dict]]  # from a scalars.json


@dataclass
class Progress:
    """How far a trial is.

    Attributes:
        trial: Which.
        folder: Its run folder.
        state: ``'waiting'``, ``'running'``, ``'finished'`` or ``'failed'``.
        is_begun: Whether an earlier start had begun it.
        epoch: Complete epochs, as far as known.
        top1: Best validation top-1 so far, in percent.
        time_s: Wall-clock seconds of the start that ended.
        error: Why it failed.
        seconds_left: Until it is done, if that can be told.
        not_before: Time of `time.monotonic` before which it is not started.
        in_use_since: Time of `time.monotonic` at which another process was first found at work in its folder.
        epochs: Which ``time_s`` is the time of; None stands for all.
    """

    trial: Trial
    folder: Path
    state: str = WAITING
    is_begun: bool = False
    epoch: int = 0
    top1: float | None = None
    time_s: float | None = None
    error: str | None = None
    seconds_left: float | None = None
    not_before: float = 0.0
    in_use_since: float | None = None
    epochs: int | None = None
    _since: float = 0.0
    _epoch_after: float = 0.0
    _first_epoch: int | None = None

    @property
    def can_go_on(self) -> bool:
        """Whether an earlier start has left a checkpoint."""
        return self.is_begun and (self.folder / 'last_checkpoint').is_file()

    def begin(self) -> None:
        """Start its clock."""
        self.state, self._since, self.error = RUNNING, time.monotonic(), None
        self._first_epoch = self.epochs = None

    @property
    def epochs_of_start(self) -> int:
        """How many epochs the start that runs, or has finished it, is for; those of an earlier one do not count."""
        return self.trial.max_epochs - (self._first_epoch or 0) if self.epochs is None else self.epochs

    def wait_for_folder(self) -> bool:
        """Wait, each time as long again as altogether before; returns whether there is still hope."""
        now = time.monotonic()
        self.state = WAITING
        self.in_use_since = now if self.in_use_since is None else self.in_use_since
        waited = now - self.in_use_since
        self.not_before = now + min(max(waited, RETRY_S), LONGEST_RETRY_S)
        return waited < GIVE_UP_S

    def look(self, read_epochs: ReadEpochs) -> None:
        """Read how far it is."""
        scalars = self.folder / 'scalars.json'
        epochs = read_epochs(scalars) if scalars.exists() else []
        epoch = epochs[-1]['epoch'] if epochs else 0
        self.top1 = max((epoch['accuracy/top1'] for epoch in epochs if 'accuracy/top1' in epoch), default=None)
        if self._first_epoch is None:
            self._first_epoch = epoch
        if epoch != self.epoch:
            self.epoch, self._epoch_after = epoch, self.seconds_running()
        self.seconds_left = self._judged_by(self.epoch - self._first_epoch)

    def _judged_by(self, done: int) -> float | None:
        if done < 1:
            return None
        all_left = self._epoch_after / done * (self.trial.max_epochs - self.epoch)
        return max(0.0, all_left - (self.seconds_running() - self._epoch_after))

    def seconds_running(self) -> float:
        """Since this start of it."""
        return time.monotonic() - self._since

    def entry(self, state: str, folder: Path) -> Entry:
        """What the ledger of the sweep in ``folder`` shall say."""
        trial, run = self.trial, self.folder.relative_to(folder).as_posix()
        figures = (self.top1, self.time_s, self.error, self.epochs)
        return Entry(trial.key, trial.setting, trial.seed, state, run, *figures)
