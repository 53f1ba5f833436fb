"""Batch-norm statistics that belong to the weights they are stored with."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS
from torch.nn.modules.batchnorm import _BatchNorm

from flowercls import interruption
from flowercls.datasets.randomness import NORM_STATISTICS, derive_seed, seed_generators
from flowercls.engine.distributed import unwrapped


@HOOKS.register_module()
class NormStatisticsHook(Hook):
    """Estimates batch-norm means and variances anew after every epoch, on the training photos, without gradients.

    What training leaves there lags behind the weights, hangs on the last ten batches or so and, with mixup or cutmix,
    describes mixed photos, which are never seen in validation. The average over the batches of one more pass does not
    (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", sections 3 and 5). It costs the forward part of an epoch.
    Frozen layers keep their statistics.
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
                interruption.check()
                data = model.data_preprocessor(batch, training=False)  # normalised, but not mixed
                model(data['inputs'], mode='tensor')


@contextlib.contextmanager
def _averaging(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let the running statistics be the plain average over the batches that follow."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch: each batch counts the same
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
