"""The names of a sweep's factors and of their choices: short, fit for a folder, and different where the values are.

A sweep file: which config, which values of which keys, which seeds. Read and checked, without opening a config.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowercls.config.loader import Reading
from flowercls.config.overrides import as_options, as_text, parse_overrides
from flowercls.config.suggest import did_you_mean, raise_mistakes
from flowercls.core.errors import ConfigError

UNSAFE = r'[^A-Za-z0-9_.+-]+'  # in names of files, somewhere
HASH_DIGITS = 6


def factor_names(keys: Sequence[str]) -> dict[str, str]:
    """The last parts of each key, as many as it takes to tell the keys apart.

    Example:
        >>> factor_names(['model.frozen_stages', 'train_dataloader.batch_size', 'val_dataloader.batch_size'])
        {'model.frozen_stages': 'frozen_stages', 'train_dataloader.batch_size': 'train_dataloader.batch_size', \
'val_dataloader.batch_size': 'val_dataloader.batch_size'}
    """
    names = {}
    for key in keys:
        parts = key.split('.')
        tails = ['.'.join(parts[-n:]) for n in range(1, len(parts) + 1)]
        names[key] = next(
            (tail for tail in tails if not any(f'.{other}'.endswith(f'.{tail}') for other in keys if other != key)), key
        )
    return names


def value_names(factor: str, texts: Sequence[str]) -> list[str]:
    """``factor=text`` for each text.

    Example:
        >>> value_names('seesaw', ['-1', '(0.1,1)', 'a/b', 'a:b'])
        ['seesaw=-1', 'seesaw=0.1-1', 'seesaw=a-b~c14cdd', 'seesaw=a-b~6783a3']
    """
    return _told_apart([f'{_safe(factor)}={_safe(text)}' for text in texts], texts)


def config_names(paths: Sequence[str]) -> list[str]:
    """The stem of each config file; of several with one stem, with the folder's name in front.

    Example:
        >>> config_names(['a/net.py', 'b/net.py', 'a/other.py'])
        ['a-net', 'b-net', 'other']
    """
    full = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - takes out '..', which Path.absolute leaves
    stems = [_safe(Path(path).stem) for path in full]
    with_folder = [f'{_safe(Path(path).parent.name)}-{stem}' for path, stem in zip(full, stems, strict=True)]
    shared = _shared(stems, full)
    names = [longer if stem in shared else stem for stem, longer in zip(stems, with_folder, strict=True)]
    return _told_apart(names, full)


def _safe(text: str) -> str:
    inside = re.sub(f'^{UNSAFE}|{UNSAFE}$', '', text)  # and not every '-' there: it may be a sign
    return re.sub(UNSAFE, '-', inside) or 'none'


def _told_apart(names: list[str], meant: Sequence[str]) -> list[str]:
    """Names that stand for several things get a hash of what they stand for."""
    shared = _shared(names, meant)
    return [
        f'{name}~{hashlib.sha256(what.encode()).hexdigest()[:HASH_DIGITS]}' if name in shared else name
        for name, what in zip(names, meant, strict=True)
    ]


def _shared(names: Sequence[str], meant: Sequence[str]) -> set[str]:
    """The names that stand for several things, also where a file system does not tell capitals from small letters."""
    things: dict[str, set[str]] = {}
    for name, what in zip(names, meant, strict=True):
        things.setdefault(name.casefold(), set()).add(what)
    return {name for name in names if len(things[name.casefold()]) > 1}


pass


KEYS = ('base', 'grid', 'seeds', 'overrides')
CONFIG_KEY = 'config'  # its values are whole config files
SEED_KEY = 'randomness.seed'
OF_THE_SWEEP = {SEED_KEY: 'list seeds in `seeds`', 'work_dir': 'leave it out', 'resume': 'leave it out'}


@dataclass(frozen=True)
class Choice:
    """One value of a factor.

    Attributes:
        name: ``frozen_stages=2``, or the name of a config file; fit for the name of a folder.
        overrides: What it sets, with dotted keys.
        config: The config file it chooses, if that is what it does.
    """

    name: str
    overrides: dict[str, Any]
    config: str | None = None


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says.

    Attributes:
        path: Of the file.
        base: The config of all trials; None where a factor chooses it.
        factors: The choices of each entry of ``grid``, in its order.
        seeds: Of each setting.
        overrides: For all trials, with dotted keys.
    """

    path: str
    base: str | None
    factors: tuple[tuple[Choice, ...], ...]
    seeds: tuple[int, ...]
    overrides: dict[str, Any]


def read_sweep_file(path: str | os.PathLike) -> SweepFile:
    """Read a sweep file, which may inherit another with ``_base_``.

    Raises:
        ConfigError: naming every mistake found, one a line.
    """
    reading = Reading(path)
    content = reading.config().to_dict()
    # A helper variable is legal; a name that nothing reads is a mistake.
    unknown = [name for name in content if name not in KEYS and name not in reading.used_names]
    mistakes = [f"'{name}' is not known{did_you_mean(name, KEYS)}; expected {', '.join(KEYS)}." for name in unknown]
    mistakes = _no_sweep(content) or mistakes + _wrong_parts(content)
    raise_mistakes(mistakes, path)
    grid, overrides = content['grid'], content.get('overrides') or {}
    raise_mistakes(_wrong_keys(grid, overrides), path)
    names = factor_names(list(grid))
    factors = tuple(_choices(key, names[key], values) for key, values in grid.items())
    raise_mistakes([mistake for choices in factors for mistake in _twice(choices)], path)
    return SweepFile(str(path), content.get('base'), factors, tuple(content['seeds']), dict(overrides))


