"""Learning-rate schedules that follow `train_cfg.max_epochs`, the one source of a run's length.

In mmengine `begin` and `end` count epochs where `by_epoch` is True (the default), also with `convert_to_iter_based`,
which multiplies them by the steps of an epoch when the scheduler is built; `T_max` is how long a cosine falls, counted
from `begin`, after which it rises again. `step_size` and `milestones` count from `begin` too.
"""

from dataclasses import dataclass
from typing import Any

Notes = list[str]
OR_LONGER = 'or a larger train_cfg.max_epochs'
# These change nothing at their first step, so one that lasts for one epoch and steps once an epoch changes nothing.
FIRST_STEP_IS_IDLE = ('ExponentialLR', 'CosineAnnealingLR', 'PolyLR')
TO_A_LOWEST_RATE = ('CosineAnnealingLR', 'PolyLR')


@dataclass(frozen=True)
class _Work:
    """When a scheduler is at work: from ``begin`` to ``stop``, in epochs or steps; ``end`` is what it was given."""

    name: str
    begin: int
    end: int
    length: int  # of the run
    unit: str = 'epoch'

    @property
    def stop(self) -> int:
        return min(self.end, self.length)

    @property
    def or_longer(self) -> str:
        return 'or a larger end' if self.end < self.length else OR_LONGER


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
    kept, notes = [], []
    given = _listed(schedulers)
    for i, scheduler in enumerate(given):
        name, begin = _name(i, scheduler), scheduler.get('begin', 0)
        if not scheduler.get('by_epoch', True):
            kept.append(scheduler)
        elif begin >= max_epochs:
            fix = f'Fix: a smaller begin, {OR_LONGER}.'
            notes.append(f'{name} is left out: it begins at epoch {begin} of {max_epochs}. {fix}')
        else:
            notes += _fill_length(scheduler, name, max_epochs, is_last=i == len(given) - 1)
            kept.append(scheduler)
    return kept, notes


def never_fires(schedulers: Any, num_steps: int) -> Notes:
    """Sentences about schedulers counted in steps (`by_epoch=False`) that do not fit a run of that length.

    Args:
        schedulers: `param_scheduler` of a config.
        num_steps: Steps of the whole run.
    """
    notes = []
    for i, scheduler in enumerate(_listed(schedulers)):
        if scheduler.get('by_epoch', True):
            continue
        end = scheduler.get('end') or num_steps
        work = _Work(_name(i, scheduler), scheduler.get('begin', 0), end, num_steps, 'step')
        if work.begin >= num_steps:
            notes.append(f'{work.name} begins at step {work.begin} of {num_steps}. Fix: a smaller begin, {OR_LONGER}.')
        elif end > num_steps:
            notes.append(_breaks_off(work))
        else:
            notes += _late_drops(scheduler, work) + _misses_lowest(scheduler, work)
    return notes


def _fill_length(scheduler: dict, name: str, max_epochs: int, is_last: bool) -> Notes:
    notes = []
    if scheduler.get('end') is None:
        scheduler['end'] = max_epochs
    elif scheduler['end'] > max_epochs and _is_warm_up(scheduler) and not is_last:
        was, fix = scheduler['end'], f'Fix: a warm-up of fewer epochs, {OR_LONGER}.'
        notes.append(f'{name} ends at epoch {max_epochs} instead of {was}: the run is no longer. {fix}')
        scheduler['end'] = max_epochs
    work = _Work(name, scheduler.get('begin', 0), scheduler['end'], max_epochs)
    if work.end > max_epochs:
        notes.append(_breaks_off(work))
    if _type_of(scheduler).startswith('CosineAnnealing') and scheduler.get('T_max') is None:
        scheduler['T_max'] = work.end - work.begin
    if is_last and work.end < max_epochs and _type_of(scheduler) in TO_A_LOWEST_RATE:
        fix = f'Fix: end={max_epochs}, and no T_max.'
        notes.append(f'{name} is at its lowest rate at epoch {work.end} and the run goes on to {max_epochs}. {fix}')
    return notes + _misses_lowest(scheduler, work) + (_late_drops(scheduler, work) or _single_epoch(scheduler, work))


def _breaks_off(work: _Work) -> str:
    fix = f'Fix: end={work.length}, {OR_LONGER}.'
    return f'{work.name} lasts to {work.unit} {work.end}, the run only to {work.length}: it breaks off. {fix}'


def _misses_lowest(scheduler: dict, work: _Work) -> Notes:
    """A cosine whose own length, ``T_max``, is not that of its work."""
    if not _type_of(scheduler).startswith('CosineAnnealing') or scheduler.get('T_max') is None:
        return []
    what, lowest = f'{work.name}: T_max={scheduler["T_max"]}', work.begin + scheduler['T_max']
    fix = 'Fix: leave T_max out, it follows the length of the run.'
    if lowest < work.stop:
        return [f'{what} reaches the lowest rate at {work.unit} {lowest}, then it rises again. {fix}']
    if lowest > work.length >= work.end:
        return [f'{what} is longer than the run: the lowest rate is never reached. {fix}']
    return []


def _late_drops(scheduler: dict, work: _Work) -> Notes:
    """Drops of the rate, at steps or milestones, that a scheduler never arrives at."""
    key = {'StepLR': 'step_size', 'MultiStepLR': 'milestones'}.get(_type_of(scheduler))
    value = scheduler.get(key) or []
    drops = list(value) if isinstance(value, (list, tuple)) else [value]
    late = [drop for drop in drops if work.begin + drop >= work.stop]
    if not late:
        return []
    if len(late) == len(drops):
        first = work.begin + min(late)
        said = f'the first drop would be at {work.unit} {first}, it ends at {work.stop}: the rate never changes'
    else:
        said = f'of these, {", ".join(map(str, late))} are never reached, it ends at {work.unit} {work.stop}'
    return [f'{work.name}: {key}={value}: {said}. Fix: a smaller {key}, {work.or_longer}.']


def _single_epoch(scheduler: dict, work: _Work) -> Notes:
    if work.stop - work.begin > 1 or scheduler.get('convert_to_iter_based'):
        return []
    fix = 'Fix: convert_to_iter_based=True, which changes it at every step, or more epochs.'
    if _type_of(scheduler) in FIRST_STEP_IS_IDLE:
        return [f'{work.name} lasts one epoch and acts from its second on: the rate never changes. {fix}']
    if _is_warm_up(scheduler):
        factor = scheduler.get('start_factor', 1 / 3)
        return [f'{work.name} lasts one epoch: the rate stays at {factor:.3g} of its value for good. {fix}']
    return []


def _is_warm_up(scheduler: dict) -> bool:
    rises = scheduler.get('start_factor', 1 / 3) < scheduler.get('end_factor', 1.0)
    return _type_of(scheduler).startswith('Linear') and rises


def _listed(schedulers: Any) -> list[dict]:
    return [schedulers] if isinstance(schedulers, dict) else list(schedulers or [])


def _name(number: int, scheduler: dict) -> str:
    return f'param_scheduler.{number} ({scheduler.get("type")})'


def _type_of(scheduler: dict) -> str:
    return str(scheduler.get('type')).rpartition('.')[2]
