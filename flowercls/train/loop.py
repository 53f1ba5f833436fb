"""The epochs of a training: what is trained, validated and written in which order, and errors in a step."""

import bisect
import contextlib
import functools
import itertools
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from mmengine.hooks import EMAHook
from mmengine.runner import EpochBasedTrainLoop

from flowercls.core import signals
from flowercls.core.errors import ConfigError, DivergedError, OutOfMemoryError, WorkerError, is_out_of_memory
from flowercls.data.sampler import CounterSampler
from flowercls.train.checkpoint import TrainingProgress, is_validated
from flowercls.train.optimizer import NotFiniteError

ONE_VALUE = re.compile('Expected more than 1 value per channel when training')
WORKER_DIED = re.compile(r'DataLoader worker \(pid')
# What torch says of /dev/shm, where workers leave their batches: full, missing, or gone under their feet (bus error).
SHARED_MEMORY = re.compile(r'shared memory|</torch_|bus error', re.IGNORECASE)
OPEN_FILES = re.compile('too many open files|items of ancdata', re.IGNORECASE)
MAX_NAMES_SHOWN = 4
MAX_WAIT_FOR_REPORT_S = 5  # a process that dumps its memory takes a while to end


class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's training loop, which can be left after any step and resumed with the same bits.

    Attributes:
        batches_done: Trained batches of the current epoch.
        validation_pending: Whether the last complete epoch is still to be validated.
        has_trained: Whether this start has taken a step.
    """

    batches_done = 0
    validation_pending = False
    has_trained = False

    @property
    def progress(self) -> TrainingProgress:
        """How far the run has come."""
        return TrainingProgress(self._epoch, self._iter, self.batches_done, self.validation_pending)

    def resume(self, progress: TrainingProgress) -> None:
        """Go on from the progress of a checkpoint."""
        self._epoch, self._iter = progress.epoch, progress.iter
        self.batches_done, self.validation_pending = progress.batch_in_epoch, progress.validation_pending
        self._set_val_interval(self._epoch)

    def run(self, on_first_step: Callable[[], object] | None = None):
        """Train until the last epoch, an early stop or a signal. Files are written in this order.

        1. After the first step of this start, or before the first file if no step is left: what ``on_first_step``
           writes.
        2. In each epoch: ``scalars.json`` and the log, by hooks.
        3. After each epoch and its validation: what `WholeCheckpointHook.finish_epoch` lists.
        4. After a signal (by `saved_when_interrupted`), and after an error in a validation: ``iter_N.pth``. Scores that
           are NaN leave nothing.

        Args:
            on_first_step: Called once, before anything else is written.

        Raises:
            Interrupted: after SIGINT, SIGTERM or SIGHUP, between two steps.
        """
        self.runner.call_hook('before_train')
        if self.runner.checkpoints is not None:
            self.runner.checkpoints.check_disk_space(self.runner)
        begin = functools.cache(on_first_step or (lambda: None))  # called once
        with signals.defer_signals():
            if self.validation_pending:
                self._finish_epoch(begin)
            while self._epoch < self._max_epochs and not self.stop_training:
                signals.check()
                self.run_epoch(begin)
                self.validation_pending = is_validated(self.runner, self._epoch)
                self._finish_epoch(begin)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self, begin: Callable[[], object] = lambda: None) -> None:
        """Train the batches of an epoch that are left; ``begin`` is called once the first is done."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for number, batch in enumerate(self._batches_left(), self.batches_done):
            with translate_step_errors(self.runner, batch):
                self.run_iter(number, batch)
                is_interrupted = signals.is_pending()
                if is_interrupted or number + 1 == len(self.dataloader):
                    self._check_steps()
            begin()
            self.batches_done, self.has_trained = number + 1, True
            if is_interrupted:
                signals.check()
        self._set_val_interval(self._epoch + 1)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.batches_done = 0

    def _finish_epoch(self, begin: Callable[[], object]) -> None:
        """Validate the epoch if its turn has come, and write what it leaves."""
        metrics = self._validate() if self.validation_pending else None
        begin()  # a resumed run may have had no step left
        self.validation_pending = False
        is_best = False
        if self.runner.checkpoints is not None:
            is_best = self.runner.checkpoints.finish_epoch(self.runner, self._epoch, metrics)
        self.runner.call_hook('after_epoch_written', metrics=metrics, is_best=is_best)

    def _validate(self) -> dict:
        try:
            how = 'go on with --resume --allow-config-change --cfg-options '
            with translate_evaluation_errors('val_dataloader', self.runner.val_dataloader.batch_size, how):
                return self.runner.val_loop.run()
        except signals.Interrupted:
            self._leave_averages()
            raise
        except DivergedError:
            raise  # a resumed run goes on from before this epoch
        except Exception:
            with contextlib.suppress(Exception):  # the user has to know of the first error
                self._leave_averages()
                if self.runner.checkpoints is not None:
                    self.runner.checkpoints.save_interrupted(self.runner)
            raise

    def _leave_averages(self) -> None:
        """Exchange weights back in the middle of a validation: a checkpoint would take the averages for the weights."""
        for hook in self.runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(self.runner)

    def _check_steps(self) -> None:
        """Ask a GPU whether a step was bad: nothing of a bad step may be saved."""
        if hasattr(self.runner.optim_wrapper, 'check_steps'):
            self.runner.optim_wrapper.check_steps()

    def _set_val_interval(self, complete_epochs: int) -> None:
        """Set the interval as mmengine does, which counts the epoch first."""
        step = bisect.bisect(self.dynamic_milestones, complete_epochs + 1)
        self.val_interval = self.dynamic_intervals[step - 1]

    def _batches_left(self) -> Iterator[dict]:
        """Yield the batches of the epoch that are still to be trained; our sampler does not load the others."""
        sampler = self.dataloader.sampler
        if isinstance(sampler, CounterSampler):
            sampler.start_at(self.batches_done * self.dataloader.batch_size)
            try:
                yield from self.dataloader
            finally:
                sampler.start_at(0)
        else:
            yield from itertools.islice(self.dataloader, self.batches_done, None)


