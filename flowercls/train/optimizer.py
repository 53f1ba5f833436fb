"""Optimizers: which parameters they train, at which learning rates, and no step on a NaN loss or gradient."""

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

CHECK_EVERY = 10  # steps between two checks on a GPU: each check waits for the GPU
MIN_SCALE = 2.0**-4  # of a GradScaler, which starts at 2 ** 16 and halves at each step that it skips


class NotFiniteError(Exception):
    """The loss or a gradient is NaN or inf.

    Attributes:
        steps_ago: Steps since the bad one.
    """

    def __init__(self, what: str, steps_ago: int = 0) -> None:
        super().__init__(what)
        self.steps_ago = steps_ago


class NanGuardOptimWrapper(OptimWrapper):
    """mmengine's wrapper, which takes no step on a loss or gradients that are NaN or inf.

    On a CPU, and with optimizers of several kernels, a bad step raises an error before it is taken. A fused optimizer
    on a GPU is not waited for: its kernel leaves the parameters alone from the first bad step on, and it is asked
    every `CHECK_EVERY` steps and after each epoch.

    Attributes:
        last_finite_loss: Loss of the last step, as one number on the device; None before the first.
    """

    last_finite_loss: Tensor | None = None
    _num_bad: Tensor | None = None  # bad steps so far, on the device
    _loss: Tensor | None = None
    _steps = 0

    def initialize_count_status(self, model, init_counts: int, max_counts: int) -> None:
        """Set the counts; mmengine would warn that accumulated gradients are lost, which our checkpoints hold."""
        super().initialize_count_status(model, init_counts if is_distributed() else 0, max_counts)
        self._inner_count = init_counts

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """Take a step as mmengine does.

        Raises:
            NotFiniteError: if the step would spoil the parameters; it is not taken then.
        """
        self._loss = loss.detach()
        if self._checks_at_once and not math.isfinite(self._loss.item()):
            raise NotFiniteError(f'the loss is {self._loss.item()}')
        super().update_params(loss, step_kwargs, zero_kwargs)
        self.last_finite_loss = self._loss

    def step(self, **kwargs) -> None:
        """Clip the gradients, check them, and take the step."""
        if self.clip_grad_kwargs:
            self._clip_grad()
        bad = ~_sum_of_gradients(self.optimizer).isfinite()
        if self._checks_at_once:
            if bad.item():
                raise NotFiniteError('a gradient is NaN or inf')
        else:
            self._count(bad | ~self._loss.isfinite())
            self.optimizer.found_inf = (self._num_bad > 0).float()  # the kernel skips the step then
        self.optimizer.step(**kwargs)
        self._steps += 1
        if self._steps % CHECK_EVERY == 0:
            self.check_steps()

    def check_steps(self) -> None:
        """Raise a `NotFiniteError` if a bad step was skipped; waits for the GPU."""
        if self._num_bad is not None and (number := int(self._num_bad.item())):
            raise NotFiniteError('the loss or a gradient is NaN or inf', steps_ago=number - 1)

    @property
    def _checks_at_once(self) -> bool:
        device = self.optimizer.param_groups[0]['params'][0].device
        return device.type == 'cpu' or not self.optimizer.defaults.get('fused')

    def _count(self, bad: Tensor) -> None:
        # After a bad step all steps count as bad: they have its parameters.
        before = torch.zeros((), device=bad.device) if self._num_bad is None else self._num_bad
        self._num_bad = before + (bad | (before > 0)).float()


class NanGuardAmpOptimWrapper(AmpOptimWrapper):
    """mmengine's wrapper for float16, whose scaler skips steps with NaN or inf; a few of those are normal."""

    last_finite_loss: Tensor | None = None
    _steps = 0

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        """Take a step as mmengine does; `last_finite_loss` may be NaN if the step was skipped."""
        super().update_params(loss, step_kwargs, zero_kwargs)
        self.last_finite_loss = loss.detach()
        self._steps += 1
        if self._steps % CHECK_EVERY == 0:
            self.check_steps()

    def check_steps(self) -> None:
        """Raise a `NotFiniteError` if about twenty steps in a row were skipped."""
        if (scale := self.loss_scaler.get_scale()) < MIN_SCALE:
            raise NotFiniteError(f'gradients are NaN or inf in step after step, down to a loss scale of {scale:.2g}')


# Our wrappers in place of mmengine's, by the name in a config.
NAN_GUARDS = {'OptimWrapper': NanGuardOptimWrapper, 'AmpOptimWrapper': NanGuardAmpOptimWrapper}


def _sum_of_gradients(optimizer: torch.optim.Optimizer) -> Tensor:
    """Return the sum, which is NaN or inf if any gradient is. It takes 4 ms for ResNet-50 on two cores."""
    gradients = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
    return torch.stack([gradient.sum() for gradient in gradients]).sum()


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, without frozen parameters, with rates per stage, and with a NaN guard.

    ``paramwise_cfg`` works as in mmengine, with one more key: ``stage_lr_mult=dict(stem=0.1, classifier=10)``
    multiplies the rate of whole parts, named as in the stage table; parts that are not named keep theirs.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Add one group for each set of options; mmengine adds one for each parameter, which makes steps slower."""
        with _without_lines_about_frozen_parameters():
            super().add_params(params, module, prefix, **kwargs)
        if not prefix:  # not one of the calls for children
            multiply_lr(params, module, self.paramwise_cfg.get('stage_lr_mult') or {}, self.base_lr)
            params[:] = _merged(params)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of ``model``, with trainable parameters only."""
        self.optimizer_cfg = {**fused_options(self.optimizer_cfg), **self.optimizer_cfg}
        kind = self.optim_wrapper_cfg.get('type', 'OptimWrapper')
        self.optim_wrapper_cfg = {**self.optim_wrapper_cfg, 'type': NAN_GUARDS.get(kind, kind)}
        optim_wrapper = super().__call__(model)
        groups = optim_wrapper.optimizer.param_groups
        for group in groups:
            group['params'] = [parameter for parameter in group['params'] if parameter.requires_grad]
        groups[:] = [group for group in groups if group['params']]
        return optim_wrapper


def fused_options(optimizer: dict) -> dict[str, bool]:
    """Return the option for one kernel that updates all parameters, if torch has one; it takes half the time on a CPU.

    Args:
        optimizer: As in a config, with ``type``.
    """
    optimizer_class = getattr(torch.optim, str(optimizer['type']), None)
    if optimizer_class is None or 'fused' not in inspect.signature(optimizer_class).parameters:
        return {}
    return {} if optimizer.get('foreach') or optimizer.get('differentiable') else {'fused': True}


def effective_batch_size(runner: Runner) -> int:
    """Return the photos behind one step of the optimizer: batch size × processes × accumulated batches."""
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
    """Merge groups with the same options."""
    merged: dict[tuple, dict] = {}
    for group in groups:
        options = {key: value for key, value in group.items() if key != 'params'}
        key = tuple(sorted((name, repr(value)) for name, value in options.items()))
        merged.setdefault(key, {'params': [], **options})['params'] += group['params']
    return list(merged.values())


@contextmanager
def _without_lines_about_frozen_parameters() -> Iterator[None]:
    """Hide mmengine's warnings about frozen parameters, which the user has asked for."""

    def keep(record: logging.LogRecord) -> bool:
        return 'requires_grad=False' not in record.getMessage()

    logger = MMLogger.get_current_instance()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
