"""Whether a run can go on from what a checkpoint says of it: asked before anything of it is used.

A digest tells damage. A file of somebody else may be whole and still hold anything, and torch's fused optimizers take
the averages of a checkpoint as they come: of another shape, they read memory that is not theirs.

Which checkpoint of a run folder a run goes on from.

A run that is resumed with another schedule, for more epochs, or with other values of its optimizer.
"""

from numbers import Number
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from flowercls.core.distributed import unwrapped
from flowercls.core.errors import CheckpointError
from flowercls.train.checkpoint import Position, read_checkpoint, stands_at

PARTS = ('meta', 'optimizer', 'param_schedulers', 'message_hub')
# What must be there, and what may be, by its path in the checkpoint; int: a count, from 0.
_NEEDED = {'meta': dict, 'meta.epoch': int, 'meta.iter': int, 'optimizer': dict, 'message_hub': dict}
_NEEDED |= {'param_schedulers': list | dict}  # a dict where there are several optimizers
_BEST = 'message_hub.runtime_info.best_'
_KNOWN = {'meta.batch_in_epoch': int, 'meta.validation_pending': bool, 'meta.seed': int, 'gradients': dict}
_KNOWN |= {'message_hub.runtime_info': dict, f'{_BEST}epoch': int, f'{_BEST}checkpoint': str, f'{_BEST}score': Number}
# What optimizers keep for a weight and, as they do, of its shape.
# What the groups of some optimizers have and those of others do not.
OF_ONE_KIND = {'momentum', 'betas', 'alpha', 'rho', 'lr_decay', 'etas', 'lambd'}
OF_ITS_WEIGHT = {'momentum_buffer', 'exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'sum'}


def check_resumable(checkpoint: dict, path: str) -> None:
    """Raise a `CheckpointError` unless a run can go on from the content of a file."""
    if missing := [key for key in PARTS if key not in checkpoint]:
        raise CheckpointError(
            f'{path}: has no {", ".join(missing)}, so no run can be continued from it. Fix: resume from an '
            'epoch_N.pth; to start a new run from these weights, set load_from.'
        )
    for key, kind in (_NEEDED | _KNOWN).items():
        value = _at(checkpoint, key)
        if not (_is(value, kind) or value is None and key in _KNOWN) or _leads_elsewhere(key, value):
            raise CheckpointError(
                f'{path}: its {key} is {_shown(value)}, which is not what a run is continued from. '
                'Fix: resume from another epoch_N.pth.'
            )


def check_fits(checkpoint: dict, runner: Runner, path: str) -> None:
    """Raise a `CheckpointError` unless optimizer, schedulers and gradients of a run are those of a checkpoint."""
    problem = (
        _misfit_of_optimizer(checkpoint['optimizer'], runner.optim_wrapper)
        or _misfit_of_schedulers(checkpoint['param_schedulers'], runner.param_schedulers)
        or _misfit_of_gradients(checkpoint.get('gradients') or {}, runner.model)
    )
    if problem:
        raise CheckpointError(
            f'{path}: its {problem}. Fix: resume with the config.py that lies beside it; to start a new run from its '
            'weights, set load_from.'
        )


def _at(checkpoint: dict, key: str) -> Any:
    value = checkpoint
    for part in key.split('.'):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _is(value: Any, kind: type) -> bool:
    if kind is int:  # True is no count
        return type(value) is int and value >= 0
    return isinstance(value, kind)


def _leads_elsewhere(key: str, value: Any) -> bool:
    return key == f'{_BEST}checkpoint' and value is not None and Path(value).name != value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}...'


def _misfit_of_optimizer(found: dict, wrapper) -> str | None:
    if not isinstance(wrapper, OptimWrapper):  # one of several, or of somebody else: it looks for itself
        return None
    groups, state, own = found.get('param_groups'), found.get('state'), wrapper.optimizer.param_groups
    if not isinstance(state, dict) or not isinstance(groups, list) or not all(map(_is_group, groups)):
        return 'optimizer has no groups of weights'
    sizes, needed = ([len(group['params']) for group in of] for of in (groups, own))
    if sizes != needed:
        return f'optimizer trains {_counted(sizes)}, that of the config {_counted(needed)}'
    for group, own_group in zip(groups, own, strict=True):
        if missing := sorted(OF_ONE_KIND & own_group.keys() - group.keys()):
            return f'optimizer is of another kind: it has no {missing[0]}, that of the config does'
        for name in group.keys() & own_group.keys() - {'params'}:
            if not _alike(group[name], own_group[name]):
                return f'optimizer has {name}={_shown(group[name])}, that of the config {_shown(own_group[name])}'
    numbers = [number for group in groups for number in group['params']]
    weights = [weight for group in own for weight in group['params']]
    return _misfit_of_state(state, dict(zip(numbers, weights, strict=True)))


def _is_group(group: Any) -> bool:
    numbers = group.get('params') if isinstance(group, dict) else None
    return isinstance(numbers, list) and all(type(number) is int for number in numbers)


