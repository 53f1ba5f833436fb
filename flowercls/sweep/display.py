"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere; and the table of its results."""

import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from flowercls.core.terminal import as_duration
from flowercls.sweep.ledger import FAILED, FINISHED
from flowercls.sweep.scheduler import RUNNING, WAITING, Progress

REFRESH_S, LINE_S = 1.0, 60.0
ORDER = (RUNNING, FAILED, WAITING, FINISHED)  # of the live table, which shows as much as fits
ROOM_FOR_OTHER_LINES = 7


class Display:
    """Shows how far a sweep is; a context manager.

    Args:
        jobs: How many trials run at once.
        console: Where to; None is the standard output.
    """

    def __init__(self, jobs: int, console: Console | None = None) -> None:
        self._jobs = jobs
        self._console = console or Console(highlight=False, soft_wrap=True)
        # No thread of its own refreshes it: this process forks.
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._states: dict[str, str] = {}
        self._said_to_wait: set[str] = set()
        self._shown_at = time.monotonic() - REFRESH_S

    def __enter__(self) -> 'Display':
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def show(self, all_progress: list[Progress]) -> None:
        """Show what is new."""
        now = time.monotonic()
        ended = all(progress.state in (FINISHED, FAILED) for progress in all_progress)
        if self._live:
            if now - self._shown_at >= REFRESH_S or ended:
                self._shown_at = now
                self._live.update(live_table(all_progress, self._jobs, self._console.height), refresh=True)
            return
        for progress in all_progress:
            if self._is_news(progress):
                self._console.print(change_line(progress), markup=False)
                self._shown_at = now
        if now - self._shown_at >= LINE_S:
            self._shown_at = now
            self._console.print(status_line(all_progress, self._jobs), markup=False)

    def _is_news(self, progress: Progress) -> bool:
        key, state = progress.trial.key, progress.state
        before = self._states.get(key)
        self._states[key] = state
        if state == WAITING:  # worth a line, once, where something is in the way
            is_first = progress.in_use_since is not None and key not in self._said_to_wait
            self._said_to_wait.update([key] * is_first)
            return is_first
        return state == RUNNING if before is None else state != before


def change_line(progress: Progress) -> str:
    """One line for a trial whose state has changed."""
    name = progress.folder.name
    if progress.state == RUNNING:
        return f'{name}: {"goes on" if progress.can_go_on else "started"}'
    if progress.state == FINISHED:
        return f'{name}: finished, top-1 {_percent(progress.top1)}, {as_duration(progress.time_s or 0)}'
    if progress.state == FAILED:
        return f'{name}: failed, {progress.error}'
    return f'{name}: waits for a process of an earlier start that still works in its folder'


def status_line(all_progress: list[Progress], jobs: int) -> str:
    """How far the sweep is, in a line."""
    count = Counter(progress.state for progress in all_progress)
    parts = [f'{count[FINISHED]} of {len(all_progress)} finished']
    parts += [f'{count[FAILED]} failed'] * bool(count[FAILED])
    left = seconds_left(all_progress, jobs)
    if left is not None:
        parts.append(f'about {as_duration(left)} left')
    running = [
        f'{p.folder.name} epoch {p.epoch}/{p.trial.max_epochs} top-1 {_percent(p.top1)}'
        for p in all_progress
        if p.state == RUNNING
    ]
    return '; '.join([', '.join(parts), *running])


def seconds_left(all_progress: list[Progress], jobs: int) -> float | None:
    """Until the whole sweep is done, judged by an epoch's mean time so far; None before the first, and at the end."""
    epochs = seconds = 0.0
    for progress in all_progress:
        if progress.state == FINISHED and progress.time_s and progress.epochs_of_start:
            epochs, seconds = epochs + progress.epochs_of_start, seconds + progress.time_s
        elif progress.state == RUNNING and progress.seconds_left is not None:
            total = progress.seconds_left + progress.seconds_running()
            epochs, seconds = epochs + progress.epochs_of_start, seconds + total
    open_ones = [progress for progress in all_progress if progress.state in (WAITING, RUNNING)]
    if not epochs or not open_ones:
        return None
    left = (
        seconds / epochs * (progress.trial.max_epochs - progress.epoch)
        if progress.seconds_left is None
        else progress.seconds_left
        for progress in open_ones
    )
    return sum(left) / min(jobs, len(open_ones))


def live_table(all_progress: list[Progress], jobs: int, height: int) -> Table:
    """The running trials and as many others as fit into ``height`` lines."""
    table = Table(caption=status_line(all_progress, jobs).partition(';')[0], caption_justify='left')
    for column in ('trial', 'state', 'epoch', 'top-1', 'left'):
        table.add_column(column, justify='left' if column in ('trial', 'state') else 'right', overflow='fold')
    ordered = sorted(all_progress, key=lambda progress: ORDER.index(progress.state))
    for progress in ordered[: max(jobs, height - ROOM_FOR_OTHER_LINES)]:
        left = as_duration(progress.seconds_left) if progress.state == RUNNING and progress.seconds_left else ''
        is_known = progress.state in (RUNNING, FINISHED)
        epoch = f'{progress.epoch}/{progress.trial.max_epochs}' if progress.state == RUNNING else ''
        table.add_row(progress.folder.name, progress.state, epoch, _percent(progress.top1) if is_known else '', left)
    return table


def results_table(all_progress: list[Progress]) -> str:
    """Top-1 of each setting and seed in percent, as plain text; what is missing is named instead of a figure."""
    seeds = list(dict.fromkeys(progress.trial.seed for progress in all_progress))
    cells: dict[str, dict[int, str]] = {}
    for progress in all_progress:
        figure = _percent(progress.top1).removesuffix(' %') if progress.state == FINISHED else progress.state
        cells.setdefault(progress.trial.setting, {})[progress.trial.seed] = figure
    rows = [['top-1, %', *(f'seed {seed}' for seed in seeds)]]
    rows += [[setting, *(of_seed.get(seed, '') for seed in seeds)] for setting, of_seed in cells.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    )
    return '\n'.join('  '.join(line) for line in lines)


def _percent(top1: float | None) -> str:
    return '-' if top1 is None else f'{top1:.2f} %'
