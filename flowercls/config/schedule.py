"""Learning-rate schedules that follow `train_cfg.max_epochs`, the one source of a run's length.

In mmengine `begin` and `end` count epochs where `by_epoch` is True (the default), also with `convert_to_iter_based`,
which multiplies them by the steps of an epoch when the scheduler is built. `T_max` is how long a cosine falls, counted
from `begin`, after which it rises again. `step_size` and `milestones` count from `begin` too.
"""

from typing import Any

from flowercls.config.schema import type_name

OR_LONGER = 'or a larger train_cfg.max_epochs'
# These change nothing at their first step, so one that lasts for one epoch and steps once an epoch changes nothing.
IDLE_AT_FIRST = ('ExponentialLR', 'CosineAnnealingLR', 'PolyLR')


def derive_schedules(schedulers: Any, max_epochs: int) -> tuple[list[dict], list[str]]:
    """Write out every length of the schedulers.

    A scheduler that counts steps (`by_epoch=False`) stays as it is: their number is known only with the data.

    Args:
        schedulers: `param_scheduler` of a config: a dict or a list of dicts.
        max_epochs: Length of the run.

    Returns:
        The schedulers that act within the run, and a note with a fix for each that is changed, left out, cut off or
        without any effect.
    """
    schedulers, kept, notes = _as_list(schedulers), [], []
    for i, scheduler in enumerate(schedulers):
        name, kind, is_last = _name(i, scheduler), type_name(scheduler), i == len(schedulers) - 1
        begin, end = scheduler.get('begin', 0), scheduler.get('end')
        if not scheduler.get('by_epoch', True):
            kept.append(scheduler)
            continue
        if begin >= max_epochs:
            fix = f'Fix: a smaller begin, {OR_LONGER}.'
            notes.append(f'{name} is left out: it begins at epoch {begin} of {max_epochs}. {fix}')
            continue
        kept.append(scheduler)
        if end is None:
            end = max_epochs
        elif end > max_epochs and _is_warm_up(scheduler) and not is_last:
            fix = f'Fix: a warm-up of fewer epochs, {OR_LONGER}.'
            notes.append(f'{name} ends at epoch {max_epochs} instead of {end}: the run is not longer. {fix}')
            end = max_epochs
        elif end < max_epochs and is_last and kind in ('CosineAnnealingLR', 'PolyLR'):
            fix = f'Fix: end={max_epochs}, and no T_max.'
            notes.append(f'{name} is at its lowest rate at epoch {end} and the run continues to {max_epochs}. {fix}')
        scheduler['end'] = end
        if kind.startswith('CosineAnnealing') and scheduler.get('T_max') is None:
            scheduler['T_max'] = end - begin
        notes += _without_effect(scheduler, name, max_epochs, 'epoch')
    return kept, notes


def step_schedule_notes(schedulers: Any, num_steps: int) -> list[str]:
    """Return a note for each scheduler counted in steps (`by_epoch=False`) that does not fit a run of ``num_steps``."""
    notes = []
    for i, scheduler in enumerate(_as_list(schedulers)):
        name, begin = _name(i, scheduler), scheduler.get('begin', 0)
        if scheduler.get('by_epoch', True):
            continue
        if begin >= num_steps:
            notes.append(f'{name} begins at step {begin} of {num_steps}. Fix: a smaller begin, {OR_LONGER}.')
        else:
            notes += _without_effect(scheduler, name, num_steps, 'step')
    return notes


def _without_effect(scheduler: dict, name: str, length: int, unit: str) -> list[str]:
    """Return notes on all that a scheduler promises and never does in a run of ``length`` epochs or steps."""
    kind, begin, end = type_name(scheduler), scheduler.get('begin', 0), scheduler.get('end') or length
    stop, notes = min(end, length), []
    if end > length:
        fix = f'Fix: end={length}, {OR_LONGER}.'
        notes.append(f'{name} ends at {unit} {end}, but the run ends at {length} and cuts it off. {fix}')
    if kind.startswith('CosineAnnealing') and scheduler.get('T_max') is not None:
        start, lowest = f'{name}: T_max={scheduler["T_max"]}', begin + scheduler['T_max']
        fix = 'Fix: leave T_max out, it follows the length of the run.'
        if lowest < stop:
            notes.append(f'{start} reaches the lowest rate at {unit} {lowest}, then it rises again. {fix}')
        elif lowest > length >= end:
            notes.append(f'{start} is longer than the run: the lowest rate is never reached. {fix}')
    key = {'StepLR': 'step_size', 'MultiStepLR': 'milestones'}.get(kind)
    value = scheduler.get(key) or []
    drops = list(value) if isinstance(value, list | tuple) else [value]
    late = [drop for drop in drops if begin + drop >= stop]
    if late:
        if len(late) == len(drops):
            first = begin + min(late)
            reason = f'the first drop is due at {unit} {first}, the end is at {stop}: the rate never changes'
        else:
            reason = f'no drop at {", ".join(map(str, late))}, because the end is at {unit} {stop}'
        smaller = 'smaller milestones' if kind == 'MultiStepLR' else 'a smaller step_size'
        longer = 'or a larger end' if end < length else OR_LONGER
        notes.append(f'{name}: {key}={value}: {reason}. Fix: {smaller}, {longer}.')
    elif stop - begin <= 1 and unit == 'epoch' and not scheduler.get('convert_to_iter_based'):
        fix = 'Fix: convert_to_iter_based=True, which changes it at every step, or more epochs.'
        if kind in IDLE_AT_FIRST:
            notes.append(f'{name} lasts one epoch and acts from its second on: the rate never changes. {fix}')
        elif _is_warm_up(scheduler):
            factor = scheduler.get('start_factor', 1 / 3)
            notes.append(f'{name} lasts one epoch: the rate stays at {factor:.3g} of its value to the end. {fix}')
    return notes


def _is_warm_up(scheduler: dict) -> bool:
    rises = scheduler.get('start_factor', 1 / 3) < scheduler.get('end_factor', 1.0)
    return type_name(scheduler).startswith('Linear') and rises


def _as_list(schedulers: Any) -> list[dict]:
    return [schedulers] if isinstance(schedulers, dict) else list(schedulers or [])


def _name(number: int, scheduler: dict) -> str:
    return f'param_scheduler.{number} ({scheduler.get("type")})'
