"""A map over worker processes in which a crashing process costs one item, not the run.

Image libraries are native code: a hostile file can end the process that decodes it. Each worker has a pipe of its own
and one item at a time, so it is always known which item a crash belongs to, and nothing is shared that a crash could
leave locked. (`concurrent.futures` gives up all items on a crash, and in Python 3.11 may wait forever after it.)
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress

Item = TypeVar('Item')
Result = TypeVar('Result')
ITEMS_PER_PROCESS = 8  # fewer are not worth starting one more
_NO_ITEM = object()


def usable_cpus() -> int:
    """CPUs this process may use, which in a container are often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None,
    on_crash: Callable[[Item], Result],
) -> Iterator[Result]:
    """Yield ``function(item)`` for every item, in any order; an exception in it is raised here.

    Args:
        function: Importable by name, as worker processes start afresh ("spawn").
        items: Each picklable.
        workers: Number of processes; None takes one a CPU, 0 computes in this process.
        on_crash: Gives the result of an item that ends its process.
    """
    workers = min(usable_cpus() if workers is None else workers, -(-len(items) // ITEMS_PER_PROCESS))
    waiting = list(reversed(items))
    crew = [_Worker(function) for _ in range(workers)]
    try:
        while crew and (waiting or any(worker.busy for worker in crew)):
            pipes = wait([worker.pipe for worker in crew])
            for worker in [worker for worker in crew if worker.pipe in pipes]:
                answer = worker.answer()
                if answer is None and not worker.busy:
                    # It did not even start: the main program cannot be imported (a script without a main guard, or
                    # one read from stdin). What no worker takes is computed below.
                    crew.remove(worker)
                    worker.end()
                    continue
                if answer is None:
                    crew[crew.index(worker)] = _Worker(function)
                    answer = [on_crash(worker.end())]
                elif waiting:
                    worker.give(waiting.pop())
                yield from answer
    finally:
        for worker in crew:
            worker.end()
    yield from map(function, reversed(waiting))


class _Worker:
    """A process that computes one item after the other."""

    def __init__(self, function: Callable) -> None:
        # spawn: a fork copies the locks of running threads in whatever state they are.
        context = multiprocessing.get_context('spawn')
        self.pipe, other_end = context.Pipe()
        self._item: Any = _NO_ITEM
        self._process = context.Process(target=_serve, args=(other_end, function), daemon=True)
        self._process.start()
        other_end.close()  # the process holds the only one: when it dies, ours says so

    @property
    def busy(self) -> bool:
        return self._item is not _NO_ITEM

    def give(self, item: Any) -> None:
        self._item = item
        with contextlib.suppress(OSError):  # it died while idle; the next `answer` says so
            self.pipe.send(item)

    def answer(self) -> list | None:
        """One result, or none from a worker that reports for work; None if it died."""
        try:
            results, error = self.pipe.recv()
        except (EOFError, OSError):
            return None
        if error is not None:
            raise error
        self._item = _NO_ITEM
        return results

    def end(self) -> Any:
        """Stop it, at once; returns the item it was working on."""
        self._process.terminate()
        self._process.join()
        self.pipe.close()
        return self._item


def _serve(pipe: Connection, function: Callable) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    answer = [], None
    with contextlib.suppress(EOFError, OSError):  # the parent is done, or gone
        while True:
            pipe.send(answer)
            item = pipe.recv()
            try:
                answer = [function(item)], None
            except Exception as error:
                error.add_note(f'In a worker process:\n{traceback.format_exc()}')
                answer = [], error


def with_progress(results: Iterator[Result], total: int, title: str) -> Iterator[Result]:
    """Pass ``results`` on, with a progress bar if someone looks at a terminal."""
    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(results, total=total, description=title)
