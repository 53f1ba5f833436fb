"""Hooks for mmengine's Runner: randomness, progress, epoch averages, norm statistics, early stopping, the log."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import mmengine
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmengine.hooks import Hook, LoggerHook, RuntimeInfoHook
from mmengine.visualization import LocalVisBackend
from mmpretrain.registry import HOOKS, VISBACKENDS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from flowercls.config.dump import dump_config
from flowercls.core import signals
from flowercls.core.distributed import unwrapped
from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors
from flowercls.core.layout import SCALARS_FILE
from flowercls.core.terminal import as_duration
from flowercls.data.randomness import INITIAL_WEIGHTS, NORM_STATISTICS, STEP, derive_seed, seed_generators


@HOOKS.register_module()
class CounterRandomnessHook(Hook):
    """Seeds all generators before the weights are initialised and before every step.

    So the numbers that a step draws (dropout, drop-path, mixup) depend on its seed and number only, and a resumed run
    draws those of a run that was never interrupted.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        """Seed for the initial weights, which are drawn next."""
        seed_generators(derive_seed(runner.seed, INITIAL_WEIGHTS))

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed for the step ``runner.iter``; each process of a distributed run draws its own numbers."""
        seed_generators(derive_seed(runner.seed, STEP, runner.iter, runner.rank))


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows a progress bar on a terminal, plain lines elsewhere, and one line for each epoch.

    Args:
        interval_s: Seconds between plain lines where the output is no terminal.
    """

    priority = 'LOWEST'

    def __init__(self, interval_s: float = 30) -> None:
        self.interval_s = interval_s
        self._bar: Progress | None = None
        self._unshown: dict | None = None  # seconds and metrics of an epoch whose line is not shown yet

    def before_train(self, runner) -> None:
        """Start the clock and, on a terminal, the bar."""
        self._console = Console(highlight=False, soft_wrap=True, quiet=not is_main_process())
        self._started = self._last_line = time.monotonic()
        self._first_iter = runner.iter
        if getattr(runner.train_loop, 'validation_pending', False):  # trained before an interruption
            self._unshown = {'seconds': 0.0, 'metrics': {}}
        if self._console.is_terminal:
            columns = ('{task.description}', BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[figures]}'))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task('', total=1, figures='')
            self._bar.start()

    def before_train_epoch(self, runner) -> None:
        """Restart the bar for the epoch."""
        self._show_epoch(runner)
        self._epoch_started = time.monotonic()
        self._restart_bar(f'epoch {runner.epoch + 1}/{runner.max_epochs}', len(runner.train_dataloader))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Move the bar, or now and then write a line; the loss is fetched only when it is shown."""
        now = time.monotonic()
        if now - self._last_line >= (0.5 if self._bar else self.interval_s):
            self._last_line = now
            done = runner.iter + 1 - self._first_iter
            time_left = as_duration((now - self._started) / done * (runner.max_iters - runner.iter - 1))
            figures = f'loss {outputs["loss"].item():.3f}  {time_left} left'
            step = f'step {batch_idx + 1}/{len(runner.train_dataloader)}'
            if self._bar:
                self._bar.update(self._task, completed=batch_idx + 1, figures=figures)
            else:
                self._console.print(f'epoch {runner.epoch + 1}/{runner.max_epochs}  {step}  {figures}')

    def after_train_epoch(self, runner) -> None:
        """Note the epoch's time."""
        self._unshown = {'seconds': time.monotonic() - self._epoch_started, 'metrics': {}}

    def before_val_epoch(self, runner) -> None:
        """Restart the bar for the validation."""
        self._val_started = time.monotonic()
        self._restart_bar('validation', len(runner.val_dataloader))

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._task, completed=batch_idx + 1)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Note the time and the metrics of the validation."""
        if self._unshown is not None:
            seconds = self._unshown['seconds'] + time.monotonic() - self._val_started
            self._unshown = {'seconds': seconds, 'metrics': metrics or {}}

    def after_epoch_written(self, runner, metrics: dict | None, is_best: bool) -> None:
        """Show the line of an epoch, once our training loop has written what it leaves."""
        self._show_epoch(runner, is_best)

    def after_train(self, runner) -> None:
        """Show the last epoch, under mmengine's loop, and remove the bar."""
        self._show_epoch(runner)
        self.close()

    def close(self) -> None:
        """Remove the bar; also called when training ends with an error."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _show_epoch(self, runner, is_best: bool = False) -> None:
        if self._unshown is None:
            return
        averages = [hook.epoch_summary for hook in runner.hooks if isinstance(hook, ResultsHook)]
        summary = averages[0] if averages and averages[0] else {'epoch': runner.epoch}
        line = epoch_line(summary, runner.max_epochs, self._unshown['seconds'], self._unshown['metrics'], is_best)
        self._unshown = None
        self._console.print(line)
        runner.logger.info(line)

    def _restart_bar(self, description: str, total: int) -> None:
        if self._bar:
            self._bar.reset(self._task, description=description, total=total, figures='')


def close_progress(runner) -> None:
    """Remove the progress bar of a run, however it ended."""
    for hook in runner.hooks:
        if isinstance(hook, ProgressHook):
            hook.close()


def epoch_line(summary: dict, max_epochs: int, seconds: float, metrics: dict, is_best: bool) -> str:
    """Return one epoch as a line: losses, accuracies in percent, learning rate, time; unknown figures are left out."""
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


@HOOKS.register_module()
class ResultsHook(Hook):
    """Adds each epoch's average training loss and accuracy to ``scalars.json``.

    Attributes:
        epoch_summary: Averages of the last complete epoch; empty before the first.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.epoch_summary: dict[str, float] = {}
        self._sums: dict[str, torch.Tensor | float] = {}
        self._num_photos = 0

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store the sums of an incomplete epoch, and the averages of one that is not validated yet."""
        checkpoint['epoch_summary'] = dict(self.epoch_summary)
        if checkpoint['meta']['batch_in_epoch'] > 0:
            checkpoint['epoch_sums'] = {'sums': dict(self._sums), 'num_photos': self._num_photos}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take them from the checkpoint of a resumed run."""
        if not runner._resume:
            return
        in_hub = (checkpoint.get('message_hub', {}).get('runtime_info') or {}).get('epoch_summary')  # of older versions
        self.epoch_summary = dict(checkpoint.get('epoch_summary') or in_hub or {})
        if 'epoch_sums' in checkpoint:
            self._sums = dict(checkpoint['epoch_sums']['sums'])
            self._num_photos = checkpoint['epoch_sums']['num_photos']

    def before_train_epoch(self, runner) -> None:
        """Start the sums of a new epoch; a resumed epoch keeps its own."""
        if getattr(runner.train_loop, 'batches_done', 0) == 0:
            self._sums, self._num_photos = {}, 0

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Add one batch; sums stay on the device, so that no step waits for them."""
        num_photos = len(data_batch['inputs'])
        self._num_photos += num_photos
        for name, value in (outputs or {}).items():
            if isinstance(value, torch.Tensor):
                value = value.detach().float().sum()
            self._sums[name] = self._sums.get(name, 0.0) + value * num_photos

    def after_train_epoch(self, runner) -> None:
        """Average over the photos of the epoch."""
        averages = {name: float(value) / self._num_photos for name, value in self._sums.items()}
        rates = runner.optim_wrapper.get_lr()
        base_lr = rates.get('base_lr', rates['lr'])[0]  # groups may have factors of their own
        self.epoch_summary = {'epoch': runner.epoch + 1, 'train_loss': averages['loss'], 'lr': base_lr}
        if 'accuracy_top-1' in averages:
            self.epoch_summary['train_top1'] = averages['accuracy_top-1']
        runner.visualizer.add_scalars({**self.epoch_summary, 'step': runner.epoch + 1})


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """mmengine's hook under its name; its count and its best score are kept in every checkpoint."""

    priority = 'LOW'  # under mmengine's loop: before the checkpoint of the epoch is written

    _reported = None  # what validation reports instead of the metric

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Judge the epoch as mmengine does, which would only warn about a metric that is not reported."""
        if self.monitor in (metrics or {}):
            super().after_val_epoch(runner, metrics)
        else:
            self._reported = ', '.join(metrics or {})

    def before_train_epoch(self, runner) -> None:
        """Raise a `ConfigError` if validation has not reported the metric; the epoch's checkpoint is written by now."""
        if self._reported is not None:
            raise ConfigError(
                f'EarlyStoppingHook.monitor is {self.monitor!r}, which validation does not report; it reports '
                f'{self._reported}. Fix: choose one of these.'
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Store the hook's state."""
        stopped = bool(runner.train_loop.stop_training)
        checkpoint['early_stopping'] = {
            'wait_count': self.wait_count,
            'best_score': float(self.best_score),
            'stopped': stopped,
            'by_patience': stopped and self.wait_count >= self.patience,
        }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take the state from the checkpoint of a resumed run."""
        state = checkpoint.get('early_stopping')
        if runner._resume and state is not None:
            self.wait_count, self.best_score = state['wait_count'], state['best_score']
            # With more patience than before the run goes on, unless its score was good enough, or NaN.
            is_over = state['wait_count'] >= self.patience if state.get('by_patience') else state['stopped']
            runner.train_loop.stop_training = is_over


@HOOKS.register_module()
class NormStatisticsHook(Hook):
    """Estimates batch-norm means and variances anew after every epoch, on the training photos, without gradients.

    The statistics of training lag behind the weights, depend on the last ten batches or so and, with mixup or cutmix,
    describe mixed photos, which validation never sees. The average over the batches of one more pass does not (Wu and
    Johnson 2021, "Rethinking 'Batch' in BatchNorm", sections 3 and 5). It costs the forward part of an epoch. Frozen
    layers keep their statistics.
    """

    priority = 'ABOVE_NORMAL'  # before averages and buffers of several processes are taken

    @torch.no_grad()
    def after_train_epoch(self, runner) -> None:
        """Pass over the photos of this epoch once more, unmixed."""
        model = unwrapped(runner.model)
        layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.training]
        if not layers:
            return
        seed_generators(derive_seed(runner.seed, NORM_STATISTICS, runner.epoch, runner.rank))  # for dropout
        with _averaging(layers):
            for batch in runner.train_dataloader:
                signals.check()
                data = model.data_preprocessor(batch, training=False)  # normalised, but not mixed
                model(data['inputs'], mode='tensor')


@contextlib.contextmanager
def _averaging(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Make the running statistics the plain average over the batches that follow."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch: each batch counts the same
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@HOOKS.register_module()
class LazyRuntimeInfoHook(RuntimeInfoHook):
    """mmengine's `RuntimeInfoHook`, which fetches losses and accuracies of many steps at once, when they are logged."""

    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        """Note what mmengine notes about a run, with the cached text of the config."""
        about = {'cfg': dump_config(runner.cfg), 'seed': runner.seed, 'experiment_name': runner.experiment_name}
        runner.message_hub.update_info_dict({**about, 'mmengine_version': mmengine.__version__})
        self.last_loop_stage = None

    def before_train(self, runner) -> None:
        """Find out when the log is written."""
        super().before_train(runner)
        self._waiting: list[dict[str, Tensor]] = []
        self._intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Keep the step's figures on the device; fetch all figures before they are logged."""
        self._waiting.append({name: value.detach() for name, value in (outputs or {}).items()})
        is_logged = any(self.every_n_inner_iters(batch_idx, interval) for interval in self._intervals)
        if not (is_logged or self.end_of_epoch(runner.train_dataloader, batch_idx)):
            return
        for name in dict.fromkeys(name for figures in self._waiting for name in figures):
            values = [figures[name].float().mean() for figures in self._waiting if name in figures]
            for value in torch.stack(values).tolist():
                runner.message_hub.update_scalar(f'train/{name}', value)
        self._waiting = []


@VISBACKENDS.register_module()
class ScalarsBackend(LocalVisBackend):
    """Writes ``scalars.json``, one JSON object a line, and nothing else."""

    def add_config(self, config, **kwargs) -> None:
        """Write nothing: the run folder has its own config.py."""

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs) -> None:
        """Append one line; ``file_path``, where mmengine would write a second copy, is ignored."""
        with disk_errors(Path(self._save_dir, SCALARS_FILE)):
            super().add_scalars(scalar_dict, step)
