"""Launchers, which start and watch trials: their interface, and the one for processes on this machine.

A cluster would need another `Launcher`.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flowercls.config.overrides import as_options
from flowercls.core import signals
from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors
from flowercls.core.layout import CONSOLE_FILE
from flowercls.sweep.trials import Trial

PACKAGE_PARENT = Path(__file__).parents[2]
TRAIN = "from flowercls.commands._cli import main; main('train')"  # tools/ is not part of a wheel
ERROR_LINE = re.compile(r'^[\w.]*(Error|Exception|Interrupt)\b')
MAX_STOP_S = 20  # after an interrupt; then the process is killed
PR_SET_PDEATHSIG = 1  # of Linux's prctl


class Handle(Protocol):
    """A started trial."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def failure_summary(self) -> str:
        """Return in one line why it failed."""

    def request_stop(self) -> None:
        """Ask it to save and stop; returns at once."""

    def wait_stopped(self) -> None:
        """Wait until it has stopped; kill it if it takes too long."""


class Launcher(Protocol):
    """Starts trials.

    Attributes:
        slots: How many trials may run at once.
    """

    slots: int

    def start(self, trial: Trial, folder: Path) -> Handle:
        """Start a trial in its run folder, or resume it there."""


def train_command(trial: Trial, folder: Path, *, trust_checkpoint: bool = False) -> list[str]:
    """Return the command that runs a trial in its folder; it draws no pictures, which the report does on demand.

    Nor does it calibrate, which can take longer than a trial on cached features; `predict --calibrate` does.
    """
    options = ['--work-dir', str(folder), '--resume', '--no-pictures']
    is_asked_for = any(key.partition('.')[0] == 'calibration' for key in trial.overrides)
    if trust_checkpoint and trial.cfg.get('load_from'):  # refused where there is nothing to trust
        options.append('--trust-checkpoint')
    options += ['--cfg-options', *([] if is_asked_for else ['calibration=None']), *as_options(trial.overrides)]
    return [sys.executable, '-c', TRAIN, trial.setting.config, *options]


@dataclass(frozen=True)
class Resources:
    """The part of this machine that one process uses; None is all of it.

    Attributes:
        cpus: Numbers of cores.
        gpu: Name of a device, as in ``CUDA_VISIBLE_DEVICES``.
    """

    cpus: tuple[int, ...] | None = None
    gpu: str | None = None


def divide_machine(jobs: int, cpus: list[int] | None, gpus: list[str]) -> list[Resources]:
    """Divide cores and GPUs among ``jobs`` processes; some are shared if there are fewer of them.

    Example:
        >>> [part.cpus for part in divide_machine(2, [0, 1, 2, 3, 4], [])]
        [(0, 1), (2, 3, 4)]
    """
    parts = []
    for job in range(jobs):
        part = None
        if cpus:
            first, last = job * len(cpus) // jobs, (job + 1) * len(cpus) // jobs
            part = tuple(cpus[first:last]) or (cpus[first],)
        parts.append(Resources(part, gpus[job % len(gpus)] if gpus else None))
    return parts


def list_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as in ``CUDA_VISIBLE_DEVICES``."""
    import torch

    count = torch.cuda.device_count()
    visible = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name.strip()]
    return visible[:count] if visible else [str(number) for number in range(count)]


class LocalLauncher:
    """Runs trials as processes of this machine, each with its part of the cores and a GPU.

    Args:
        jobs: How many trials run at once.
        make_command: Returns the command that runs a trial in its folder.

    Raises:
        ConfigError: if ``jobs`` is less than 1.
    """

    def __init__(self, jobs: int, make_command: Callable[[Trial, Path], list[str]] = train_command) -> None:
        if jobs < 1:
            raise ConfigError(f'--jobs {jobs}: expected 1 or more.')
        self.slots, self._make_command = jobs, make_command
        self._parts: list[Resources] = []
        self._running: list[LocalHandle | None] = [None] * jobs

    def start(self, trial: Trial, folder: Path) -> 'LocalHandle':
        """Start a trial in a free slot."""
        if not self._parts:  # not before: torch, which counts the GPUs, is slow to import
            cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None
            self._parts = divide_machine(self.slots, cpus, list_gpus())
        slot = next(i for i, handle in enumerate(self._running) if handle is None or handle.poll() is not None)
        handle = self._running[slot] = LocalHandle(self._make_command(trial, folder), folder, self._parts[slot])
        return handle


class LocalHandle:
    """A trial in a process of its own.

    Args:
        command: The program and its arguments.
        folder: The run folder, which receives the output.
        resources: What the process may use.
    """

    def __init__(self, command: list[str], folder: Path, resources: Resources) -> None:
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
                    env=_environment(resources),
                    start_new_session=True,  # Ctrl-C reaches only this process, which passes it on once
                    preexec_fn=_child_setup(os.getpid()) if os.name == 'posix' else None,
                )
        if resources.cpus:
            os.sched_setaffinity(self._process.pid, resources.cpus)  # before the child imports torch, which reads it

    def poll(self) -> int | None:
        """See `Handle`."""
        return self._process.poll()

    def failure_summary(self) -> str:
        """Return the exit code, and the line that names the error or else the last line."""
        code = self._process.returncode
        if code >= 0:
            how = f'exit code {code}'
        else:
            names = {number: number.name for number in signal.Signals}
            how = f'ended by {names.get(-code, f"signal {-code}")}'
        with self._console.open('rb') as file:
            file.seek(self._offset)
            lines = [line.strip() for line in file.read().decode(errors='replace').splitlines() if line.strip()]
        errors = [line for line in lines if ERROR_LINE.match(line)]
        return ': '.join([how, *(errors or lines)[-1:]])

    def request_stop(self) -> None:
        """Interrupt the process as Ctrl-C does."""
        if self._process.poll() is None:
            try:
                self._process.send_signal(signal.SIGINT)
            except ValueError:  # Windows has no Ctrl-C for one process; a run can be resumed after any end
                self._process.terminate()

    def wait_stopped(self) -> None:
        """See `Handle`."""
        try:
            self._process.wait(MAX_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment(resources: Resources) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in ('LOCAL_RANK', 'RANK')}
    paths = [str(PACKAGE_PARENT), environment.get('PYTHONPATH', '')]
    environment.update(PYTHONPATH=os.pathsep.join(filter(None, paths)), PYTHONUNBUFFERED='1')
    if resources.cpus:
        for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
            number = environment.get(name, '')  # the user's counts if it is smaller
            is_smaller = number.isdecimal() and 0 < int(number) < len(resources.cpus)
            environment[name] = number if is_smaller else str(len(resources.cpus))
    if resources.gpu is not None:
        environment['CUDA_VISIBLE_DEVICES'] = resources.gpu
    return environment


def _child_setup(parent: int) -> Callable[[], None]:
    """Return the function that the new process runs before it becomes train.py."""
    # Looked up here: as little as possible happens between fork and exec.
    prctl = ctypes.CDLL(None).prctl if sys.platform == 'linux' else None

    def set_up() -> None:
        signals.restore_in_child()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell that runs us with & has it ignored, and children inherit
        if prctl:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # if the sweep is killed: nobody would record the result
            if os.getppid() != parent:  # the sweep was killed meanwhile
                os._exit(1)

    return set_up