@contextlib.contextmanager
def saved_when_interrupted(runner, checkpoint: Path | None) -> Iterator[None]:
    """Save the progress of a run that a signal ends, and tell `Interrupted` the checkpoint to resume from.

    Args:
        runner: The Runner.
        checkpoint: What was resumed, for a run that ends before its first step.
    """
    try:
        yield
    except signals.Interrupted as signal:
        saved = runner.checkpoints.save_interrupted(runner) if runner.checkpoints is not None else None
        raise signals.Interrupted(signal.number, checkpoint=saved or checkpoint) from None


@contextlib.contextmanager
def translate_step_errors(runner, batch: dict) -> Iterator[None]:
    """Turn what a training step on ``batch`` raises into errors for users.

    Raises:
        DivergedError: if the loss or a gradient is NaN or inf.
        OutOfMemoryError: if the step needs more memory than there is.
        ConfigError: if a batch norm is to learn from a single value.
    """
    try:
        yield
    except NotFiniteError as error:
        raise DivergedError(_diverged(runner, batch, error)) from error
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(_out_of_memory(runner, batch, error)) from error
        raise
    except ValueError as error:
        if ONE_VALUE.search(str(error)):
            raise ConfigError(
                f'a batch of {len(batch["data_samples"])} leaves a batch norm one value, from which it cannot learn '
                f'({error}). Fix: train_dataloader.batch_size=2 or more, and drop_last=True where the last batch is a '
                'single photo; or larger photos.'
            ) from error
        raise


