"""A map over worker processes in which a crash costs one item, not the run.

Image libraries are native code: a hostile file can end the process that decodes it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')
MIN_ITEMS_PER_PROCESS = 8  # starting a process costs more than fewer items
MAX_BATCH = 8  # items in one message


def usable_cpus() -> int:
    """Return the number of CPUs this process may use; a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def num_threads(num_processes: int = 1) -> int:
    """Return ``OMP_NUM_THREADS``, or else this process's share of the cores.

    In a distributed run the value 1 does not count: torchrun and mmengine set it where the user did not, and it would
    leave all but one core of each process idle. Loader workers always run one thread each.

    Args:
        num_processes: Processes of the run, which share the cores.
    """
    number = os.environ.get('OMP_NUM_THREADS', '').partition(',')[0].strip()
    if number.isdecimal() and int(number) > (1 if num_processes > 1 else 0):
        return int(number)
    return max(1, usable_cpus() // num_processes)


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None,
    on_crash: Callable[[Item], Result],
) -> Iterator[Result]:
    """Yield ``function(item)`` for every item, in any order; an exception in a worker is raised here.

    Args:
        function: Importable by name, as worker processes start afresh ("spawn"). It may see an item twice, if
            another item ended a worker process.
        items: Each picklable.
        workers: Number of processes; None takes one per CPU, 0 computes in this process.
        on_crash: Returns the result of an item that ends its process.
    """
    workers = min(usable_cpus() if workers is None else workers, -(-len(items) // MIN_ITEMS_PER_PROCESS))
    batch_size = max(1, min(MAX_BATCH, len(items) // (MIN_ITEMS_PER_PROCESS * max(1, workers))))
    waiting, suspects = deque(items), deque()
    while workers and (waiting or suspects):
        pool = _start_pool(1 if suspects else workers)
        if pool is None:
            break
        if suspects:  # one by one, so that it is clear which item ends its process
            crashed = yield from _map_until_crash(pool, function, suspects, 1, 1)
            yield from map(on_crash, crashed)
        else:
            suspects += yield from _map_until_crash(pool, function, waiting, workers, batch_size)
    yield from map(function, (*suspects, *waiting))


def _start_pool(workers: int) -> ProcessPoolExecutor | None:
    """Start worker processes; returns None where none can start.

    That is so if the main program cannot be imported: a script without a main guard, or one read from stdin. It is also
    so if /dev/shm, where processes keep their locks, is full or missing.
    """
    # spawn: a fork copies the locks of running threads in whatever state they are.
    context = multiprocessing.get_context('spawn')
    try:
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_set_up_worker)
    except OSError as error:
        fix = 'Fix: docker run --shm-size=1g.'
        print(f'note: one process does all, as /dev/shm cannot be used ({error.strerror}). {fix}', file=sys.stderr)
        return None
    try:
        pool.submit(int).result()
    except BrokenProcessPool:
        pool.shutdown()
        return None
    return pool


def _map_until_crash(
    pool: ProcessPoolExecutor, function: Callable, waiting: deque, num_batches: int, batch_size: int
) -> Generator[Result, None, list]:
    """Yield results until nothing is waiting or a process crashes; returns the items that were computed then.

    Args:
        pool: Is shut down at the end.
        function: As in `map_in_processes`.
        waiting: Items; those that are taken are removed.
        num_batches: How many batches are computed at the same time.
        batch_size: Items in a batch.
    """
    running = {}
    try:
        while waiting or running:
            while waiting and len(running) < num_batches:
                batch = list(islice(waiting, batch_size))
                running[pool.submit(_call_each, function, batch)] = batch
                for _ in batch:
                    waiting.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield from future.result()
                del running[future]
    except BrokenProcessPool:
        return [item for batch in running.values() for item in batch]
    finally:
        for process in list(pool._processes.values()) if running else ():
            process.terminate()  # on Ctrl-C, do not wait for the batches at work
        pool.shutdown(cancel_futures=True)
    return []


def _call_each(function: Callable[[Item], Result], batch: list[Item]) -> list[Result]:
    return [function(item) for item in batch]


def _set_up_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def with_progress(results: Iterable[Result], total: int, title: str) -> Iterator[Result]:
    """Pass ``results`` on, with a progress bar if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console  # here: worker processes import this module, and show nothing
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(results, description=title, total=total, console=console, transient=True)
