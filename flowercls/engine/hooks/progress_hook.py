"""What a person sees while training: a bar on a terminal, plain lines elsewhere, and one line an epoch."""

import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows how far the run is, how it does, and when it will be done.

    Args:
        interval_s: Seconds between plain lines where the output is no terminal.
    """

    priority = 'LOWEST'

    def __init__(self, interval_s: float = 30) -> None:
        self.interval_s = interval_s
        self._bar: Progress | None = None
        self._waiting: dict | None = None  # the epoch's summary, shown once its validation is known

    def before_train(self, runner) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._console = Console(highlight=False, soft_wrap=True, quiet=not is_main_process())
        self._started = self._last_line = time.monotonic()
        self._first_iter = runner.iter
        if getattr(runner.train_loop, 'validation_pending', False):  # trained before an interruption
            self._waiting = {'seconds': 0.0}
        if self._console.is_terminal:
            columns = ('{task.description}', BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[figures]}'))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task('', total=1, figures='')
            self._bar.start()

    def before_train_epoch(self, runner) -> None:
        """Show the epoch before, if it was not validated, and start the next."""
        self._show_epoch(runner)
        self._epoch_started = time.monotonic()
        self._restart_bar(f'epoch {runner.epoch + 1}/{runner.max_epochs}', len(runner.train_dataloader))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Move the bar, or now and then write a line; the loss is fetched only when it is shown."""
        now = time.monotonic()
        if now - self._last_line >= (0.5 if self._bar else self.interval_s):
            self._last_line = now
            figures = f'loss {outputs["loss"].item():.3f}  {self._time_left(runner, now)} left'
            step = f'step {batch_idx + 1}/{len(runner.train_dataloader)}'
            if self._bar:
                self._bar.update(self._task, completed=batch_idx + 1, figures=figures)
            else:
                self._console.print(f'epoch {runner.epoch + 1}/{runner.max_epochs}  {step}  {figures}')

    def after_train_epoch(self, runner) -> None:
        """Keep the averages until validation is done."""
        self._waiting = {'seconds': time.monotonic() - self._epoch_started}

    def before_val_epoch(self, runner) -> None:
        """Show that the validation set is being looked at."""
        self._val_started = time.monotonic()
        self._restart_bar('validation', len(runner.val_dataloader))

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._task, completed=batch_idx + 1)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Show the epoch with its validation."""
        if self._waiting is not None:
            self._waiting['seconds'] += time.monotonic() - self._val_started
            self._show_epoch(runner, metrics)

    def after_train(self, runner) -> None:
        """Show what is left and take the bar away."""
        self._show_epoch(runner)
        self.close()

    def close(self) -> None:
        """Take the bar away; also called when training ends with an error."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _show_epoch(self, runner, metrics: dict | None = None) -> None:
        if self._waiting is None:
            return
        # The ResultsHook may be switched off; what is known without it is shown all the same.
        summary = runner.message_hub.get_info('epoch_summary') or {'epoch': runner.epoch}
        is_best = metrics is not None and runner.message_hub.runtime_info.get('best_epoch') == summary['epoch']
        line = epoch_line(summary, runner.max_epochs, self._waiting['seconds'], metrics or {}, is_best)
        self._waiting = None
        self._console.print(line)
        runner.logger.info(line)

    def _restart_bar(self, description: str, total: int) -> None:
        if self._bar:
            self._bar.reset(self._task, description=description, total=total, figures='')

    def _time_left(self, runner, now: float) -> str:
        done = runner.iter + 1 - self._first_iter
        return as_duration((now - self._started) / done * (runner.max_iters - runner.iter - 1))


def close_progress(runner) -> None:
    """Take the bar of a run away, however it ended."""
    for hook in runner.hooks:
        if isinstance(hook, ProgressHook):
            hook.close()


def epoch_line(summary: dict, max_epochs: int, seconds: float, metrics: dict, is_best: bool) -> str:
    """One epoch on one line: losses, accuracies in percent, learning rate, time; what is not known is left out."""
    parts = [f'epoch {summary["epoch"]:>{len(str(max_epochs))}}/{max_epochs}']
    if 'train_loss' in summary:
        top1 = f' top-1 {summary["train_top1"]:6.2f}' if 'train_top1' in summary else ''
        parts.append(f'train loss {summary["train_loss"]:.4f}{top1}')
    if 'accuracy/top1' in metrics:
        loss = f'loss {metrics["nll"]:.4f} ' if 'nll' in metrics else ''
        parts.append(f'val {loss}top-1 {metrics["accuracy/top1"]:6.2f}')
    if 'lr' in summary:
        parts.append(f'lr {summary["lr"]:.3g}')
    return '  '.join([*parts, as_duration(seconds), *['best'] * is_best])


def as_duration(seconds: float) -> str:
    """A time span for people: ``8 s``, ``2 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    if whole < 3600:
        return f'{whole // 60} min {whole % 60:02d} s'
    return f'{whole // 3600} h {whole % 3600 // 60:02d} min'
