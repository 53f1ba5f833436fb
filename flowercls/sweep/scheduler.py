"""How far a trial is, and how long it will still take.

Run what a sweep's ledger does not know as finished, and write down what becomes of it.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.errors import DiskError, RunInUseError
from flowercls.sweep.launcher import Handle, Launcher
from flowercls.sweep.ledger import FAILED, FINISHED, STARTED, Entry, Ledger
from flowercls.sweep.trials import Trial
from flowercls.train.run_dir import holds_run, lock_folder

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


pass

POLL_S = 0.2


def plan_trials(trials: list[Trial], folder: Path, ledger: Ledger, *, retry_failed: bool = False) -> list[Progress]:
    """Where each trial stands and where its run folder is.

    Args:
        trials: All of the sweep.
        folder: Of the sweep.
        ledger: What became of them so far.
        retry_failed: Let failed ones wait for another try.
    """
    known = ledger.latest()
    taken = {entry.run for entry in known.values()}
    return [_progress(trial, folder, known.get(trial.key), taken, retry_failed) for trial in trials]


def _progress(trial: Trial, folder: Path, entry: Entry | None, taken: set[str], retry_failed: bool) -> Progress:
    if entry is None:
        run = _free_name(trial, folder, taken)
        taken.add(run)
        return Progress(trial, folder / run)
    progress = Progress(trial, folder / entry.run, is_begun=True)
    if entry.state == FINISHED and not _has_results(progress.folder, entry):
        return progress  # deleted: it is trained again
    if entry.state == FINISHED or (entry.state == FAILED and not retry_failed):
        progress.state, progress.top1 = entry.state, entry.top1
        progress.time_s, progress.error, progress.epochs = entry.time_s, entry.error, entry.epochs
    return progress


def _has_results(folder: Path, entry: Entry) -> bool:
    return (folder / 'metrics.json').is_file() if entry.top1 is not None else folder.is_dir()


def _free_name(trial: Trial, folder: Path, taken: set[str]) -> str:
    """A run folder that neither the ledger names nor another run is in: a setting keeps its name with other data."""
    name, number = f'trials/{trial.name}', 1
    while name in taken or holds_run(folder / name):
        number += 1
        name = f'trials/{trial.name}-{number}'
    return name


class SweepRun:
    """One start of a sweep.

    Args:
        folder: Of the sweep.
        ledger: Its ledger.
        launcher: Starts the trials.
        read_epochs: Reads the figures of each epoch from a ``scalars.json``.
        show: Is called with all trials, often.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        launcher: Launcher,
        read_epochs: ReadEpochs,
        show: Callable[[list[Progress]], object],
    ) -> None:
        self._folder, self._ledger, self._launcher = folder, ledger, launcher
        self._read_epochs, self._show = read_epochs, show
        self._running: list[tuple[Progress, Handle]] = []

    def run(self, all_progress: list[Progress]) -> None:
        """Run every trial that waits; one that fails costs only itself.

        Trials that run when this is interrupted are stopped, and stay "started" in the ledger: they go on next time.

        Raises:
            DiskError: if a trial could not write, as no other could; it and all that run go on next time.
        """
        queue = deque(progress for progress in all_progress if progress.state == WAITING)
        try:
            while queue or self._running:
                self._start_next(queue)
                for progress, _ in self._running:
                    progress.look(self._read_epochs)
                self._show(all_progress)
                time.sleep(POLL_S)
                queue.extend(self._settle_ended())
            self._show(all_progress)
        finally:
            self._stop_all()

    def _start_next(self, queue: deque[Progress]) -> None:
        for progress in [p for p in queue if p.not_before <= time.monotonic()]:
            if len(self._running) >= self._launcher.slots:
                return
            queue.remove(progress)
            if in_use := _in_use(progress.folder):
                queue.extend(self._let_wait(progress, in_use))
                continue
            self._ledger.append(progress.entry(STARTED, self._folder))
            progress.begin()
            self._running.append((progress, self._launcher.start(progress.trial, progress.folder)))

    def _let_wait(self, progress: Progress, in_use: str) -> list[Progress]:
        """Returns what is to be started again: the trial, unless it has waited for long enough."""
        if progress.wait_for_folder():
            return [progress]
        self._fail(progress, in_use)
        return []

    def _settle_ended(self) -> list[Progress]:
        """Write down what became of trials that have ended; returns those to be started again."""
        again = []
        for progress, handle in list(self._running):
            code = handle.poll()
            if code is None:
                continue
            self._running.remove((progress, handle))
            if code == DiskError.exit_code:
                raise DiskError(_stopped_by(progress, handle))
            if code == RunInUseError.exit_code:
                again += self._let_wait(progress, handle.last_words())
            else:
                self._settle(progress, handle, code)
        return again

    def _settle(self, progress: Progress, handle: Handle, code: int) -> None:
        progress.time_s = round(progress.seconds_running(), 1)
        if code != 0:
            self._fail(progress, handle.last_words())
            return
        progress.epochs = progress.epochs_of_start
        progress.state, progress.top1, progress.epoch = FINISHED, _top1(progress.folder), progress.trial.max_epochs
        self._ledger.append(progress.entry(FINISHED, self._folder))

    def _fail(self, progress: Progress, error: str) -> None:
        progress.state, progress.top1, progress.error = FAILED, None, error
        self._ledger.append(progress.entry(FAILED, self._folder))

    def _stop_all(self) -> None:
        for _, handle in self._running:
            handle.ask_to_stop()
        for _, handle in self._running:
            handle.stop()
        for progress, handle in self._running:
            if handle.poll() == 0:  # it was just done
                self._settle(progress, handle, 0)


def _in_use(folder: Path) -> str:
    """Why a trial cannot be started yet; asked here, because it costs a trial seconds to find out."""
    if not folder.is_dir():
        return ''
    try:
        with lock_folder(folder):
            return ''
    except RunInUseError as error:
        return f'exit code {error.exit_code}: {type(error).__name__}: {error}'


def _stopped_by(progress: Progress, handle: Handle) -> str:
    return (
        f'trial {progress.folder.name}: {handle.last_words()} The sweep has stopped, because other trials would meet '
        'the same; then the same command goes on here.'
    )


def _top1(folder: Path) -> float | None:
    """Of the best epoch; None where nothing was validated."""
    try:
        return json.loads((folder / 'metrics.json').read_text(encoding='utf-8'))['top1']
    except FileNotFoundError:
        return None


def shown_path(path: Path) -> str:
    """As the user would type it, where that is shorter."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative
