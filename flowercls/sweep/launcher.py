"""How a trial is started and watched: one small interface, and its implementation with processes of this machine.

Another way of running trials, such as a cluster, is another `Launcher`.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flowercls.config.overrides import as_options
from flowercls.core import signals
from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors
from flowercls.sweep.trials import Trial

TRAIN_TOOL = Path(__file__).parents[2] / 'tools' / 'train.py'
CONSOLE_FILE = 'console.txt'  # in the run folder: what the trial would have shown on a terminal
ERROR_LINE = re.compile(r'^[\w.]*(Error|Exception|Interrupt)\b')
GRACE_S = 20  # to stop in, before it is killed
PR_SET_PDEATHSIG = 1


def check_jobs(jobs: int) -> None:
    """Raise a `ConfigError` unless ``jobs`` is a number of processes."""
    if jobs < 1:
        raise ConfigError(f'--jobs {jobs}: expected 1 or more.')


class Handle(Protocol):
    """A trial that was started."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def last_words(self) -> str:
        """Why it failed, in a line."""

    def ask_to_stop(self) -> None:
        """Ask it to stop where it can go on later; returns at once."""

    def stop(self) -> None:
        """Wait until it has stopped; by force, if it takes too long."""


class Launcher(Protocol):
    """Starts trials.

    Attributes:
        slots: How many may run at once.
    """

    slots: int

    def start(self, trial: Trial, folder: Path) -> Handle:
        """Start a trial in its run folder; one that was begun there goes on."""


def train_command(trial: Trial, folder: Path) -> list[str]:
    """The command that runs a trial, as one would type it."""
    options = ['--work-dir', str(folder), '--resume', '--cfg-options', *as_options(trial.overrides)]
    return [sys.executable, str(TRAIN_TOOL), trial.config, *options]


@dataclass(frozen=True)
class Share:
    """What one of several processes may use; None of either is everything.

    Attributes:
        cpus: Numbers of cores.
        gpu: Name of a device, as in ``CUDA_VISIBLE_DEVICES``.
    """

    cpus: tuple[int, ...] | None
    gpu: str | None


def shares(jobs: int, cpus: list[int] | None, gpus: list[str]) -> list[Share]:
    """Divide cores and GPUs among ``jobs`` processes; with fewer than processes, some are shared.

    Example:
        >>> [share.cpus for share in shares(2, [0, 1, 2, 3, 4], [])]
        [(0, 1), (2, 3, 4)]
    """
    found = []
    for job in range(jobs):
        own = None
        if cpus:
            first, last = job * len(cpus) // jobs, (job + 1) * len(cpus) // jobs
            own = tuple(cpus[first:last]) or (cpus[first],)
        found.append(Share(own, gpus[job % len(gpus)] if gpus else None))
    return found


class LocalLauncher:
    """Runs trials as processes of this machine, each with its share of the cores and a GPU.

    Args:
        jobs: How many at once.
    """

    def __init__(self, jobs: int) -> None:
        self.slots = jobs
        cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None
        self._shares = shares(jobs, cpus, _gpus())
        self._running: list[LocalHandle | None] = [None] * jobs

    def start(self, trial: Trial, folder: Path) -> 'LocalHandle':
        """Start a trial in a free slot."""
        slot = next(i for i, handle in enumerate(self._running) if handle is None or handle.poll() is not None)
        handle = LocalHandle(train_command(trial, folder), folder, self._shares[slot])
        self._running[slot] = handle
        return handle


class LocalHandle:
    """A trial in a process of its own."""

    def __init__(self, command: list[str], folder: Path, share: Share) -> None:
        self._console = folder / CONSOLE_FILE
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with self._console.open('ab') as console:
                self._offset = console.tell()
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    env=_environment(share),
                    start_new_session=True,  # Ctrl-C reaches only us, and we pass it on, once
                    preexec_fn=_in_the_child(os.getpid()) if os.name == 'posix' else None,
                )
        if share.cpus:
            os.sched_setaffinity(self._process.pid, share.cpus)  # before it has even imported torch, which looks here

    def poll(self) -> int | None:
        """See `Handle`."""
        return self._process.poll()

    def last_words(self) -> str:
        """The line that names the error, else the last one; and the exit code."""
        code = self._process.returncode
        how = f'exit code {code}' if code >= 0 else f'ended by {_signal_name(-code)}'
        with self._console.open('rb') as file:
            file.seek(self._offset)
            lines = [line.strip() for line in file.read().decode(errors='replace').splitlines() if line.strip()]
        named = [line for line in lines if ERROR_LINE.match(line)]
        return ': '.join([how, *(named or lines)[-1:]])

    def ask_to_stop(self) -> None:
        """As Ctrl-C."""
        if self._process.poll() is None:
            try:
                self._process.send_signal(signal.SIGINT)
            except ValueError:  # Windows knows no Ctrl-C for one process alone; a run goes on after any end
                self._process.terminate()

    def stop(self) -> None:
        """See `Handle`."""
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment(share: Share) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in ('LOCAL_RANK', 'RANK')}
    ours = [str(TRAIN_TOOL.parents[1]), environment.get('PYTHONPATH', '')]
    environment.update(PYTHONPATH=os.pathsep.join(path for path in ours if path), PYTHONUNBUFFERED='1')
    if share.cpus:
        environment.update(OMP_NUM_THREADS=str(len(share.cpus)), MKL_NUM_THREADS=str(len(share.cpus)))
    if share.gpu is not None:
        environment['CUDA_VISIBLE_DEVICES'] = share.gpu
    return environment


def _gpus() -> list[str]:
    import torch

    count = torch.cuda.device_count()
    visible = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name.strip()]
    return visible[:count] if visible else [str(number) for number in range(count)]


def _in_the_child(parent: int):
    """What a trial's process does before it becomes train.py."""
    # Looked up here: between fork and exec as little as possible is done.
    prctl = ctypes.CDLL(None).prctl if sys.platform == 'linux' else None

    def prepare() -> None:
        signals.restore_in_child()
        # A shell that runs us with & has it ignored, and that is inherited.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if prctl:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # when we are killed: nobody would ever hear of its result
            if os.getppid() != parent:  # we were killed meanwhile
                os._exit(1)

    return prepare


def _signal_name(number: int) -> str:
    return next((entry.name for entry in signal.Signals if entry == number), f'signal {number}')
