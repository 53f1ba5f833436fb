"""SIGINT, SIGTERM and SIGHUP: the first one lets a run finish its step and save, a second one ends it at once.

Nothing heavy is imported here, so that a tool can handle signals before it imports anything else.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

HANGUP = getattr(signal, 'SIGHUP', None)  # the terminal was closed, or its connection was lost; Windows has none
# By launcher, the variable that holds the number of processes of a run.
NUM_PROCESSES = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}


class Interrupted(BaseException):
    """The process was asked to end. It is no `Exception`, so that no library takes it for a failure.

    Attributes:
        number: The signal's number.
        checkpoint: The checkpoint to resume from; None where none was written.
    """

    def __init__(self, number: int, checkpoint: os.PathLike | None = None) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.checkpoint = checkpoint

    @property
    def exit_code(self) -> int:
        """The code that a shell reports for a process ended by this signal: 130, 143 or 129."""
        return 128 + self.number


_received: int | None = None
_was_raised = False  # whether the signal was raised as an exception out of whatever ran
_is_deferred = False
_handlers_before: dict[int, object] = {}


@contextlib.contextmanager
def handle_signals(launcher: str = 'none') -> Iterator[None]:
    """Raise `Interrupted` on SIGINT, SIGTERM and SIGHUP within the ``with`` block.

    Forked processes ignore these signals and end when this process tells them to. Distributed runs keep the default
    handlers: other ranks may be blocked in a collective operation, so no checkpoint could be saved.

    Args:
        launcher: As ``--launcher``.
    """
    if threading.current_thread() is not threading.main_thread() or _is_distributed(launcher):
        yield
        return
    global _received, _was_raised, _handlers_before
    _received, _was_raised = None, False
    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP and signal.getsignal(HANGUP) is not signal.SIG_IGN:  # ``nohup`` ignores it, to go on
        numbers.append(HANGUP)
    _handlers_before = {number: signal.signal(number, _on_signal) for number in numbers}
    try:
        yield
    except Exception as error:
        if not _was_raised or hasattr(error, 'exit_code'):
            raise
        raise Interrupted(_received) from error  # some libraries, such as yapf, wrap whatever is raised inside them
    finally:
        for number, handler in _handlers_before.items():
            signal.signal(number, handler)
        _handlers_before = {}
        _received = None  # else a later run in this process would end at its first check


def _is_distributed(launcher: str) -> bool:
    return launcher != 'none' and os.environ.get(NUM_PROCESSES[launcher]) != '1'


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Only note a signal within the ``with`` block; `check` raises it where the run can be left."""
    global _is_deferred
    _is_deferred = True
    try:
        yield
    finally:
        _is_deferred = False


def is_pending() -> bool:
    """Return whether a signal has come."""
    return _received is not None


def check() -> None:
    """Raise `Interrupted` if a signal has come."""
    if _received is not None:
        raise Interrupted(_received)


def exit_fast(code: int) -> NoReturn:
    """End the process as `sys.exit` does, without the second that collecting the garbage of torch takes."""
    gc.freeze()
    sys.exit(code)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _received, _was_raised
    if _received is not None and HANGUP in (number, _received):
        # Closing a terminal can deliver SIGHUP twice plus SIGTERM; treat them as one request.
        _received = number if _received == HANGUP else _received
        return
    if _received is not None:
        _write_line('ended at once; what was saved before is intact')
        os._exit(128 + number)  # files are written atomically, so there is nothing to tidy up
    _received = number
    if not _is_deferred:
        _was_raised = True
        raise Interrupted(number)
    _write_line('finishing the step, then saving; a second signal ends the run at once')


def _write_line(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f'{line}\n'.encode())  # not print: a signal can come in the middle of a print


def _ignore_in_child() -> None:
    """Ignore signals in a forked process: Ctrl-C and `timeout` send them to the whole group, workers included."""
    if signal.getsignal(signal.SIGTERM) is not _on_signal:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if HANGUP:
        signal.signal(HANGUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, 'sigwaitinfo'):  # it names the sender
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_on_sigterm_from, args=(os.getppid(),), daemon=True).start()


def restore_in_child() -> None:
    """Restore the handlers from before `handle_signals`, in a forked process that starts another program."""
    for number, handler in _handlers_before.items():
        signal.signal(number, handler)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_on_sigterm_from(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)  # as torch's workers answer their parent


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_ignore_in_child)
