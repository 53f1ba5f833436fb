"""The clock of a contestant: a training loop that takes some steps whenever it is told to, and times them."""

import resource
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from mmengine.hooks import Hook


@dataclass(frozen=True)
class Round:
    """An order to train.

    Attributes:
        lead: Steps before the clock starts.
        steps: That are timed at least.
        seconds: They take at least.
    """

    lead: int
    steps: int
    seconds: float


class Pace:
    """Lets a training loop go a round at a time.

    The loop calls `step_begins` once it has its batch and `step_ended` when the step is done. Orders are `Round`s or
    None to stop; each round is answered with a dict: ``photos``, ``seconds``, and ``waited``, the seconds of them spent
    between two steps, which is where a loop waits for data. The first step is taken without an order.

    Args:
        pipe: Brings orders and takes answers.
        created: `time.time` at which this process was asked for.
    """

    def __init__(self, pipe: Connection, created: float) -> None:
        self._pipe, self._created, self._imported = pipe, created, time.time()
        self._round: Round | None = None
        self._is_first = True

    def step_begins(self) -> None:
        """Note how long the data took; between rounds, wait for the next order.

        Raises:
            SystemExit: if the order is to stop.
        """
        if self._is_first:
            return
        if self._round is None:
            self._take_order()
        elif self._steps >= 0:
            self._waited += time.perf_counter() - self._ended

    def step_ended(self, num_photos: int) -> None:
        """Count the step, and answer if it was the last of its round."""
        if self._is_first:
            _wait_for_device()
            self._is_first = False
            self._pipe.send({'imports_s': self._imported - self._created, 'first_step_s': time.time() - self._imported})
            return
        self._steps += 1
        if self._steps == 0:
            self._start_clock()
        elif self._steps > 0:
            self._photos += num_photos
        self._ended = time.perf_counter()
        if self._steps >= self._round.steps and self._ended - self._started >= self._round.seconds:
            self._answer()

    def _take_order(self) -> None:
        try:
            self._round = self._pipe.recv()
        except (EOFError, ConnectionResetError):  # nobody is left to answer to
            self._round = None
        if self._round is None:
            sys.exit()
        self._steps, self._photos, self._waited = -self._round.lead, 0, 0.0
        self._start_clock()

    def _start_clock(self) -> None:
        _wait_for_device()
        self._started = self._ended = time.perf_counter()

    def _answer(self) -> None:
        _wait_for_device()
        seconds = time.perf_counter() - self._started
        self._pipe.send({'photos': self._photos, 'seconds': seconds, 'waited': self._waited, **_memory()})
        self._round = None


class PaceHook(Hook):
    """Puts an mmengine Runner under a `Pace`."""

    priority = 'LOWEST'  # of all hooks the last, so that their work is part of the step

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """The batch is there."""
        self._pace.step_begins()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """The step is done."""
        self._pace.step_ended(len(data_batch['data_samples']))


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _memory() -> dict[str, float]:
    """Peak so far in bytes: of this process, of the largest of its loader workers, and of the GPU."""
    kib = 1 if sys.platform == 'darwin' else 1024
    own, children = (
        resource.getrusage(who).ru_maxrss * kib for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {'memory': own, 'worker_memory': children, 'gpu_memory': gpu}
