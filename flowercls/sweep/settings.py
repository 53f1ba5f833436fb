"""The settings of a sweep file: every combination of its choices, and what can be told wrong about them at once.

Nothing heavy is imported, so that a misspelt key is answered before torch is.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flowercls.config.load import load_config, raise_mistakes
from flowercls.config.sweep_file import OF_THE_SWEEP, Choice, SweepFile
from flowercls.errors import ConfigError

LONGEST_NAME = 120  # of a setting and what is named after it; file systems take 255 bytes, and a path has other parts
Result = TypeVar('Result')


@dataclass(frozen=True)
class Setting:
    """One combination of choices.

    Attributes:
        name: ``frozen_stages=2,lr=0.01``; fit for the name of a folder.
        choices: The name of each factor's choice; the setting in parts.
        config: The config file.
        overrides: What is laid over it.
    """

    name: str
    choices: tuple[str, ...]
    config: str
    overrides: dict[str, Any]


def describe_size(sweep: SweepFile) -> str:
    """How many settings and seeds a sweep has."""
    settings, seeds = math.prod(map(len, sweep.factors)), len(sweep.seeds)
    return f'{settings} setting{"s" * (settings > 1)} with {seeds} seed{"s" * (seeds > 1)}'


def check_keys(sweep: SweepFile, extra: Mapping[str, Any]) -> None:
    """Check the keys of all settings and the values that can be checked by themselves.

    Args:
        sweep: What the sweep file says.
        extra: More overrides for all trials, as ``--cfg-options``.

    Raises:
        ConfigError: with the mistakes of all settings.
    """
    _check_extra(extra, sweep)
    for_each_setting(sweep, extra, lambda setting: load_config(setting.config, setting.overrides))


def for_each_setting(sweep: SweepFile, extra: Mapping[str, Any], look: Callable[[Setting], Result]) -> list[Result]:
    """What ``look`` returns for each setting; ``extra`` may change on the way.

    Raises:
        ConfigError: with what ``look`` found wrong in all of them, each mistake once.
    """
    found, mistakes = [], {}
    for choices in itertools.product(*sweep.factors):
        setting = _combine(sweep, choices, extra)
        try:
            found.append(look(setting))
        except ConfigError as error:
            mistakes.setdefault(str(error), setting.name)
    if mistakes:
        raise ConfigError('\n'.join(_placed(mistake, name, sweep.path, extra) for mistake, name in mistakes.items()))
    return found


def _combine(sweep: SweepFile, choices: tuple[Choice, ...], extra: Mapping[str, Any]) -> Setting:
    names = tuple(choice.name for choice in choices)
    config = next((choice.config for choice in choices if choice.config), sweep.base)
    chosen = {key: value for choice in choices for key, value in choice.overrides.items()}
    return Setting(short_name(','.join(names)), names, config, {**sweep.overrides, **chosen, **extra})


def short_name(name: str) -> str:
    """``name`` if a file may be called so, else its beginning with a hash of the whole."""
    if len(name) <= LONGEST_NAME:
        return name
    return f'{name[:LONGEST_NAME]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}'


def _placed(mistake: str, setting: str, path: str, extra: Mapping[str, Any]) -> str:
    """What a config calls an option of the command line stands in the sweep file, unless there are such options too."""
    origin = f'{path} or --cfg-options' if extra else path
    return f'{path}, setting {setting}: {mistake.replace("--cfg-options:", f"{origin}:")}'


def _check_extra(extra: Mapping[str, Any], sweep: SweepFile) -> None:
    varied = dict.fromkeys(key for choices in sweep.factors for choice in choices for key in choice.overrides)
    mistakes = [
        f"--cfg-options: '{key}' is set by the sweep itself. Fix: {OF_THE_SWEEP[key]}."
        for key in extra
        if key in OF_THE_SWEEP
    ]
    mistakes += [
        f"--cfg-options: '{key}' would overrule '{inside}', which grid sets in {sweep.path}: trials would not be what "
        'their names say. Fix: leave it out, or change the grid.'
        for key in extra
        for inside in varied
        if f'{inside}.'.startswith(f'{key}.') or f'{key}.'.startswith(f'{inside}.')
    ]
    raise_mistakes(mistakes, 'the command line')