@contextlib.contextmanager
def translate_evaluation_errors(loader: str, batch_size: int | None, how: str = '') -> Iterator[None]:
    """Turn a lack of memory while the photos of ``loader`` are evaluated into an error for users.

    Args:
        loader: Name of the loader in the config.
        batch_size: Of the loader.
        how: How to go on with the smaller batch size.

    Raises:
        OutOfMemoryError: if a batch needs more memory than there is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f'{loader}: batches of {batch_size} photos do not fit into memory ({_shortened(error)}). What was saved is '
            f'intact. Fix: {how}{loader}.batch_size={max(1, (batch_size or 1) // 2)}'
        ) from error


@contextlib.contextmanager
def translate_worker_errors(loaders: Sequence[str] = ('train_dataloader', 'val_dataloader')) -> Iterator[None]:
    """Turn what loader workers can fail of at any moment of a run into an error for users.

    Args:
        loaders: Names in the config of the loaders at work.

    Raises:
        WorkerError: if a worker has died, or shared memory or open files are short.
    """
    try:
        yield
    except (OSError, EOFError, RuntimeError) as error:
        without_workers = ' '.join(f'{loader}.num_workers=0' for loader in loaders)
        saved, again = '. What was saved is intact. Fix: ', ', and go on with --resume' * ('test' not in loaders[0])
        if OPEN_FILES.search(str(error)):
            raise WorkerError(
                f'loader workers have too many files open ({_last_line(error)}){saved}ulimit -n 65535, or '
                f'{without_workers}{again}.'
            ) from error
        if isinstance(error, ConnectionResetError | EOFError):  # a batch was on its way
            error = _death_of_worker(error)
        elif SHARED_MEMORY.search(str(error)) or isinstance(error, OSError) and _is_from_multiprocessing(error):
            raise WorkerError(
                f'/dev/shm is full or too small: loader workers hand their batches over there ({_last_line(error)})'
                f'{saved}docker run --shm-size=1g, or {without_workers}{again}.'
            ) from error
        elif not WORKER_DIED.search(str(error)):
            raise
        raise WorkerError(
            f'a loader worker has died ({_shortened(error)}). Likely: memory ran out, /dev/shm is too small, or '
            f'something killed it{saved}fewer workers, or none ({without_workers}){again}.'
        ) from error


def _is_from_multiprocessing(error: OSError) -> bool:
    """Return whether an error comes from a lock or a queue of workers, in this process or by a worker's report."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any('multiprocessing' in Path(file).parts for file in files) or 'multiprocessing' in str(error)


def _last_line(error: BaseException) -> str:
    """Return the last line of an error that may hold a worker's traceback."""
    return str(error).strip().rpartition('\n')[2][:160]


def _death_of_worker(error: Exception) -> Exception:
    """Return torch's report of a worker's death, or ``error`` if none comes in time.

    Torch reports each death once, from a SIGCHLD handler, which would otherwise interrupt the handling of ``error``.
    """
    deadline = time.monotonic() + MAX_WAIT_FOR_REPORT_S
    while time.monotonic() < deadline:
        try:
            torch._C._error_if_any_worker_fails()
            time.sleep(0.01)
        except RuntimeError as report:
            return report
    return error


def _diverged(runner, batch: dict, error: NotFiniteError) -> str:
    rate = runner.optim_wrapper.get_lr()['lr'][0]
    last = getattr(runner.optim_wrapper, 'last_finite_loss', None)
    losses = '' if last is None or not last.isfinite() else f', after a loss of {last.item():.4g}'
    names = [str(sample.get('img_path')) for sample in batch['data_samples']]
    more = f' and {len(names) - MAX_NAMES_SHOWN} more' if len(names) > MAX_NAMES_SHOWN else ''
    photos = f'. Photos of the batch: {", ".join(names[:MAX_NAMES_SHOWN])}{more}' if error.steps_ago == 0 else ''
    return (
        f'epoch {runner.epoch + 1}, step {runner.iter + 1 - error.steps_ago}: {error}, at a learning rate of '
        f'{rate:.3g}{losses}{photos}. The step was not taken, and what was saved is intact. Fix: a lower learning rate '
        '(optim_wrapper.optimizer.lr), or optim_wrapper.clip_grad.max_norm=1.0'
    )


def _out_of_memory(runner, batch: dict, error: BaseException) -> str:
    num_photos, shape = len(batch['data_samples']), ' x '.join(map(str, batch['inputs'][0].shape))
    return (
        f'epoch {runner.epoch + 1}, step {runner.iter + 1}: {num_photos} photos of {shape} do not fit into memory '
        f'({_shortened(error)}). What was saved is intact. Fix: train_dataloader.batch_size={max(1, num_photos // 2)} '
        'optim_wrapper.accumulative_counts=2, which keeps the photos behind one step; or fewer trained stages '
        '(model.frozen_stages).'
    )


def _shortened(error: BaseException) -> str:
    return ' '.join(str(error).split())[:160]
