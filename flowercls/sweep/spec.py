"""The sweep file: a base config, factors with their levels, and seeds; checked without opening a config."""

import contextlib
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowercls.config.loader import ConfigLoader
from flowercls.config.overrides import as_options, as_text, parse_overrides
from flowercls.config.suggest import did_you_mean, raise_mistakes
from flowercls.core.errors import ConfigError
from flowercls.core.terminal import tool_command
from flowercls.sweep.ledger import MAX_LOOKS, MIN_LOOK, are_looks

KEYS = ('base', 'grid', 'seeds', 'overrides', 'looks')
CONFIG_KEY = 'config'  # a factor whose levels are whole config files
SEED_KEY = 'randomness.seed'
RESERVED_KEYS = {SEED_KEY: 'list seeds in `seeds`', 'work_dir': 'leave it out', 'resume': 'leave it out'}
MAX_SEED = 2**32 - 1
UNSAFE = r'[^A-Za-z0-9_.+-]+'  # in file names, on some file system
NUM_HASH_DIGITS = 6


@dataclass(frozen=True)
class Level:
    """One value of a factor.

    Attributes:
        name: ``frozen_stages=2``, or the name of a config file; valid in a folder's name.
        overrides: Values by dotted key.
        config: Path of the config file if the level is one.
    """

    name: str
    overrides: dict[str, Any]
    config: str | None = None


@dataclass(frozen=True)
class SweepSpec:
    """The content of a sweep file.

    Attributes:
        path: Path of the file.
        base: The config of all trials; None if a factor lists configs.
        factors: The levels of each entry of ``grid``, in its order.
        seeds: The seeds of each setting.
        overrides: Values for all trials by dotted key.
        looks: Numbers of seeds at which the settings will be judged, ascending; empty if none are declared.
    """

    path: str
    base: str | None
    factors: tuple[tuple[Level, ...], ...]
    seeds: tuple[int, ...]
    overrides: dict[str, Any]
    looks: tuple[int, ...] = ()


def read_spec(path: str | os.PathLike) -> SweepSpec:
    """Read and check a sweep file, which may inherit another with ``_base_``.

    Raises:
        ConfigError: naming every mistake, one a line.
    """
    loader = ConfigLoader(path)
    content = loader.load().to_dict()
    if 'grid' not in content and 'model' in content:
        mistake = 'is a config, not a sweep file. Expected base, grid and seeds, as in configs/sweeps/frozen_stages.py.'
        raise_mistakes([f'{mistake} Fix: {tool_command("train", path)}'], path)
    base, grid, seeds = (content.get(key) for key in ('base', 'grid', 'seeds'))
    overrides, looks = content.get('overrides') or {}, content.get('looks')
    mistakes = [
        f"'{name}' is not known{did_you_mean(name, KEYS)}; expected {', '.join(KEYS)}."
        for name in content
        if name not in KEYS and name not in loader.used_names  # a helper variable is legal
    ]
    mistakes += _check_grid(grid) + _check_seeds(seeds) + _check_base(base, isinstance(grid, dict) and 'config' in grid)
    if not isinstance(overrides, dict):
        mistakes.append("overrides: expected keys with values, as overrides = {'train_cfg.max_epochs': 5}.")
    if looks is not None and not are_looks(looks):
        mistakes.append(
            f'looks: {looks!r}; expected ascending whole numbers of seeds, {MIN_LOOK} or more, at most {MAX_LOOKS} of '
            'them. Fix: looks = [3, 5, 8, 10], or leave it out.'
        )
    raise_mistakes(mistakes, path)
    names = factor_names(list(grid))
    factors = {key: _levels(key, names[key], values) for key, values in grid.items()}
    raise_mistakes(_check_levels(factors, overrides), path)
    return SweepSpec(str(path), base, tuple(factors.values()), tuple(seeds), dict(overrides), tuple(looks or ()))


def _check_grid(grid: Any) -> list[str]:
    if not isinstance(grid, dict) or not grid:
        return ["grid: expected keys with lists of values, as grid = {'model.frozen_stages': [0, 1, 2]}."]
    mistakes = []
    for key, values in grid.items():
        if not isinstance(key, str):
            mistakes.append(f'grid[{key!r}]: expected the name of a key, as text.')
        elif isinstance(values, dict):
            if key == CONFIG_KEY or not values or not all(isinstance(v, dict) and v for v in values.values()):
                mistakes.append(f"grid['{key}']: expected named settings, as {{'fixed': {{'a.b': 1, 'a.c': 2}}}}.")
        elif not isinstance(values, list | tuple) or not values:
            mistakes.append(f"grid['{key}']: {values!r}; expected a list of at least one value.")
        elif key == CONFIG_KEY and not all(isinstance(value, str) for value in values):
            mistakes.append(f"grid['{key}']: expected a list of config files.")
    return mistakes


def _check_seeds(seeds: Any) -> list[str]:
    is_list = isinstance(seeds, list | tuple) and bool(seeds)
    if not is_list or any(type(seed) is not int or not 0 <= seed <= MAX_SEED for seed in seeds):
        value = 'missing' if seeds is None else repr(seeds)
        return [f'seeds: {value}; expected whole numbers from 0 to {MAX_SEED}, as seeds = [0, 1, 2].']
    return [f'seeds: {seeds!r} has a seed twice.'] if len(set(seeds)) < len(seeds) else []


