"""The result files of a run: figures of every epoch, and predictions and metrics of the best one."""

import math
from pathlib import Path

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from flowercls.errors import DivergedError
from flowercls.evaluation.metrics import ClassificationReport
from flowercls.files import write_json


@HOOKS.register_module()
class ResultsHook(Hook):
    """Adds each epoch's training loss and accuracy to ``scalars.json``; writes the best epoch's results.

    ``predictions_val.csv`` and ``metrics.json`` always belong to the best checkpoint so far. The epoch's averages are
    also left in the message hub as ``epoch_summary`` for whoever shows them.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor | float] = {}
        self._num_photos = 0

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put the sums of an epoch that is not complete into its checkpoint."""
        if checkpoint['meta']['batch_in_epoch'] > 0:
            checkpoint['epoch_sums'] = {'sums': dict(self._sums), 'num_photos': self._num_photos}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take them from the checkpoint that a run goes on from."""
        if runner._resume and 'epoch_sums' in checkpoint:
            self._sums = dict(checkpoint['epoch_sums']['sums'])
            self._num_photos = checkpoint['epoch_sums']['num_photos']

    def before_train_epoch(self, runner) -> None:
        """Start the sums of a new epoch; one that was interrupted goes on with those it had."""
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
        if not math.isfinite(averages['loss']):
            raise DivergedError(
                f'epoch {runner.epoch + 1}: the mean training loss is {averages["loss"]}. Fix: a lower learning rate '
                '(optim_wrapper.optimizer.lr), or optim_wrapper.clip_grad=dict(max_norm=1.0).'
            )
        rates = runner.optim_wrapper.get_lr()
        base_lr = rates.get('base_lr', rates['lr'])[0]  # groups may have factors of their own
        summary = {'epoch': runner.epoch + 1, 'train_loss': averages['loss'], 'lr': base_lr}
        if 'accuracy_top-1' in averages:
            summary['train_top1'] = averages['accuracy_top-1']
        runner.message_hub.update_info('epoch_summary', summary)
        runner.visualizer.add_scalars({**summary, 'step': runner.epoch + 1})

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the results if this epoch is the best so far."""
        if runner.epoch > 0 and runner.message_hub.runtime_info.get('best_epoch') == runner.epoch:
            write_results(runner)


@master_only
def write_results(runner) -> None:
    """Write what the last pass over the validation set found, as the results of the best checkpoint."""
    predictions = report_of(runner.val_evaluator).predictions
    folder, info = Path(runner.work_dir), runner.message_hub.runtime_info
    origin = provenance(runner, 'val', info['best_epoch'], info['best_checkpoint'])
    predictions.write_csv(folder / 'predictions_val.csv')
    write_json(folder / 'metrics.json', {**predictions.metrics(), **origin})


def report_of(evaluator) -> ClassificationReport:
    """The `ClassificationReport` among an evaluator's metrics; every config has one."""
    return next(metric for metric in evaluator.metrics if isinstance(metric, ClassificationReport))


def provenance(runner, split: str, epoch: int | None, checkpoint: str) -> dict:
    """Where the figures of ``metrics.json`` come from."""
    return {
        'epoch': epoch,
        'checkpoint': checkpoint,
        'split': split,
        'data_manifest': runner.cfg.get('data_manifest'),
        'seed': runner.seed,
    }
