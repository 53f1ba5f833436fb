"""What can end a run in the middle of a step, told so that a user can do something about it.

mmengine's training loop, which can be left and entered again in the middle of an epoch.
"""

import bisect
import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.runner import EpochBasedTrainLoop

from flowercls.core import signals
from flowercls.core.errors import ConfigError, DivergedError, OutOfMemoryError, WorkerError
from flowercls.train.checkpoint import Position, is_validated
from flowercls.train.optimizer import NotFiniteError

OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory", re.IGNORECASE)
ONE_VALUE = re.compile('Expected more than 1 value per channel when training')
WORKER_DIED = re.compile(r'DataLoader worker \(pid')
NAMES_SHOWN = 4


@contextlib.contextmanager
def explained(runner, batch: dict) -> Iterator[None]:
    """Turn what a training step on ``batch`` meets into errors for users.

    Raises:
        DivergedError: if the loss or a gradient is no number.
        OutOfMemoryError: if the step needs more memory than there is.
        ConfigError: if a batch norm is to learn from a single value.
    """
    try:
        yield
    except NotFiniteError as error:
        raise DivergedError(_diverged(runner, batch, error)) from error
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not isinstance(error, RuntimeError) or OUT_OF_MEMORY.search(str(error)):
            raise OutOfMemoryError(_out_of_memory(runner, batch, error)) from error
        raise
    except ValueError as error:
        if ONE_VALUE.search(str(error)):
            raise ConfigError(_one_value(batch, error)) from error
        raise


@contextlib.contextmanager
def dead_workers_explained() -> Iterator[None]:
    """Turn the death of a process that loads photos, which torch tells at any moment of a run, into an error for users.

    Raises:
        WorkerError: if one has died.
    """
    try:
        yield
    except (ConnectionResetError, EOFError) as error:  # a batch was on its way from it
        raise WorkerError(_worker_died(error)) from error
    except RuntimeError as error:
        if WORKER_DIED.search(str(error)):
            raise WorkerError(_worker_died(error)) from error
        raise


def _diverged(runner, batch: dict, error: NotFiniteError) -> str:
    rate = runner.optim_wrapper.get_lr()['lr'][0]
    last = getattr(runner.optim_wrapper, 'last_finite_loss', None)
    losses = '' if last is None or not last.isfinite() else f', after a loss of {last.item():.4g}'
    photos = f'. Photos of the batch: {_names(batch)}' if error.steps_ago == 0 else ''
    return (
        f'epoch {runner.epoch + 1}, step {runner.iter + 1 - error.steps_ago}: {error}, at a learning rate of '
        f'{rate:.3g}{losses}{photos}. The step was not taken, and what was saved is intact. Fix: a lower learning rate '
        '(optim_wrapper.optimizer.lr), or optim_wrapper.clip_grad=dict(max_norm=1.0).'
    )


def _out_of_memory(runner, batch: dict, error: BaseException) -> str:
    num_photos, shape = len(batch['data_samples']), ' x '.join(map(str, batch['inputs'][0].shape))
    said = ' '.join(str(error).split())[:160]
    half = max(1, num_photos // 2)
    return (
        f'epoch {runner.epoch + 1}, step {runner.iter + 1}: {num_photos} photos of {shape} do not fit into memory '
        f'({said}). What was saved is intact. Fix: train_dataloader.batch_size={half} '
        'optim_wrapper.accumulative_counts=2, which keeps the photos behind one step; or fewer trained stages '
        '(model.frozen_stages).'
    )


def _one_value(batch: dict, error: Exception) -> str:
    return (
        f'a batch of {len(batch["data_samples"])} leaves a batch norm one value, from which it cannot learn ({error}). '
        'Fix: train_dataloader.batch_size=2 or more, and drop_last=True where the last batch is a single photo; or '
        'larger photos.'
    )


def _worker_died(error: Exception) -> str:
    said = ' '.join(str(error).split())[:160]
    return (
        f'a loader worker has died ({said}). Likely: memory ran out, /dev/shm is too small, or something killed it. '
        'What was saved is intact. Fix: go on with --resume; if it happens again, fewer train_dataloader.num_workers, '
        '0 at last.'
    )


def _names(batch: dict) -> str:
    names: list[Any] = [sample.get('img_path') for sample in batch['data_samples']]
    more = f' and {len(names) - NAMES_SHOWN} more' if len(names) > NAMES_SHOWN else ''
    return ', '.join(str(name) for name in names[:NAMES_SHOWN]) + more


pass


class ResumableTrainLoop(EpochBasedTrainLoop):
    """Trains the same batches in the same order, whether it is interrupted or not.

    Attributes:
        batches_done: Of the epoch that runs; after a resume, those that are not trained again.
        validation_pending: Whether the last complete epoch is still to be validated.
        has_trained: Whether a step was taken in this start.
    """

    batches_done = 0
    validation_pending = False
    has_trained = False

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return Position(self._epoch, self._iter, self.batches_done, self.validation_pending)

    @position.setter
    def position(self, position: Position) -> None:
        self._epoch, self._iter = position.epoch, position.iter
        self.batches_done, self.validation_pending = position.batch_in_epoch, position.validation_pending

    def run(self):
        """As mmengine's; signals end it between two steps.

        Raises:
            Interrupted: after SIGINT or SIGTERM.
        """
        self.runner.call_hook('before_train')
        with signals.defer_signals():
            if self.validation_pending:
                self._validate()
            while self._epoch < self._max_epochs and not self.stop_training:
                signals.check()
                self.run_epoch()
                self.validation_pending = is_validated(self.runner, self._epoch)
                if self.validation_pending:
                    self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train what is left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for number, batch in enumerate(self._batches_left(), self.batches_done):
            with explained(self.runner, batch):
                self.run_iter(number, batch)
                leave = signals.is_pending()
                if leave or number + 1 == len(self.dataloader):
                    self._look()
            self.batches_done, self.has_trained = number + 1, True
            if leave:
                signals.check()
        self._set_val_interval(self._epoch + 1)  # now: whether a checkpoint waits for the validation hangs on it
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.batches_done = 0

    def _look(self) -> None:
        """Whether a step was bad that a GPU was not asked about yet: nothing of it may be saved."""
        if hasattr(self.runner.optim_wrapper, 'look'):
            self.runner.optim_wrapper.look()

    def _set_val_interval(self, complete_epochs: int) -> None:
        """As mmengine's, which counts the epoch first."""
        step = bisect.bisect(self.dynamic_milestones, complete_epochs + 1)
        self.val_interval = self.dynamic_intervals[step - 1]

    def _batches_left(self) -> Iterator[dict]:
        """Batches of the epoch that are still to be trained; none of the others is loaded."""
        sampler = self.dataloader.sampler
        if not hasattr(sampler, 'start_at'):  # not ours: what was trained already is loaded, and passed over
            yield from itertools.islice(self.dataloader, self.batches_done, None)
            return
        sampler.start_at(self.batches_done * self.dataloader.batch_size)
        try:
            yield from self.dataloader
        finally:
            sampler.start_at(0)

    def _validate(self) -> None:
        try:
            self.runner.val_loop.run()
        except signals.Interrupted:  # within the epoch
            for hook in self.runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(self.runner)  # else a checkpoint would take the averages for the weights
            raise
        self.validation_pending = False
