"""Learning-rate schedules that follow `train_cfg.max_epochs`, the one source of a run's length.

In mmengine `begin` and `end` count epochs where `by_epoch` is True (the default), also with `convert_to_iter_based`,
which multiplies them by the steps of an epoch when the scheduler is built; `T_max` is how long a cosine falls, counted
from `begin`, after which it rises again.
"""

from typing import Any

Notes = list[str]


def derive_schedules(schedulers: Any, max_epochs: int) -> tuple[list[dict], Notes]:
    """The schedulers with every length written out, and sentences about what was changed or does not fit.

    Args:
        schedulers: `param_scheduler` of a config: a dict or a list of dicts.
        max_epochs: Length of the run.
    """
    given = [schedulers] if isinstance(schedulers, dict) else list(schedulers)
    kept, notes = [], []
    for i, scheduler in enumerate(given):
        name = f'param_scheduler.{i} ({scheduler.get("type")})'
        if not scheduler.get('by_epoch', True):
            kept.append(scheduler)  # counts steps: how many there are is known only with the data
        elif scheduler.get('begin', 0) >= max_epochs:
            notes.append(f'{name} is left out: it begins at epoch {scheduler["begin"]} of {max_epochs}.')
        else:
            notes += _fill_length(scheduler, name, max_epochs, is_last=i == len(given) - 1)
            kept.append(scheduler)
    return kept, notes


def _fill_length(scheduler: dict, name: str, max_epochs: int, is_last: bool) -> Notes:
    begin = scheduler.get('begin', 0)
    notes = []
    if scheduler.get('end') is None:
        scheduler['end'] = max_epochs
    elif scheduler['end'] > max_epochs and _is_warm_up(scheduler) and not is_last:
        notes.append(f'{name} ends at epoch {max_epochs} instead of {scheduler["end"]}: the run is no longer.')
        scheduler['end'] = max_epochs
    elif scheduler['end'] > max_epochs:
        notes.append(f'{name} lasts to epoch {scheduler["end"]}, the run only to {max_epochs}: it breaks off.')
    if str(scheduler.get('type')).startswith('CosineAnnealing'):
        notes += _fill_cosine(scheduler, name, begin, max_epochs)
    return notes + _late_milestones(scheduler, name, max_epochs)


def _is_warm_up(scheduler: dict) -> bool:
    rises = scheduler.get('start_factor', 1 / 3) < scheduler.get('end_factor', 1.0)
    return str(scheduler.get('type')).startswith('Linear') and rises


def _fill_cosine(scheduler: dict, name: str, begin: int, max_epochs: int) -> Notes:
    length = scheduler['end'] - begin
    if scheduler.get('T_max') is None:
        scheduler['T_max'] = length
    lowest = begin + scheduler['T_max']
    if lowest < min(scheduler['end'], max_epochs):
        return [f'{name}: T_max={scheduler["T_max"]} reaches the lowest rate at epoch {lowest}, then it rises again.']
    if lowest > max_epochs >= scheduler['end']:
        return [f'{name}: T_max={scheduler["T_max"]} is longer than the run: the lowest rate is never reached.']
    return []


def _late_milestones(scheduler: dict, name: str, max_epochs: int) -> Notes:
    milestones = scheduler.get('milestones') or []
    if milestones and min(milestones) >= max_epochs:
        return [f'{name}: all milestones {list(milestones)} lie after the {max_epochs} epochs: the rate never changes.']
    return []
