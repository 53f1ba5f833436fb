"""A map over worker processes in which a crashing process costs one item, not the run.

Image libraries are native code: a hostile file can end the process that decodes it. Each worker has a pipe of its own
and a few items at a time; after a crash these are computed again one by one, so that it is known which item it belongs
to, and nothing is shared that a crash could leave locked. (`concurrent.futures` gives up all items on a crash, and in
Python 3.11 may wait forever after it.)
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')
ITEMS_PER_PROCESS = 8  # fewer are not worth starting one more
MOST_AT_ONCE = 32  # items in one message: more save no time, and a progress bar would jump


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
        function: Importable by name, as worker processes start afresh ("spawn"). It may see an item twice, where
            another item ended their process.
        items: Each picklable.
        workers: Number of processes; None takes one a CPU, 0 computes in this process.
        on_crash: Gives the result of an item that ends its process.
    """
    workers = min(usable_cpus() if workers is None else workers, -(-len(items) // ITEMS_PER_PROCESS))
    queue = _Queue(items, workers)
    crew = [_Worker(function) for _ in range(workers)]
    try:
        while crew and (queue.has_more or any(worker.busy for worker in crew)):
            pipes = wait([worker.pipe for worker in crew])
            for worker in [worker for worker in crew if worker.pipe in pipes]:
                answer = worker.answer()
                if answer is not None:
                    worker.give(queue.next_batch())
                elif worker.busy:
                    crew[crew.index(worker)] = _Worker(function)
                    answer = queue.after_crash(worker.end(), on_crash)
                else:
                    # It did not even start: the main program cannot be imported (a script without a main guard, or
                    # one read from stdin). What no worker takes is computed below.
                    crew.remove(worker)
                    worker.end()
                yield from answer or []
    finally:
        for worker in crew:
            worker.end()
    while batch := queue.next_batch():
        yield from map(function, batch)


class _Queue:
    """Items that wait for a worker, in batches."""

    def __init__(self, items: Sequence[Item], workers: int) -> None:
        self._waiting, self._suspects = list(reversed(items)), []
        self._at_once = min(MOST_AT_ONCE, max(1, len(items) // (ITEMS_PER_PROCESS * max(1, workers))))

    @property
    def has_more(self) -> bool:
        return bool(self._suspects or self._waiting)

    def next_batch(self) -> list[Item]:
        """The items to be computed next; none if there are none."""
        if self._suspects:
            return [self._suspects.pop()]
        return [self._waiting.pop() for _ in range(min(self._at_once, len(self._waiting)))]

    def after_crash(self, batch: list[Item], on_crash: Callable[[Item], Result]) -> list[Result]:
        """The result of the item that ended a process, if it is clear which one did."""
        if len(batch) == 1:
            return [on_crash(batch[0])]
        self._suspects += batch
        return []


class _Worker:
    """A process that computes one batch of items after the other."""

    def __init__(self, function: Callable) -> None:
        # spawn: a fork copies the locks of running threads in whatever state they are.
        context = multiprocessing.get_context('spawn')
        self.pipe, other_end = context.Pipe()
        self._batch: list = []
        self._process = context.Process(target=_serve, args=(other_end, function), daemon=True)
        self._process.start()
        other_end.close()  # the process holds the only one: when it dies, ours says so

    @property
    def busy(self) -> bool:
        return bool(self._batch)

    def give(self, batch: list) -> None:
        """Let it compute a batch; an empty one leaves it idle."""
        self._batch = batch
        if batch:
            with contextlib.suppress(OSError):  # it died while idle; the next `answer` says so
                self.pipe.send(batch)

    def answer(self) -> list | None:
        """The results of its batch, none from a worker that reports for work; None if it died."""
        try:
            results, error = self.pipe.recv()
        except (EOFError, OSError):
            return None
        if error is not None:
            raise error
        self._batch = []
        return results

    def end(self) -> list:
        """Stop it, at once; returns the items it was working on."""
        self._process.terminate()
        self._process.join()
        self.pipe.close()
        return self._batch


def _serve(pipe: Connection, function: Callable) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    answer = [], None
    with contextlib.suppress(EOFError, OSError):  # the parent is done, or gone
        while True:
            pipe.send(answer)
            batch = pipe.recv()
            try:
                answer = [function(item) for item in batch], None
            except Exception as error:
                error.add_note(f'In a worker process:\n{traceback.format_exc()}')
                answer = [], error


def with_progress(results: Iterable[Result], total: int, title: str) -> Iterator[Result]:
    """Pass ``results`` on, with a progress bar if someone looks at a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console  # here: the worker processes import this module, and show nothing
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(results, description=title, total=total, console=console, transient=True)
