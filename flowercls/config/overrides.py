"""Overrides of a config: KEY=VALUE texts read, checked and written, and how they, or a child, are laid over a base.

mmengine merges; one rule is ours. Upstream, a child's `optimizer=dict(type='AdamW')` keeps the base's `momentum=0.9` of
SGD and fails when it is built. Here a new `type` starts afresh, as `_delete_=True` would, for the parts in `EXCHANGED`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction

from flowercls.config.schema import SECTIONS, at_path, walk
from flowercls.config.suggest import did_you_mean, raise_mistakes
from flowercls.core.errors import ConfigError

Overrides = Mapping[str, Any] | Iterable[str]
# Keys whose values are taken as written: mmengine drops blanks and splits at commas.
PATHS = ('data_root', 'load_from', 'work_dir', 'cache_dir', 'ann_file', 'data_prefix')


# ---------------------------------------------------------------- text


def parse_overrides(items: Overrides) -> dict[str, Any]:
    """Return `KEY=VALUE` texts as a dict; values are read as mmengine's tools read them, paths are kept as they are.

    A dict is returned as it is.

    Example:
        >>> parse_overrides(['optim_wrapper.optimizer.lr=1e-3', 'model.frozen_stages=all', 'load_from=None'])
        {'optim_wrapper.optimizer.lr': 0.001, 'model.frozen_stages': 'all', 'load_from': None}

    Raises:
        ConfigError: naming every text that is not KEY=VALUE or whose value cannot be read.
    """
    if isinstance(items, Mapping):
        return dict(items)
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
        pass  # mmengine's answer to a comma in brackets that follow a name
    raise ConfigError(
        'cannot be read: a value here is text, a number or a list of these. Fix: write it into a config file, or set '
        'single values of the config, as in custom_hooks.0.momentum=0.001'
    )


def as_options(overrides: Mapping[str, Any]) -> list[str]:
    """Return ``overrides`` as they are written after ``--cfg-options``.

    Example:
        >>> as_options({'model.frozen_stages': 'all', 'a.scale': (0.1, 1.0), 'load_from': None})
        ['model.frozen_stages=all', 'a.scale=(0.1,1.0)', 'load_from=None']
    """
    return [f'{key}={as_text(value)}' for key, value in overrides.items()]


def as_text(value: Any) -> str:
    """Return a value as `parse_overrides` reads it."""
    if isinstance(value, list | tuple):
        inside = ','.join(map(as_text, value))
        return f'[{inside}]' if isinstance(value, list) else f'({inside})'
    return str(value)


# ---------------------------------------------------------------- keys


def unknown_names(cfg: dict, overrides: Iterable[str]) -> dict[str, str]:
    """Return a message for each dotted key whose first name is no key of a config."""
    mistakes = {}
    for key in overrides:
        name = key.partition('.')[0]
        if name in SECTIONS['']:
            continue
        if name in cfg:
            fix = _uses_of(cfg, name)
            mistakes[key] = f"--cfg-options: '{key}' names a variable of the file, whose value is already used.{fix}"
        else:
            mistakes[key] = f"--cfg-options: unknown key '{key}'{_nearest_path(cfg, key)}"
    return mistakes


def _nearest_path(cfg: dict, key: str) -> str:
    paths = {path for path, _ in walk(cfg)} | {
        f'{section}.{name}'.removeprefix('.') for section in SECTIONS for name in SECTIONS[section]
    }
    same_ending = [path for path in paths if path.rpartition('.')[2] == key.rpartition('.')[2]]
    if '.' not in key and len(same_ending) == 1:
        return f" (did you mean '{same_ending[0]}'?)"
    return did_you_mean(key, same_ending) or did_you_mean(key, paths, cutoff=0.6)


def _uses_of(cfg: dict, name: str) -> str:
    """Return where the value of a variable stands in the sections of a config, as a fix."""
    value = cfg[name]
    uses = [path for path, same in walk(cfg) if path.partition('.')[0] in SECTIONS[''] and same == value]
    uses = [path for path in uses if type(at_path(cfg, path)) is type(value)]
    return f' Fix: set {" or ".join(uses[:3])}.' if uses else ''


# ---------------------------------------------------------------- merging

EXCHANGED = ('optimizer', 'param_scheduler', 'loss', 'sampler')  # a new type drops the old type's arguments
_mmengine_merge = Config._merge_a_into_b


@contextmanager
def replaced_in_mmengine(name: str, function: Callable) -> Iterator[None]:
    """Within the block, the static method ``name`` of mmengine's `Config` is ``function``."""
    original = Config.__dict__[name]
    setattr(Config, name, staticmethod(function))
    try:
        yield
    finally:
        setattr(Config, name, original)


def merge(child: dict, base: dict | list, allow_list_keys: bool = False) -> dict | list:
    """Return ``base`` with ``child`` laid over it; neither is changed."""
    base = base.copy()
    for key in EXCHANGED:
        if isinstance(base, dict) and isinstance(child.get(key), dict) and key in base:
            base[key] = _without_exchanged(child[key], base[key])
    return _mmengine_merge(child, base, allow_list_keys)


def _without_exchanged(child: Any, base: Any) -> Any:
    if isinstance(base, list | tuple):  # `param_scheduler.0.type=StepLR` arrives as {'0': {'type': 'StepLR'}}
        return [_without_exchanged(child.get(str(i), {}), entry) for i, entry in enumerate(base)]
    both = isinstance(child, dict) and isinstance(base, dict) and 'type' in child and 'type' in base
    return type(base)() if both and child['type'] != base['type'] else base


def merge_overrides(cfg: Config, overrides: Mapping[str, Any]) -> list[str]:
    """Lay overrides over a config in place; returns a line for each key that does not fit."""
    # One merge for each top-level name: a new `type` and its arguments arrive as one.
    groups, mistakes = {}, []
    for key, value in overrides.items():
        groups.setdefault(key.partition('.')[0], {})[key] = ConfigDict._hook(value)
    with replaced_in_mmengine('_merge_a_into_b', merge):
        for group in groups.values():
            try:
                cfg.merge_from_dict(group)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                reasons = {key: reason for key in group if (reason := _misfit(cfg._cfg_dict, key))}
                reasons = reasons or {', '.join(group): error.args[0] if error.args else error}
                mistakes += [f'--cfg-options: {key} does not fit the config: {why}' for key, why in reasons.items()]
    strip_leftovers(cfg._cfg_dict)
    return mistakes


def _misfit(cfg: dict, key: str) -> str:
    """Return why no value can be set at a dotted key: a list is shorter, or a value has no keys; empty otherwise."""
    node, parts = cfg, key.split('.')
    for i, part in enumerate(parts):
        path = '.'.join(parts[:i])
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                return f"'{path}' is a list of {len(node)}, numbered from 0"
            node = node[int(part)]
        elif isinstance(node, dict):
            if part not in node:
                return ''
            node = node[part]
        else:
            return f"'{path}' is {node!r} and has no keys"
    return ''


def strip_leftovers(config: Any) -> None:
    """Remove the leftovers of merging in place: a `_delete_` with nothing to delete, and mmpretrain's `_scope_`.

    The scope of another package stays: its classes are found only with it.
    """
    for part in [config, *(part for _, part in walk(config) if isinstance(part, dict))]:
        part.pop('_delete_', None)
        if '_scope_' in part and part['_scope_'] in (None, 'mmpretrain'):
            del part['_scope_']
