"""What can end a run in the middle of a step, told so that a user can do something about it."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import torch

from flowercls.engine.finite import NotFiniteError
from flowercls.errors import ConfigError, DivergedError, OutOfMemoryError, WorkerError

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