def _counted(sizes: list[int]) -> str:
    return f'{sum(sizes)} weights in {len(sizes)} group{"s" * (len(sizes) != 1)}'


def _misfit_of_state(state: dict, weights: dict[int, torch.Tensor]) -> str | None:
    for number, kept in state.items():
        if number not in weights or not isinstance(kept, dict):
            return f'optimizer keeps {_shown(kept)} for weight {_shown(number)}'
        for name, value in kept.items():
            if name in OF_ITS_WEIGHT and value is not None and _shape(value) != weights[number].shape:
                return f'optimizer keeps a {name} of another shape than weight {number}'
    return None


def _shape(value: Any) -> torch.Size | None:
    return value.shape if isinstance(value, torch.Tensor) else None


def _misfit_of_schedulers(found: list | dict, own: list | dict | None) -> str | None:
    if isinstance(found, dict) or not isinstance(own, list):
        return None
    for state, scheduler in zip(found, own, strict=False):  # another number of them is another schedule
        if not isinstance(state, dict):
            return f'param_schedulers hold {_shown(state)}'
        for name, value in state.items():
            if not _alike(value, getattr(scheduler, str(name), value)):
                return f'param_schedulers have {name}={_shown(value)}'
    return None


def _misfit_of_gradients(found: dict, model: torch.nn.Module) -> str | None:
    own = dict(unwrapped(model).named_parameters())
    for name, value in found.items():
        if name not in own or _shape(value) != own[name].shape:
            return f'gradients have {_shown(name)}, which is no weight of this model'
    return None


def _alike(found: Any, own: Any) -> bool:
    """Whether one may stand for the other: by kind, whatever the value."""
    if own is None or isinstance(own, bool):
        return not callable(found) and (own is None or found is None or isinstance(found, bool))
    kinds = (Number | torch.Tensor, str, list | tuple, dict)
    return any(isinstance(own, kind) and isinstance(found, kind) for kind in kinds)


pass


PATTERNS = ('epoch_*.pth', 'iter_*.pth', 'best_*_epoch_*.pth')


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the one that stands furthest first; of equal ones, not the best's second name."""
    found = [path for pattern in PATTERNS for path in folder.glob(pattern)]
    return sorted(found, key=_rank, reverse=True)


def newest_usable(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and why newer ones are not used.

    Returns:
        The file, None where a run has not come that far, and a sentence for each that was rejected.

    Raises:
        CheckpointError: if there are checkpoints and none can be used.
    """
    rejected = []
    for path in checkpoints(folder):
        try:
            check_resumable(read_checkpoint(path), str(path))
        except CheckpointError as error:
            rejected.append(str(error).partition(' Fix:')[0])
            continue
        return path, rejected
    if rejected:
        reasons = '\n'.join(f'  {reason}' for reason in rejected)
        fix = 'start a new run without --resume and with another --work-dir'
        raise CheckpointError(f'{folder}: no checkpoint can be used:\n{reasons}\nFix: {fix}.')
    return None, []


def _rank(path: Path) -> tuple[float, int, bool, str]:
    steps, epochs = stands_at(path)
    return steps, epochs, not path.name.startswith('best_'), path.name


# Of which keys a schedule is made, and an optimizer's groups are, by how they begin.
KEYS = ('param_scheduler', 'train_cfg.max_epochs', 'optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg')
KEYS += ('auto_scale_lr',)
OF_SCHEDULERS = ('lr', 'momentum', 'betas', 'initial_lr')


def follow_new_schedule(runner: Runner, position: Position) -> None:
    """Give a resumed run the rates, and its optimizer the values, that its config has at ``position``.

    The schedulers are built anew and taken through all steps so far: what one does depends on what others did before.
    One that listens to validation (ReduceOnPlateau) cannot be; it goes on from the checkpoint with the others.
    """
    keeps_rates = any(getattr(scheduler, 'need_val_args', False) for scheduler in runner.param_schedulers or [])
    _set_values(runner, but=OF_SCHEDULERS if keeps_rates else ())
    if keeps_rates:
        return
    runner.param_schedulers = runner.build_param_scheduler(runner.cfg.get('param_scheduler') or [])
    steps_an_epoch = len(runner.train_dataloader)
    for _ in range(position.epoch):
        _step(runner, steps_an_epoch)
        _end_epoch(runner)
    _step(runner, position.batch_in_epoch)


def _set_values(runner: Runner, but: tuple[str, ...]) -> None:
    fresh = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    runner.scale_lr(fresh, runner.auto_scale_lr)
    for group, new in zip(runner.optim_wrapper.param_groups, fresh.param_groups, strict=True):
        group.update({key: value for key, value in new.items() if key not in ('params', *but)})
        if not but:
            for key in [key for key in group if key.startswith('initial_')]:
                group.pop(key)  # schedulers note it when they are built


def _step(runner: Runner, number: int) -> None:
    for _ in range(number):
        for scheduler in runner.param_schedulers:
            if not scheduler.by_epoch:
                scheduler.step()


def _end_epoch(runner: Runner) -> None:
    for scheduler in runner.param_schedulers:
        if scheduler.by_epoch:
            scheduler.step()
