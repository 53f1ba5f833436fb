"""SIGINT, SIGTERM and SIGHUP for a run: the first lets it finish its step and save, a second one leaves at once.

A leaf like ``errors``: every room may use it, it uses none. It imports nothing heavy, so that a tool can have it
before anything else is imported.
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

HANGUP = getattr(signal, 'SIGHUP', None)  # the terminal was closed, or its connection lost; Windows has none
# By launcher, where it says how many processes a run has.
NUM_PROCESSES = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}


class Interrupted(BaseException):
    """The process was asked to end; no `Exception`, so that nothing on the way takes it for a failure.

    Attributes:
        number: Of the signal.
        saved: The checkpoint to go on from, where one was written; for the last message.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.saved: os.PathLike | None = None

    @property
    def exit_code(self) -> int:
        """As a shell reports a process that the signal has ended: 130, 143 or 129."""
        return 128 + self.number


_received: int | None = None
_was_raised = False  # the signal, as an exception, out of whatever ran
_is_deferred = False
_before: dict[int, object] = {}  # what was to be done on signals before


@contextlib.contextmanager
def handled(launcher: str = 'none') -> Iterator[None]:
    """Handle SIGINT, SIGTERM and SIGHUP within the ``with`` block: they raise `Interrupted`.

    Processes forked meanwhile leave them to this one, and end when it tells them to. One of several processes of a run
    dies of them as ever: its partners wait for it inside a collective operation, where nothing can be saved.

    Args:
        launcher: As ``--launcher``.
    """
    if threading.current_thread() is not threading.main_thread() or _is_one_of_several(launcher):
        yield
        return
    global _received, _was_raised, _before
    _received, _was_raised = None, False
    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP and signal.getsignal(HANGUP) is not signal.SIG_IGN:  # which is how ``nohup`` asks to go on
        numbers.append(HANGUP)
    _before = {number: signal.signal(number, _on_signal) for number in numbers}
    try:
        yield
    except Exception as error:
        if not _was_raised or hasattr(error, 'exit_code'):
            raise
        raise Interrupted(_received) from error  # a library on the way took it for a failure of its own, as yapf does
    finally:
        for number, handler in _before.items():
            signal.signal(number, handler)
        _before = {}


def _is_one_of_several(launcher: str) -> bool:
    return launcher != 'none' and os.environ.get(NUM_PROCESSES[launcher]) != '1'


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within the ``with`` block a signal is only noted: `check` raises where the run can be left."""
    global _is_deferred
    _is_deferred = True
    try:
        yield
    finally:
        _is_deferred = False


def is_pending() -> bool:
    """Whether a signal has come."""
    return _received is not None


def check() -> None:
    """Raise `Interrupted` if a signal has come."""
    if _received is not None:
        raise Interrupted(_received)


def leave(code: int) -> NoReturn:
    """End the process as `sys.exit` does, but without looking through all of torch for garbage: that takes a second."""
    gc.freeze()
    sys.exit(code)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _received, _was_raised
    if _received is not None and HANGUP in (number, _received):
        # The system and the shell each send one, and a session manager SIGTERM with it: all that is one wish.
        _received = number if _received == HANGUP else _received
        return
    if _received is not None:
        _say('ended at once; what was saved before is intact')
        os._exit(128 + number)  # files appear whole or not at all, so there is nothing to tidy up
    _received = number
    if not _is_deferred:
        _was_raised = True
        raise Interrupted(number)
    _say('finishing the step, then saving; a second signal ends the run at once')


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f'{line}\n'.encode())  # not print, in whose middle a signal may come


def _reset_in_child() -> None:
    """A loader worker gets what is sent to the whole group, by Ctrl-C or `timeout`: the run decides when it ends."""
    if signal.getsignal(signal.SIGTERM) is not _on_signal:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if HANGUP:
        signal.signal(HANGUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, 'sigwaitinfo'):  # only where it can be told who has sent it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_told_by, args=(os.getppid(),), daemon=True).start()


def forget_in_child() -> None:
    """Let a forked process take signals as this one did before `handled`, for a program that is begun in it."""
    for number, handler in _before.items():
        signal.signal(number, handler)
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_when_told_by(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)  # as torch's workers answer their parent


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_reset_in_child)
