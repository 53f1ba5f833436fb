"""Which parameters an optimizer is given, and at which learning rate."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.runner import Runner
from mmpretrain.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from flowercls.engine.finite import FINITE
from flowercls.errors import ConfigError
from flowercls.models.classifier import StagedClassifier
from flowercls.models.stage_table import parameters_by_part


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
