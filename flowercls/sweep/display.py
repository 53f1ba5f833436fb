"""Progress, plan and results of a sweep, as text for the terminal."""

import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from flowercls.core.terminal import as_duration
from flowercls.sweep.ledger import FAILED, FINISHED
from flowercls.sweep.scheduler import ENDED, RUNNING, WAITING, TrialState

REFRESH_S, LINE_S = 1.0, 60.0


class Display(Progress):
    """Prints a line for each change; on a terminal, also shows a progress bar for each running trial.

    Args:
        jobs: How many trials run at once.
        console: The output; None is the standard output.
    """

    def __init__(self, jobs: int, console: Console | None = None) -> None:
        console = console or Console(highlight=False, soft_wrap=True)
        super().__init__(
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[figures]}'),
            console=console,
            auto_refresh=False,  # no thread: this process forks
            disable=not console.is_terminal,
        )
        self._jobs = jobs
        self._last_status: dict[str, str] = {}  # by the key of each trial
        self._bars: list[TaskID] = []
        self._line_at, self._drawn_at = time.monotonic(), 0.0

    def show(self, states: Sequence[TrialState]) -> None:
        """Show what has changed."""
        now, is_first = time.monotonic(), not self._last_status
        for state in states:
            is_old = is_first and state.status in ENDED  # since an earlier start of the sweep
            if state.status not in (WAITING, self._last_status.get(state.trial.key)) and not is_old:
                self.console.print(change_line(state), markup=False)
                self._line_at = now
            self._last_status[state.trial.key] = state.status
        if self.disable:
            if now - self._line_at >= LINE_S:
                self.console.print(status_line(states, self._jobs), markup=False)
                self._line_at = now
        elif now - self._drawn_at >= REFRESH_S or all(state.status in ENDED for state in states):
            self._draw_bars(states)
            self._drawn_at = now

    def _draw_bars(self, states: Sequence[TrialState]) -> None:
        if not self._bars:  # of the sweep, and of each trial; these are visible while the trial runs
            self._bars = [self.add_task('all trials', total=len(states), figures='')]
            for state in states:
                total = state.trial.max_epochs
                self._bars.append(self.add_task(state.folder.name, total=total, visible=False, figures=''))
        num_ended = sum(state.status in ENDED for state in states)
        figures = status_line(states, self._jobs).partition(';')[0]
        self.update(self._bars[0], completed=num_ended, figures=figures)
        for bar, state in zip(self._bars[1:], states, strict=True):
            left = seconds_left([state], 1)
            figures = f'best top-1 {_percent(state.top1)}' + ('' if left is None else f', {as_duration(left)} left')
            self.update(bar, completed=state.epoch, visible=state.status == RUNNING, figures=figures)
        self.refresh()


def change_line(state: TrialState) -> str:
    """Return one line for a trial whose state has changed."""
    name = state.folder.name
    if state.status == RUNNING:
        return f'{name}: {"resumed" if state.can_resume else "started"}'
    if state.status == FINISHED:
        return f'{name}: finished, best top-1 {_percent(state.top1)}, {as_duration(state.time_s or 0)}'
    if state.status == FAILED:
        return f'{name}: failed, {state.error}'
    return f'{name}: waits, because a process of an earlier start still works in its folder'


def status_line(states: Sequence[TrialState], jobs: int) -> str:
    """Return the progress of the sweep as one line."""
    count = Counter(state.status for state in states)
    parts = [f'{count[FINISHED]} of {len(states)} finished']
    parts += [f'{count[FAILED]} failed'] if count[FAILED] else []
    left = seconds_left(states, jobs)
    parts += [] if left is None else [f'about {as_duration(left)} left']
    running = [
        f'{state.folder.name} epoch {state.epoch}/{state.trial.max_epochs} best top-1 {_percent(state.top1)}'
        for state in states
        if state.status == RUNNING
    ]
    return '; '.join([', '.join(parts), *running])


def seconds_left(states: Sequence[TrialState], jobs: int) -> float | None:
    """Return the estimated time until these trials end, from the mean time of their epochs so far.

    None before the first epoch, and at the end.
    """
    epochs, seconds = (sum(figures) for figures in zip(*(state.pace for state in states), strict=True))
    unfinished = [state for state in states if state.status not in ENDED]
    if not epochs or not unfinished:
        return None
    epochs_left = sum(state.trial.max_epochs - state.epoch for state in unfinished)
    return seconds / epochs * epochs_left / min(jobs, len(unfinished))


def results_table(states: Sequence[TrialState]) -> str:
    """Return a plain table of the best top-1 in percent by setting and seed, or the state of a trial that has none."""
    seeds = list(dict.fromkeys(state.trial.seed for state in states))
    cells: dict[str, dict[int, str]] = {}
    for state in states:
        figure = _percent(state.top1).removesuffix(' %') if state.status == FINISHED else state.status
        cells.setdefault(state.trial.setting.name, {})[state.trial.seed] = figure
    rows = [['best top-1, %', *(f'seed {seed}' for seed in seeds)]]
    rows += [[setting, *(by_seed.get(seed, '') for seed in seeds)] for setting, by_seed in cells.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return '\n'.join('  '.join([setting.strip().ljust(widths[0]), *figures]) for setting, *figures in rows)


def selection_line(states: Sequence[TrialState]) -> str:
    """Return how optimistic the best epochs of finished trials are on average; empty if they had no choice."""
    # Here: it imports scikit-learn, and a mistake in a config is found before that.
    from flowercls.evaluate.optimism import mean_optimism, selection_clause

    validated = [state.folder for state in states if state.status == FINISHED and state.top1 is not None]
    clause = selection_clause(mean_optimism(validated), 'the epochs') if validated else ''
    return clause and f'best epochs: on average, {clause}'


def describe_plan(states: Sequence[TrialState], notes: Sequence[str]) -> str:
    """Return what a start of the sweep would do: each trial, and whether it would run."""
    width = max(len(state.folder.name) for state in states)
    lines = []
    for state in states:
        plan = ('to resume' if state.can_resume else 'to run') if state.status == WAITING else state.status
        lines.append(f'{state.folder.name.ljust(width)}  {plan}')
    return '\n'.join([*notes, *lines, f'dry run: {len(states)} trials, their configs checked, nothing written'])


def describe_failures(states: Sequence[TrialState]) -> list[str]:
    """Return a line for each error with all trials that it stopped, and how to try them again."""
    trials: dict[str | None, list[str]] = {}
    for state in states:
        if state.status == FAILED:
            trials.setdefault(state.error, []).append(state.folder.name)
    lines = [f'failed: {", ".join(names)}: {error}' for error, names in trials.items()]
    return [*lines, 'try these again with --retry-failed'] if lines else []


def _percent(top1: float | None) -> str:
    return '-' if top1 is None else f'{top1:.2f} %'
