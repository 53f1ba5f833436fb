"""Optimizer wrappers that take no step on a loss or gradients that are no numbers.

Which parameters an optimizer is given, and at which learning rate.
"""

import inspect
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import get_world_size, is_distributed
from mmengine.logging import MMLogger
from mmengine.optim import AmpOptimWrapper, DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.runner import Runner
from mmpretrain.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor, nn

from flowercls.core.errors import ConfigError
from flowercls.models.classifier import StagedClassifier
from flowercls.models.model_summary import parameters_by_part

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


pass


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor without frozen parameters, with rates per stage, and with a look before each step.

    ``paramwise_cfg`` works as in mmengine, with one more key: ``stage_lr_mult=dict(stem=0.1, classifier=10)``
    multiplies the rate of whole parts, named as in the stage table; parts that are not named keep theirs.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Add a group for each set of options, instead of mmengine's one for each parameter: steps are faster."""
        with _without_lines_about_frozen_parameters():
            super().add_params(params, module, prefix, **kwargs)
        if not prefix:  # not one of the calls for children
            multiply_lr(params, module, self.paramwise_cfg.get('stage_lr_mult') or {}, self.base_lr)
            params[:] = _merged(params)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of ``model``, with trainable parameters only."""
        self.optimizer_cfg = {**one_kernel(self.optimizer_cfg), **self.optimizer_cfg}
        kind = self.optim_wrapper_cfg.get('type', 'OptimWrapper')
        self.optim_wrapper_cfg = {**self.optim_wrapper_cfg, 'type': FINITE.get(kind, kind)}
        optim_wrapper = super().__call__(model)
        groups = optim_wrapper.optimizer.param_groups
        for group in groups:
            group['params'] = [parameter for parameter in group['params'] if parameter.requires_grad]
        groups[:] = [group for group in groups if group['params']]
        return optim_wrapper


def one_kernel(optimizer: dict) -> dict[str, bool]:
    """What makes torch's optimizers update all parameters in one kernel, where there is one; half the time on a CPU.

    Args:
        optimizer: As in a config, with ``type``.
    """
    kind = getattr(torch.optim, str(optimizer['type']), None)
    has_choice = kind is not None and 'fused' in inspect.signature(kind).parameters
    return (
        {'fused': True} if has_choice and not optimizer.get('foreach') and not optimizer.get('differentiable') else {}
    )


def photos_a_step(runner: Runner) -> int:
    """Photos behind one step of the optimizer: batch size × processes × accumulated batches."""
    accumulated = runner.cfg.optim_wrapper.get('accumulative_counts', 1)
    return (runner.train_dataloader.batch_size or 1) * get_world_size() * accumulated


def multiply_lr(groups: list[dict], model: nn.Module, factors: dict[str, float], base_lr: float | None) -> None:
    """Multiply the rates of the parts that ``factors`` names, in place.

    Args:
        groups: Parameter groups of one parameter each.
        model: The classifier.
        factors: By part, as in the stage table.
        base_lr: The rate of groups that name none.

    Raises:
        ConfigError: if the model has no such part, or there is no rate to multiply.
    """
    if not factors:
        return
    check_parts(model, factors)
    if base_lr is None:
        raise ConfigError('`optim_wrapper.paramwise_cfg.stage_lr_mult` has no rate to multiply. Fix: set optimizer.lr.')
    parts = parameters_by_part(model)
    factor_of = {id(p): factors.get(part, 1) for part, parameters in parts.items() for p in parameters}
    for group in groups:
        group['lr'] = group.get('lr', base_lr) * factor_of[id(group['params'][0])]


def check_parts(model: nn.Module, factors: dict[str, float]) -> None:
    """Raise a `ConfigError` unless every part that ``factors`` names has parameters, frozen or not."""
    if not isinstance(model, StagedClassifier):
        raise ConfigError(f'a {type(model).__name__} has no stages. Fix: leave `paramwise_cfg.stage_lr_mult` out.')
    known = [part for part, parameters in parameters_by_part(model).items() if parameters]
    unknown = [part for part in factors if part not in known]
    if unknown:
        raise ConfigError(
            f'`optim_wrapper.paramwise_cfg.stage_lr_mult` names {", ".join(unknown)}; the parts of this '
            f'{type(model.backbone).__name__} that have parameters are {", ".join(known)}. Fix: name those.'
        )


def _merged(groups: list[dict]) -> list[dict]:
    """Groups with the same options made one."""
    merged: dict[tuple, dict] = {}
    for group in groups:
        options = {key: value for key, value in group.items() if key != 'params'}
        key = tuple(sorted((name, repr(value)) for name, value in options.items()))
        merged.setdefault(key, {'params': [], **options})['params'] += group['params']
    return list(merged.values())


@contextmanager
def _without_lines_about_frozen_parameters() -> Iterator[None]:
    """Hide mmengine's warning of each frozen parameter that it leaves out: that is what was asked for."""

    def keep(record: logging.LogRecord) -> bool:
        return 'requires_grad=False' not in record.getMessage()

    logger = MMLogger.get_current_instance()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