def _no_sweep(content: dict) -> list[str]:
    if 'grid' in content or 'model' not in content:
        return []
    return ['is a config, not a sweep file. Expected base, grid and seeds, as in configs/sweeps/frozen_stages.py.']


def _wrong_parts(content: dict) -> list[str]:
    """What is missing or of another kind than expected."""
    grid = content.get('grid')
    mistakes = _wrong_grid(grid) + _wrong_seeds(content.get('seeds'))
    if not isinstance(content.get('overrides') or {}, dict):
        mistakes.append("overrides: expected keys with values, as overrides = {'train_cfg.max_epochs': 5}.")
    return mistakes + _wrong_base(content.get('base'), isinstance(grid, dict) and CONFIG_KEY in grid)


def _wrong_grid(grid: Any) -> list[str]:
    if not isinstance(grid, dict) or not grid:
        return ["grid: expected keys with lists of values, as grid = {'model.frozen_stages': [0, 1, 2]}."]
    mistakes = []
    for key, values in grid.items():
        wrong = _wrong_values(key, values) if isinstance(key, str) else 'expected the name of a key, as text.'
        mistakes += [f'grid[{key!r}]: {wrong}'] * bool(wrong)
    return mistakes


def _wrong_seeds(seeds: Any) -> list[str]:
    if not isinstance(seeds, list | tuple) or not seeds or not all(type(s) is int and s >= 0 for s in seeds):
        given = 'missing' if seeds is None else repr(seeds)
        return [f'seeds: {given}; expected whole numbers from 0 on, as seeds = [0, 1, 2].']
    return [f'seeds: {seeds!r} names one twice.'] * (len(set(seeds)) < len(seeds))


def _wrong_base(base: Any, has_configs: bool) -> list[str]:
    if has_configs == (base is not None):
        fix = 'remove base' if has_configs else "base = 'configs/resnet50_flower.py', or a key 'config' in grid"
        return [f'expected either base or grid["{CONFIG_KEY}"]. Fix: {fix}.']
    if not has_configs and not isinstance(base, str):
        return [f'base: {base!r}; expected the path of one config file.']
    return []


def _wrong_values(key: str, values: Any) -> str:
    if isinstance(values, dict):
        fine = values and all(isinstance(value, dict) and value for value in values.values())
        return '' if fine and key != CONFIG_KEY else "expected named settings, as {'fixed': {'a.b': 1, 'a.c': 2}}."
    if not isinstance(values, list | tuple) or not values:
        return f'{values!r}; expected a list of at least one value.'
    if key == CONFIG_KEY and not all(isinstance(value, str) for value in values):
        return 'expected a list of config files.'
    return ''


def _wrong_keys(grid: dict, overrides: dict) -> list[str]:
    """Keys set in two places, keys that are the sweep's own, and values that no command line can carry."""
    mistakes, owner = [], {}
    for place, settings in [('overrides', [overrides]), *((f"grid['{key}']", _sets(key, grid[key])) for key in grid)]:
        for key in dict.fromkeys(key for setting in settings for key in setting):
            if key in OF_THE_SWEEP:
                mistakes.append(f"{place}: '{key}' is set by the sweep itself. Fix: {OF_THE_SWEEP[key]}.")
            if key in owner:
                mistakes.append(f"'{key}' is set in {owner[key]} and in {place}. Fix: keep one of them.")
            owner[key] = place
        mistakes += [
            f'{place}: {key}: {_why_not(value)}'
            for setting in settings
            for key, value in setting.items()
            if not _can_be_given(key, value)
        ]
    return mistakes


def _sets(key: str, values: Any) -> list[dict]:
    if key == CONFIG_KEY:
        return []
    return list(values.values()) if isinstance(values, dict) else [{key: value} for value in values]


def _can_be_given(key: str, value: Any) -> bool:
    try:
        return parse_overrides(as_options({key: value})) == {key: value}
    except ConfigError:
        return False


def _why_not(value: Any) -> str:
    in_a_file = f"into a config file that grid['{CONFIG_KEY}'] lists."
    if isinstance(value, str):
        return f'{value!r} is text that a command line reads otherwise. Fix: drop the quotes, or write {in_a_file}'
    kind = type(value).__name__
    return f'{kind}; expected text, a number, True, False, None or a list of them. Fix: write it {in_a_file}'


def _choices(key: str, name: str, values: Any) -> tuple[Choice, ...]:
    if key == CONFIG_KEY:
        return tuple(Choice(label, {}, path) for label, path in zip(config_names(values), values, strict=True))
    sets = _sets(key, values)
    texts = [str(label) if isinstance(values, dict) else as_text(label) for label in values]
    return tuple(Choice(label, dict(own)) for label, own in zip(value_names(name, texts), sets, strict=True))


def _twice(choices: tuple[Choice, ...]) -> list[str]:
    names = [choice.name for choice in choices]
    return [f'grid: {name} stands there twice.' for name in dict.fromkeys(names) if names.count(name) > 1]
