"""Learning-rate schedules that follow `train_cfg.max_epochs`, the one source of a run's length.

In mmengine `begin` and `end` count epochs where `by_epoch` is True (the default), also with `convert_to_iter_based`,
which multiplies them by the steps of an epoch when the scheduler is built; `T_max` is how long a cosine falls, counted
from `begin`, after which it rises again. `step_size` and `milestones` count from `begin` too.
"""

from typing import Any

Notes = list[str]
OR_LONGER = 'or a larger train_cfg.max_epochs'
# These change nothing at their first step, so one that lasts for one epoch and steps once an epoch changes nothing.
FIRST_STEP_IS_IDLE = ('ExponentialLR', 'CosineAnnealingLR', 'PolyLR')


def derive_schedules(schedulers: Any, max_epochs: int) -> tuple[list[dict], Notes]:
    """The schedulers with every length written out, and sentences about what was changed or does not fit.

    A scheduler that counts steps (`by_epoch=False`) is left as it is: how many there are is known only with the data.

    Args:
        schedulers: `param_scheduler` of a config: a dict or a list of dicts.
        max_epochs: Length of the run.

    Returns:
        The schedulers that act within the run; and for each that is changed, left out, broken off or without any
        effect, a sentence that ends with what to do about it.
    """
    given = [schedulers] if isinstance(schedulers, dict) else list(schedulers)
    kept, notes = [], []
    for i, scheduler in enumerate(given):
        name = f'param_scheduler.{i} ({scheduler.get("type")})'
        if not scheduler.get('by_epoch', True):
            kept.append(scheduler)
        elif scheduler.get('begin', 0) >= max_epochs:
            fix = f'Fix: a smaller begin, {OR_LONGER}.'
            notes.append(f'{name} is left out: it begins at epoch {scheduler["begin"]} of {max_epochs}. {fix}')
        else:
            notes += _fill_length(scheduler, name, max_epochs, is_last=i == len(given) - 1)
            kept.append(scheduler)
    return kept, notes


def never_fires(schedulers: Any, num_steps: int) -> Notes:
    """Sentences about schedulers counted in steps (`by_epoch=False`) that change nothing in a run of that length.

    Args:
        schedulers: `param_scheduler` of a config.
        num_steps: Steps of the whole run.
    """
    given = [schedulers] if isinstance(schedulers, dict) else list(schedulers or [])
    notes = []
    for i, scheduler in enumerate(given):
        name, begin = f'param_scheduler.{i} ({scheduler.get("type")})', scheduler.get('begin', 0)
        if scheduler.get('by_epoch', True):
            continue
        if begin >= num_steps:
            notes.append(f'{name} begins at step {begin} of {num_steps}. Fix: a smaller begin, {OR_LONGER}.')
        else:
            stop = min(scheduler.get('end') or num_steps, num_steps)
            notes += _without_drop(scheduler, name, begin, stop, 'step')
    return notes


def _fill_length(scheduler: dict, name: str, max_epochs: int, is_last: bool) -> Notes:
    begin = scheduler.get('begin', 0)
    notes = []
    if scheduler.get('end') is None:
        scheduler['end'] = max_epochs
    elif scheduler['end'] > max_epochs and _is_warm_up(scheduler) and not is_last:
        was, fix = scheduler['end'], f'Fix: a warm-up of fewer epochs, {OR_LONGER}.'
        notes.append(f'{name} ends at epoch {max_epochs} instead of {was}: the run is no longer. {fix}')
        scheduler['end'] = max_epochs
    elif scheduler['end'] > max_epochs:
        fix = f'Fix: end={max_epochs}, {OR_LONGER}.'
        notes.append(f'{name} lasts to epoch {scheduler["end"]}, the run only to {max_epochs}: it breaks off. {fix}')
    if _type_of(scheduler).startswith('CosineAnnealing'):
        notes += _fill_cosine(scheduler, name, begin, max_epochs)
    return notes + _without_effect(scheduler, name, max_epochs)


def _is_warm_up(scheduler: dict) -> bool:
    rises = scheduler.get('start_factor', 1 / 3) < scheduler.get('end_factor', 1.0)
    return _type_of(scheduler).startswith('Linear') and rises


def _fill_cosine(scheduler: dict, name: str, begin: int, max_epochs: int) -> Notes:
    length = scheduler['end'] - begin
    if scheduler.get('T_max') is None:
        scheduler['T_max'] = length
    lowest = begin + scheduler['T_max']
    fix = 'Fix: leave T_max out, it follows the length of the run.'
    if lowest < min(scheduler['end'], max_epochs):
        rises = f'reaches the lowest rate at epoch {lowest}, then it rises again'
        return [f'{name}: T_max={scheduler["T_max"]} {rises}. {fix}']
    if lowest > max_epochs >= scheduler['end']:
        return [f'{name}: T_max={scheduler["T_max"]} is longer than the run: the lowest rate is never reached. {fix}']
    return []


def _without_effect(scheduler: dict, name: str, max_epochs: int) -> Notes:
    """Why a scheduler, or a part of it, never changes the rate within the run."""
    begin, stop = scheduler.get('begin', 0), min(scheduler['end'], max_epochs)
    if stop - begin == 1 and not scheduler.get('convert_to_iter_based'):
        return _without_drop(scheduler, name, begin, stop, 'epoch') or _single_epoch(scheduler, name)
    return _without_drop(scheduler, name, begin, stop, 'epoch')


def _without_drop(scheduler: dict, name: str, begin: int, stop: int, unit: str) -> Notes:
    """Sentences about drops of the rate at which the scheduler, at work from ``begin`` to ``stop``, never arrives."""
    kind = _type_of(scheduler)
    if kind == 'StepLR' and 'step_size' in scheduler:
        return _late_drops(scheduler, 'step_size', [scheduler['step_size']], name, begin, stop, unit)
    if kind == 'MultiStepLR':
        return _late_drops(scheduler, 'milestones', list(scheduler.get('milestones') or []), name, begin, stop, unit)
    if kind == 'ReduceOnPlateauLR':
        # The first validation is the best so far, `patience` worse ones are borne, the next drops the rate.
        return _late_drops(scheduler, 'patience', [scheduler.get('patience', 10) + 2], name, begin, stop, unit)
    return []


def _late_drops(scheduler: dict, key: str, drops: list[int], name: str, begin: int, stop: int, unit: str) -> Notes:
    late = [drop for drop in drops if begin + drop >= stop]
    if not late:
        return []
    what = f'{key}={scheduler.get(key, 10)}'
    if len(late) == len(drops):
        said = f'the first drop would be at {unit} {begin + min(late)}, it ends at {stop}: the rate never changes'
    else:
        said = f'of these, {", ".join(map(str, late))} are never reached, it ends at {unit} {stop}'
    return [f'{name}: {what}: {said}. Fix: a smaller {key}, {OR_LONGER}.']


def _single_epoch(scheduler: dict, name: str) -> Notes:
    fix = 'Fix: convert_to_iter_based=True, which changes it at every step, or more epochs.'
    if _type_of(scheduler) in FIRST_STEP_IS_IDLE:
        return [f'{name} lasts one epoch and acts from its second on: the rate never changes. {fix}']
    if _is_warm_up(scheduler):
        factor = scheduler.get('start_factor', 1 / 3)
        return [f'{name} lasts one epoch: the rate stays at {factor:.3g} of its value for good. {fix}']
    return []


def _type_of(scheduler: dict) -> str:
    return str(scheduler.get('type')).rpartition('.')[2]
