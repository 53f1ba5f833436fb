"""The scheduler of a sweep: it runs the trials that are not finished, and records how each ends."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowercls.core.errors import DiskError, RunInUseError
from flowercls.core.files import numbered
from flowercls.core.layout import LAST_CHECKPOINT_FILE, METRICS_FILE, SCALARS_FILE, TRIALS_DIR
from flowercls.evaluate.scalars import read_epochs
from flowercls.sweep.launcher import Handle, Launcher
from flowercls.sweep.ledger import FAILED, FINISHED, STARTED, Entry, Ledger
from flowercls.sweep.trials import Trial
from flowercls.train.run_dir import holds_run, lock_folder

WAITING, IN_USE, RUNNING = 'waiting', 'in use', 'running'  # besides the states in the ledger
ENDED = (FINISHED, FAILED)
POLL_S = 0.2
RETRY_S = 3.0  # between looks at a run folder in which a process of an earlier start still works
GIVE_UP_S = 300.0  # such a process dies with its sweep, or ends soon


@dataclass
class TrialState:
    """How far a trial is; only the `TrialScheduler` changes it.

    Attributes:
        trial: The trial.
        folder: Its run folder.
        status: ``'waiting'``, ``'in use'`` by a process of an earlier start, ``'running'``, ``'finished'`` or
            ``'failed'``.
        epoch: Number of complete epochs, as far as known.
        top1: Best validation top-1 so far, in percent.
        time_s: Wall-clock seconds of the start that ended.
        epochs: Number of epochs in ``time_s``; None is all.
        error: Why it failed.
        in_use_since: Time of `time.monotonic` at which another process was first met in its folder.
        not_before: Time of `time.monotonic` of the next attempt to start it.
    """

    trial: Trial
    folder: Path
    status: str = WAITING
    epoch: int = 0
    top1: float | None = None
    time_s: float | None = None
    epochs: int | None = None
    error: str | None = None
    in_use_since: float | None = None
    not_before: float = 0.0
    _size_read: int = -1  # bytes of `SCALARS_FILE`
    _start_time: float = 0.0
    _first_epoch: int = 0  # complete epochs at the start
    _seconds_at_epoch: float = 0.0  # from the start to the end of the last epoch

    @property
    def can_resume(self) -> bool:
        """Whether an earlier start has left a checkpoint."""
        return (self.folder / LAST_CHECKPOINT_FILE).is_file()

    @property
    def seconds_running(self) -> float:
        """Wall-clock seconds since its start."""
        return time.monotonic() - self._start_time

    @property
    def pace(self) -> tuple[int, float]:
        """Number of epochs of its last start, and the seconds they took; zeros if not known."""
        if self.status == RUNNING:
            return self.epoch - self._first_epoch, self._seconds_at_epoch
        if self.status == FINISHED and self.time_s:
            return self.trial.max_epochs if self.epochs is None else self.epochs, self.time_s
        return 0, 0.0

    def begin(self) -> None:
        """Set the status to running, and start its clock."""
        self.update()
        self.status, self.error, self.epochs = RUNNING, None, None
        self._start_time, self._first_epoch, self._seconds_at_epoch = time.monotonic(), self.epoch, 0.0

    def update(self) -> None:
        """Read the figures of all epochs so far, if there are new ones."""
        path = self.folder / SCALARS_FILE
        size = path.stat().st_size if path.is_file() else 0
        if size == self._size_read:  # a long run has thousands of lines, and this is called five times a second
            return
        self._size_read, epochs = size, read_epochs(path)
        epoch = epochs[-1]['epoch'] if epochs else 0
        self.top1 = max((figures['accuracy/top1'] for figures in epochs if 'accuracy/top1' in figures), default=None)
        if epoch != self.epoch:
            self.epoch, self._seconds_at_epoch = epoch, self.seconds_running

    def finish(self, top1: float | None) -> None:
        """Set the status to finished, with the validation top-1 in percent if there is one."""
        self.status, self.top1, self.time_s = FINISHED, top1, round(self.seconds_running, 1)
        self.epoch, self.epochs = self.trial.max_epochs, self.trial.max_epochs - self._first_epoch


def plan_trials(trials: list[Trial], folder: Path, ledger: Ledger, *, retry_failed: bool = False) -> list[TrialState]:
    """Return the state and the run folder of each trial.

    Args:
        trials: All trials of the sweep.
        folder: The sweep folder.
        ledger: The sweep's ledger.
        retry_failed: Whether failed trials wait for another attempt.
    """
    entries = ledger.latest()
    taken = {folder / entry.run for entry in entries.values()}
    states = []
    for trial in trials:
        entry = entries.get(trial.key)
        if entry is None:
            # With other data, a trial of the same name may have been run before.
            runs = numbered(folder / TRIALS_DIR / trial.name)
            run = next(run for run in runs if run not in taken and not holds_run(run))
            taken.add(run)
            states.append(TrialState(trial, run))
            continue
        state = TrialState(trial, folder / entry.run)
        has_results = (state.folder / METRICS_FILE).is_file() if entry.top1 is not None else state.folder.is_dir()
        if (entry.state == FINISHED and has_results) or (entry.state == FAILED and not retry_failed):
            state.status, state.top1, state.time_s = entry.state, entry.top1, entry.time_s
            state.epochs, state.error = entry.epochs, entry.error
        states.append(state)
    return states


class TrialScheduler:
    """Runs the waiting trials of a sweep.

    Args:
        folder: The sweep folder.
        ledger: Its ledger.
        launcher: Starts the trials.
        show: Is called with the states of all trials, often.
        poll_s: Seconds between looks at running trials.
        retry_s: Seconds between looks at a run folder that is in use.
        give_up_s: Seconds after which a trial fails whose run folder is in use.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        launcher: Launcher,
        show: Callable[[list[TrialState]], object],
        *,
        poll_s: float = POLL_S,
        retry_s: float = RETRY_S,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._folder, self._ledger, self._launcher, self._show = folder, ledger, launcher, show
        self._poll_s, self._retry_s, self._give_up_s = poll_s, retry_s, give_up_s
        self._running: list[tuple[TrialState, Handle]] = []

    def run(self, states: list[TrialState]) -> None:
        """Run every waiting trial. A trial that fails does not stop the others.

        An interruption stops the running trials. They stay "started" in the ledger and are resumed at the next start.

        Raises:
            DiskError: if a trial could not write, as no other trial could. The next start resumes all running trials.
        """
        try:
            while any(state.status not in ENDED for state in states):
                self._start_waiting(states)
                for state, _ in self._running:
                    state.update()
                self._show(states)
                time.sleep(self._poll_s)
                self._settle_ended()
            self._show(states)
        finally:
            self._stop_all()

    def _start_waiting(self, states: list[TrialState]) -> None:
        for state in states:
            if len(self._running) >= self._launcher.slots:
                return
            if state.status not in (WAITING, IN_USE) or time.monotonic() < state.not_before:
                continue
            if in_use := _in_use(state.folder):
                self._retry_later(state, in_use)
                continue
            self._record(state, STARTED)
            state.begin()
            self._running.append((state, self._launcher.start(state.trial, state.folder)))

    def _retry_later(self, state: TrialState, reason: str) -> None:
        now = time.monotonic()
        if state.in_use_since is None:
            state.in_use_since = now
        if now - state.in_use_since >= self._give_up_s:
            self._fail(state, reason)
        else:
            state.status, state.not_before = IN_USE, now + self._retry_s

    def _settle_ended(self) -> None:
        for state, handle in list(self._running):
            code = handle.poll()
            if code is None:
                continue
            self._running.remove((state, handle))
            if code == DiskError.exit_code:
                raise DiskError(
                    f'trial {state.folder.name}: {handle.failure_summary()} The sweep has stopped, because other '
                    'trials would fail in the same way. The same command resumes it.'
                )
            if code == RunInUseError.exit_code:
                self._retry_later(state, handle.failure_summary())
            elif code == 0:
                self._finish(state)
            else:
                state.time_s = round(state.seconds_running, 1)
                self._fail(state, handle.failure_summary())

    def _finish(self, state: TrialState) -> None:
        metrics = state.folder / METRICS_FILE  # missing if nothing was validated
        state.finish(json.loads(metrics.read_text(encoding='utf-8'))['top1'] if metrics.exists() else None)
        self._record(state, FINISHED)

    def _fail(self, state: TrialState, error: str) -> None:
        state.status, state.top1, state.error = FAILED, None, error
        self._record(state, FAILED)

    def _record(self, state: TrialState, event: str) -> None:
        trial, run = state.trial, state.folder.relative_to(self._folder).as_posix()
        figures = (state.top1, state.time_s, state.error, state.epochs)
        self._ledger.append(Entry(trial.key, trial.setting.name, trial.seed, event, run, *figures))

    def _stop_all(self) -> None:
        for _, handle in self._running:
            handle.request_stop()
        for _, handle in self._running:
            handle.wait_stopped()
        for state, handle in self._running:
            if handle.poll() == 0:  # it had just finished
                self._finish(state)


def _in_use(folder: Path) -> str:
    """Return the reason why a trial cannot start yet; a process would need seconds to find out."""
    if not folder.is_dir():
        return ''
    try:
        with lock_folder(folder):
            return ''
    except RunInUseError as error:
        return f'exit code {error.exit_code}: {type(error).__name__}: {error}'
