"""Optimizer wrappers that take no step on a loss or gradients that are no numbers."""

import math

import torch
from mmengine.dist import is_distributed
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor

LOOK_EVERY = 10  # steps on a GPU between two looks at what it found, as a look waits for it
LEAST_SCALE = 2.0**-4  # of a GradScaler, which starts at 2 ** 16 and halves at each step that it leaves out


class NotFiniteError(Exception):
    """The loss, or a gradient, is no number.

    Attributes:
        steps_ago: How many steps before the present one that was found.
    """

    def __init__(self, what: str, steps_ago: int = 0) -> None:
        super().__init__(what)
        self.steps_ago = steps_ago


class FiniteOptimWrapper(OptimWrapper):
    """mmengine's, with a look at loss and gradients before each step.

    On a CPU, and with optimizers of several kernels, something bad raises before the step. Otherwise a GPU is not
    waited for: the optimizer's kernel leaves the parameters alone from the first bad step on, and every `LOOK_EVERY`
    steps, and after each epoch, it is asked whether there was one.

    Attributes:
        last_finite_loss: Of the last step that was taken, as one number on the device; None before the first.
    """

    last_finite_loss: Tensor | None = None
    _num_bad: Tensor | None = None  # bad steps so far, on the device
    _loss: Tensor | None = None
    _steps = 0

    def initialize_count_status(self, model, init_counts: int, max_counts: int) -> None:
        """As mmengine's, which would say that gradients of accumulated batches are lost: a checkpoint has them."""
        super().initialize_count_status(model, init_counts if is_distributed() else 0, max_counts)
        self._inner_count = init_counts

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """As mmengine's.

        Raises:
            NotFiniteError: instead of taking a step that would spoil the parameters.
        """
        self._loss = loss.detach()
        if self._asks_at_once and not math.isfinite(self._loss.item()):
            raise NotFiniteError(f'the loss is {self._loss.item()}')
        super().update_params(loss, step_kwargs, zero_kwargs)
        self.last_finite_loss = self._loss

    def step(self, **kwargs) -> None:
        """Clip gradients, look, and take the step."""
        if self.clip_grad_kwargs:
            self._clip_grad()
        bad = ~_sum_of_gradients(self.optimizer).isfinite()
        if self._asks_at_once:
            if bad.item():
                raise NotFiniteError('a gradient is no number')
        else:
            self._count(bad | ~self._loss.isfinite())
            self.optimizer.found_inf = (self._num_bad > 0).float()  # as a GradScaler tells it
        self.optimizer.step(**kwargs)
        self._steps += 1
        if self._steps % LOOK_EVERY == 0:
            self.look()

    def look(self) -> None:
        """Raise a `NotFiniteError` if there was a bad step that was left out; waits for the GPU."""
        if self._num_bad is not None and (number := int(self._num_bad.item())):
            raise NotFiniteError('the loss or a gradient is no number', steps_ago=number - 1)

    @property
    def _asks_at_once(self) -> bool:
        device = self.optimizer.param_groups[0]['params'][0].device
        return device.type == 'cpu' or not self.optimizer.defaults.get('fused')

    def _count(self, bad: Tensor) -> None:
        # Once one was bad all that follow count: their parameters are those of the bad one.
        before = torch.zeros((), device=bad.device) if self._num_bad is None else self._num_bad
        self._num_bad = before + (bad | (before > 0)).float()


class FiniteAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's for float16: its scaler leaves out steps that are no numbers, which is normal now and then."""

    last_finite_loss: Tensor | None = None
    _steps = 0

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """As mmengine's; the loss of a step that is left out is no number, and is kept all the same."""
        super().update_params(loss, step_kwargs, zero_kwargs)
        self.last_finite_loss = loss.detach()
        self._steps += 1
        if self._steps % LOOK_EVERY == 0:
            self.look()

    def look(self) -> None:
        """Raise a `NotFiniteError` if some twenty steps more were left out than could be made up for."""
        if (scale := self.loss_scaler.get_scale()) < LEAST_SCALE:
            raise NotFiniteError(f'gradients are no numbers in step after step, down to a loss scale of {scale:.2g}')


# What stands in for mmengine's wrappers, by the name in a config.
FINITE = {'OptimWrapper': FiniteOptimWrapper, 'AmpOptimWrapper': FiniteAmpOptimWrapper}


def _sum_of_gradients(optimizer: torch.optim.Optimizer) -> Tensor:
    """No number if a gradient is none; the cheapest of such, 4 ms for ResNet-50 on two cores."""
    gradients = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
    return torch.stack([gradient.sum() for gradient in gradients]).sum()
