"""What a run would do with its first batches, without keeping anything."""

from pathlib import Path

import torch

from flowercls.core.distributed import unwrapped
from flowercls.train.hooks import close_progress
from flowercls.train.loading import checked_initialisation, load_starting_weights
from flowercls.train.loop import explained
from flowercls.train.runner import ClassifierRunner


def try_one_batch(runner: ClassifierRunner, weights: Path | None) -> str:
    """Load the weights, train one batch and validate one: what a run would do, without keeping anything."""
    model = unwrapped(runner.model)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    if runner.param_schedulers is not None:
        runner.build_param_scheduler(runner.param_schedulers)
    _try_hooks(runner)
    with checked_initialisation():
        model.init_weights()
    if weights is not None:
        load_starting_weights(runner, weights)
    model.train()
    batch = next(iter(runner.train_dataloader))
    with explained(runner, batch):
        losses = model.train_step(batch, runner.optim_wrapper)
    lines = [f'one training batch of {len(batch["inputs"])}: loss {losses["loss"].item():.4f}']
    if runner._val_dataloader is not None:
        model.eval()
        with torch.no_grad():
            predicted = model.val_step(next(iter(runner.val_dataloader)))
        lines.append(f'one validation batch of {len(predicted)}: scores of {len(predicted[0].pred_score)} classes')
    return '\n'.join([*lines, 'dry run: config, weights and one batch each way checked, nothing written'])


def _try_hooks(runner: ClassifierRunner) -> None:
    """Let the hooks look at the run, as they do when it starts: some refuse their arguments only then."""
    try:
        runner.call_hook('before_run')
        runner.call_hook('before_train')
    finally:
        close_progress(runner)
