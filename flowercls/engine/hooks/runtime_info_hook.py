"""What the log needs to know of every step, without a step that waits for the GPU."""

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmpretrain.registry import HOOKS
from torch import Tensor


@HOOKS.register_module()
class LazyRuntimeInfoHook(RuntimeInfoHook):
    """mmengine's `RuntimeInfoHook`, which fetches losses and accuracies of many steps at once, when they are logged."""

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """As the parent."""
        super().before_train(runner)
        self._waiting: list[dict[str, Tensor]] = []
        self._intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Keep the step's figures where they are; fetch all before they are read."""
        self._waiting.append({name: value.detach() for name, value in (outputs or {}).items()})
        is_logged = any(self.every_n_inner_iters(batch_idx, interval) for interval in self._intervals)
        if is_logged or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._fetch(runner.message_hub)

    def _fetch(self, message_hub) -> None:
        names = dict.fromkeys(name for figures in self._waiting for name in figures)
        for name in names:
            values = [figures[name].float().mean() for figures in self._waiting if name in figures]
            for value in torch.stack(values).tolist():
                message_hub.update_scalar(f'train/{name}', value)
        self._waiting = []