def _check_base(base: Any, has_configs: bool) -> list[str]:
    if has_configs == (base is not None):
        fix = 'remove base' if has_configs else f"base = 'configs/resnet50_flower.py', or a key '{CONFIG_KEY}' in grid"
        return [f"expected either base or grid['{CONFIG_KEY}']. Fix: {fix}."]
    if not has_configs and not isinstance(base, str):
        return [f'base: {base!r}; expected the path of one config file.']
    return []


def _levels(key: str, factor: str, values: Any) -> tuple[Level, ...]:
    if key == CONFIG_KEY:
        return tuple(Level(name, {}, path) for name, path in zip(config_names(values), values, strict=True))
    if isinstance(values, dict):
        labels, settings = [str(label) for label in values], values.values()
    else:
        labels, settings = [as_text(value) for value in values], [{key: value} for value in values]
    return tuple(Level(name, dict(keys)) for name, keys in zip(value_names(factor, labels), settings, strict=True))


def _check_levels(factors: Mapping[str, Sequence[Level]], overrides: dict[str, Any]) -> list[str]:
    """Return mistakes about keys set twice, reserved keys, equal levels, and values that no command line can carry."""
    mistakes, place_of = [], {}
    places = {'overrides': [overrides]}
    places |= {f"grid['{factor}']": [level.overrides for level in levels] for factor, levels in factors.items()}
    for place, settings in places.items():
        keys = dict.fromkeys(key for setting in settings for key in setting)
        mistakes += check_reserved(place, keys)
        for key in keys:
            if key in place_of:
                mistakes.append(f"'{key}' is set in {place_of[key]} and in {place}. Fix: keep one of them.")
            place_of[key] = place
        for key, value in [item for setting in settings for item in setting.items()]:
            if reason := _why_not_on_command_line(key, value):
                mistakes.append(f'{place}: {key}: {reason}')
    for levels in factors.values():
        names = [level.name for level in levels]
        mistakes += [f'grid: {name} is listed twice.' for name in dict.fromkeys(names) if names.count(name) > 1]
    return mistakes


def check_reserved(place: str, keys: Iterable[str]) -> list[str]:
    """Return a mistake for each key that only the sweep itself sets."""
    reserved = [key for key in keys if key in RESERVED_KEYS]
    return [f"{place}: '{key}' is set by the sweep itself. Fix: {RESERVED_KEYS[key]}." for key in reserved]


def _why_not_on_command_line(key: str, value: Any) -> str:
    """Return why the command line that starts a trial cannot carry the value; empty if it can."""
    if not isinstance(key, str) or not all(key.split('.')):
        return f"expected the name of a key, as 'model.frozen_stages', not {key!r}."
    with contextlib.suppress(ConfigError):
        if parse_overrides(as_options({key: value})) == {key: value}:
            return ''
    in_a_file = f"into a config file that grid['{CONFIG_KEY}'] lists."
    if isinstance(value, str):
        return f'{value!r} is text that a command line reads otherwise. Fix: drop the quotes, or write it {in_a_file}'
    kind = type(value).__name__
    return f'{kind}; expected text, a number, True, False, None or a list of them. Fix: write it {in_a_file}'


def factor_names(keys: Sequence[str]) -> dict[str, str]:
    """Return a name for each key: as many of its last parts as no other key ends with.

    Example:
        >>> factor_names(['model.frozen_stages', 'train_dataloader.batch_size', 'val_dataloader.batch_size'])
        {'model.frozen_stages': 'frozen_stages', 'train_dataloader.batch_size': 'train_dataloader.batch_size', \
'val_dataloader.batch_size': 'val_dataloader.batch_size'}
    """
    names = {}
    for key in keys:
        parts = key.split('.')
        endings = ['.'.join(parts[i:]) for i in reversed(range(len(parts)))]
        rest = [f'.{k}' for k in keys if k != key]
        names[key] = next((e for e in endings if not any(k.endswith(f'.{e}') for k in rest)), key)
    return names


def value_names(factor: str, texts: Sequence[str]) -> list[str]:
    """Return ``factor=text`` for each text, as it can be part of a folder's name.

    Example:
        >>> value_names('seesaw', ['-1', '(0.1,1)', 'a/b', 'a:b'])
        ['seesaw=-1', 'seesaw=0.1-1', 'seesaw=a-b~c14cdd', 'seesaw=a-b~6783a3']
    """
    return _distinct([f'{_safe(factor)}={_safe(text)}' for text in texts], texts)


def config_names(paths: Sequence[str]) -> list[str]:
    """Return the stem of each config file; the folder's name comes before a stem that several files have.

    Example:
        >>> config_names(['a/net.py', 'b/net.py', 'a/other.py'])
        ['a-net', 'b-net', 'other']
    """
    full = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - takes out '..', which Path.absolute leaves
    stems = [_safe(Path(path).stem) for path in full]
    names = [
        stem if stem == distinct else f'{_safe(Path(path).parent.name)}-{stem}'
        for stem, distinct, path in zip(stems, _distinct(stems, full), full, strict=True)
    ]
    return _distinct(names, full)


def _safe(text: str) -> str:
    inside = re.sub(f'^{UNSAFE}|{UNSAFE}$', '', text)  # a '-' at the ends stays: it may be a sign
    return re.sub(UNSAFE, '-', inside) or 'none'


def _distinct(names: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return the names; a name that stands for several texts gets a hash of its text."""
    texts_of = defaultdict(set)
    for name, text in zip(names, texts, strict=True):
        texts_of[name.casefold()].add(text)  # some file systems ignore case
    return [
        f'{name}~{hashlib.sha256(text.encode()).hexdigest()[:NUM_HASH_DIGITS]}'
        if len(texts_of[name.casefold()]) > 1
        else name
        for name, text in zip(names, texts, strict=True)
    ]
