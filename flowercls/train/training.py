"""Training a config in its run folder."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from flowercls.core.distributed import decide_once, unwrapped
from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors
from flowercls.core.signals import Interrupted
from flowercls.train.checkpoint import checkpoint_hook, point_to, publish_best, save_position
from flowercls.train.hooks import close_progress, write_results
from flowercls.train.loading import load_starting_weights
from flowercls.train.loop import dead_workers_explained
from flowercls.train.resume import KEYS, follow_new_schedule
from flowercls.train.run_dir import last_checkpoint
from flowercls.train.runner import ClassifierRunner

if TYPE_CHECKING:
    from flowercls.train.tester import Evaluation

OF_VALIDATION = ('data_manifest', 'val_dataloader', 'val_evaluator')  # keys that make scores other ones, as they begin


@dataclass(frozen=True)
class TrainResult:
    """What a finished training leaves.

    Attributes:
        folder: The run folder.
        epochs: Complete epochs.
        max_epochs: What they were to be; more if something ended the run early.
        seconds: Wall-clock time of this start.
        epochs_now: Epochs trained in this start; fewer than ``epochs`` after a resume.
        best_epoch: Epoch of the best checkpoint; None without validation.
        best_checkpoint: Its file; None without validation.
        last_checkpoint: The ``epoch_N.pth`` of the last epoch; None where the config saves none.
        last_top1: Validation top-1 of the last epoch in percent; None without validation.
        evaluation: Of the best checkpoint, in the main process; None without validation.
    """

    folder: Path
    epochs: int
    max_epochs: int
    seconds: float
    epochs_now: int
    best_epoch: int | None
    best_checkpoint: Path | None
    last_checkpoint: Path | None
    last_top1: float | None
    evaluation: 'Evaluation | None' = None

    def metrics(self) -> dict:
        """The content of metrics.json."""
        return json.loads((self.folder / 'metrics.json').read_text(encoding='utf-8'))


def run_training(
    runner: ClassifierRunner, weights: Path | None = None, resume_from: Path | None = None, changed: Sequence[str] = ()
) -> TrainResult:
    """Train until the config's last epoch.

    Args:
        runner: A fresh Runner.
        weights: Starting weights, or None to start from random ones.
        resume_from: A checkpoint to continue from; ``weights`` are not needed then.
        changed: Keys of the config that have other values than before.
    """
    if resume_from is not None:
        runner.start = partial(_resume, checkpoint=resume_from, changed=changed)
    elif weights is not None:
        runner.start = partial(load_starting_weights, path=weights)
    started = time.monotonic()
    try:
        with disk_errors(runner.work_dir), dead_workers_explained():
            runner.train()
            _mend_results(runner)
            decide_once(lambda: _mend_pointer(runner))
    except Interrupted as signal:  # between two steps
        raise Interrupted(signal.number, checkpoint=save_position(runner)) from None
    finally:
        close_progress(runner)
    return _result(runner, time.monotonic() - started)


@contextlib.contextmanager
def suppress_log_errors() -> Iterator[None]:
    """Drop log lines that cannot be written (disk full) instead of printing a traceback for each."""
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        yield
    finally:
        logging.raiseExceptions = before


def _resume(runner: ClassifierRunner, checkpoint: Path, changed: Sequence[str]) -> None:
    runner._resume = True  # an EMAHook asks, here and again before it trains
    runner.resume(str(checkpoint))
    if any(key.startswith(KEYS) for key in changed):
        follow_new_schedule(runner, runner.train_loop.position)
    runner.first_epoch = runner.epoch
    _check_epochs_left(runner, checkpoint)
    info, hook = runner.message_hub.runtime_info, checkpoint_hook(runner)
    is_of_metric = hook is None or str(info.get('best_checkpoint')).startswith(hook.best_prefix)
    is_comparable = is_of_metric and not any(key.startswith(OF_VALIDATION) for key in changed)
    if info.get('best_checkpoint') and not (is_comparable and decide_once(lambda: _best_is_here(runner, checkpoint))):
        # The run goes on in a folder of its own, and what was best elsewhere is not here to be tested; or it was best
        # by another metric, or on other photos.
        for key in ('best_score', 'best_epoch', 'best_checkpoint'):
            info.pop(key, None)


def _check_epochs_left(runner: ClassifierRunner, checkpoint: Path) -> None:
    # In the run's own folder that is fine: its results are reported again.
    if runner.epoch >= runner.max_epochs and not Path(runner.work_dir).samefile(checkpoint.parent):
        raise ConfigError(
            f'--resume {checkpoint}: is after epoch {runner.epoch}, and train_cfg.max_epochs is {runner.max_epochs}, '
            f'so there is nothing to do in {runner.work_dir}. Fix: a larger train_cfg.max_epochs, with '
            '--allow-config-change.'
        )


def _best_is_here(runner: ClassifierRunner, checkpoint: Path) -> bool:
    folder, info = Path(runner.work_dir), runner.message_hub.runtime_info
    is_of_epoch = runner.train_loop.position.batch_in_epoch == 0  # else of an interruption in the one after it
    if info['best_epoch'] == runner.epoch and is_of_epoch and folder.samefile(checkpoint.parent):
        # The run may have been killed between this checkpoint and its second name.
        publish_best(checkpoint, info['best_checkpoint'])
    return (folder / info['best_checkpoint']).is_file()


def _mend_results(runner: ClassifierRunner) -> None:
    """Evaluate the best checkpoint again if an interruption came between it and its results."""
    folder, best = Path(runner.work_dir), runner.message_hub.runtime_info.get('best_checkpoint')
    # The main process writes the results: once it answers here, it is done with them.
    if best is None or decide_once(lambda: _results_checkpoint(folder) == best):
        return
    runner._resume = False  # else it would stand where that one does
    runner.load_checkpoint(str(folder / best))
    runner.call_hook('before_val_epoch')  # an EMAHook changes to the weights that it has evaluated
    model = unwrapped(runner.model).eval()
    with torch.no_grad():
        for batch in runner.val_dataloader:
            runner.val_evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    runner.val_evaluator.evaluate(len(runner.val_dataloader.dataset))
    write_results(runner)


def _mend_pointer(runner: ClassifierRunner) -> None:
    """Name the last checkpoint if an interruption came between it and its naming."""
    last = Path(runner.work_dir, f'epoch_{runner.epoch}.pth')
    if last.is_file() and last_checkpoint(last.parent) != last:
        point_to(last)


def _results_checkpoint(folder: Path) -> str | None:
    try:
        return json.loads((folder / 'metrics.json').read_text(encoding='utf-8')).get('checkpoint')
    except (OSError, ValueError):
        return None


def _result(runner: ClassifierRunner, seconds: float) -> TrainResult:
    # As the user would type it, where that is possible: mmengine has made the path absolute.
    folder, info = Path(os.path.relpath(runner.work_dir)), runner.message_hub.runtime_info
    if folder.parts[:1] == ('..',):
        folder = Path(runner.work_dir)
    best, last = info.get('best_checkpoint'), folder / f'epoch_{runner.epoch}.pth'
    return TrainResult(
        folder=folder,
        epochs=runner.epoch,
        max_epochs=runner.max_epochs,
        seconds=seconds,
        epochs_now=runner.epoch - runner.first_epoch,
        best_epoch=info.get('best_epoch'),
        best_checkpoint=folder / best if best else None,
        last_checkpoint=last if last.is_file() else None,
        last_top1=info.get('last_top1'),
    )
