"""A config file and overrides → one checked config; every mistake is reported, before anything heavy is imported."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from flowercls.config.class_weights import follow_data_root
from flowercls.config.loaders import move_datasets
from flowercls.config.merging import fresh_types, strip_leftovers
from flowercls.config.reading import Reading
from flowercls.config.spelling import at_path, misplaced_helpers, misspelt_keys, unknown_overrides, unused_names
from flowercls.config.values import wrong_values
from flowercls.errors import ConfigError

Overrides = Mapping[str, Any] | Iterable[str]
# Taken as written: mmengine drops blanks and splits at commas.
PATHS = ('data_root', 'load_from', 'work_dir', 'cache_dir')


def load_config(path: str | os.PathLike, overrides: Overrides = (), *, plain_only: bool = False) -> Config:
    """Read a config with its bases, lay the overrides over it and check what can be checked without importing torch.

    Args:
        path: A `.py` or `.json` file.
        overrides: `KEY=VALUE` texts as given to --cfg-options, or a dict with dotted keys.
        plain_only: Refuse a file, or a base of it, that does more than give names to values; it is not run then.

    Raises:
        ConfigError: naming every mistake found, one a line.
    """
    return load_with_notes(path, overrides, plain_only=plain_only)[0]


def load_with_notes(
    path: str | os.PathLike, overrides: Overrides = (), *, plain_only: bool = False
) -> tuple[Config, list[str]]:
    """As `load_config`, and sentences about what is legal and yet perhaps not meant."""
    overrides = dict(overrides) if isinstance(overrides, Mapping) else parse_overrides(overrides)
    reading = Reading(path, plain_only)
    cfg = reading.config()
    _drop_helper_objects(cfg)
    strip_leftovers(cfg._cfg_dict)
    notes, mistakes = _judge_keys(cfg._cfg_dict, reading)
    mistakes += unknown_overrides(cfg._cfg_dict, overrides)
    if not mistakes:
        mistakes = _merge_overrides(cfg, overrides)
    raise_mistakes(mistakes + wrong_values(cfg._cfg_dict), path)
    for name in misplaced_helpers(cfg._cfg_dict):
        del cfg._cfg_dict[name]  # used up; in a dump, where nothing uses it any more, it would look like a typo
    return cfg, notes


def _judge_keys(cfg: dict, reading: Reading) -> tuple[list[str], list[str]]:
    """(notes, mistakes) about the keys of the files."""
    used = reading.used_names
    mistakes = misspelt_keys(cfg, used)
    # Nobody can mend a typo in an installed package (mmpretrain's Twins configs have one): mentioned and dropped.
    packaged = {path for content in reading.packaged for path in misspelt_keys(content, used)} & set(mistakes)
    notes = [f'{mistakes.pop(path)}: dropped; it comes from an installed package.' for path in sorted(packaged)]
    for path in packaged:
        section, _, key = path.rpartition('.')
        del at_path(cfg, section)[key]
    notes += [f"'{name}' in {reading.path} is read by nothing." for name in unused_names(cfg, used)]
    notes += [
        f"'{name}' in {shown} changes nothing: the _base_ file has used its own value. Fix: set what it is used for."
        for shown, name in reading.overwritten_in_vain()
    ]
    return notes, list(mistakes.values())


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` texts as a dict; values are read as mmengine's tools read them, paths are kept as they are.

    Example:
        >>> parse_overrides(['optim_wrapper.optimizer.lr=1e-3', 'model.frozen_stages=all', 'load_from=None'])
        {'optim_wrapper.optimizer.lr': 0.001, 'model.frozen_stages': 'all', 'load_from': None}

    Raises:
        ConfigError: naming every text that is not KEY=VALUE or whose value cannot be read.
    """
    parsed, mistakes = {}, []
    for item in items:
        key, equals, value = item.partition('=')
        if not equals or not all(key.split('.')):
            mistakes.append(f"--cfg-options: '{item}' is not KEY=VALUE, as in optim_wrapper.optimizer.lr=0.001")
            continue
        try:
            parsed[key] = _parse_value(key, value)
        except ConfigError as error:
            mistakes.append(f"--cfg-options: '{item}': {error}")
    raise_mistakes(mistakes, 'the command line')
    return parsed


def _parse_value(key: str, value: str) -> Any:
    if key.rpartition('.')[2] in PATHS:
        return None if value == 'None' else value
    try:
        if 'dict(' not in value and '{' not in value:
            return DictAction._parse_iterable(value)
    except AssertionError as error:
        raise ConfigError('brackets do not match') from error
    except RecursionError:
        pass  # what mmengine makes of a comma in brackets that follow a name
    raise ConfigError(
        'cannot be read: a value is text, a number or a list of them. Fix: write it into a config file; '
        'single values in what is there can be given, as in custom_hooks.0.momentum=0.001'
    )


def raise_mistakes(mistakes: list[str], path: str | os.PathLike) -> None:
    """Raise one `ConfigError` with all ``mistakes``, if there are any."""
    if mistakes:
        count = '1 mistake' if len(mistakes) == 1 else f'{len(mistakes)} mistakes'
        lines = [line if line.startswith('--cfg-options') else f'{path}: {line}' for line in mistakes]
        raise ConfigError('\n  '.join([f'{count} in {path}:', *lines]))


def _merge_overrides(cfg: Config, overrides: dict[str, Any]) -> list[str]:
    old_root = cfg.get('data_root')
    with fresh_types():
        for key, value in _grouped(overrides).items():
            try:
                cfg.merge_from_dict(value)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                return [f"--cfg-options: '{key}' does not fit the config: {error.args[0] if error.args else error}"]
    strip_leftovers(cfg._cfg_dict)
    if 'data_root' in overrides and isinstance(old_root, str):
        move_datasets(cfg, old_root)
        follow_data_root(cfg, old_root)
    return []


def _grouped(overrides: dict[str, Any]) -> dict[str, dict[str, Any]]:
    # One merge for each top-level name: keys of one dict must be merged together, so that a new `type` and its
    # arguments arrive as one, and an error names its key.
    groups: dict[str, dict[str, Any]] = {}
    for key, value in overrides.items():
        groups.setdefault(key.partition('.')[0], {})[key] = ConfigDict._hook(value)
    return groups


def _drop_helper_objects(cfg: Config) -> None:
    # `from functools import partial` leaves a class at the top level; it has done its work and is no setting.
    for name in [name for name, value in cfg.items() if callable(value) and not isinstance(value, dict)]:
        del cfg._cfg_dict[name]
