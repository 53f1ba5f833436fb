"""The resolved config as text that runs by itself and says nothing of one particular start; and key by key."""

import ast
import math
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

from flowercls.core.errors import ConfigError

# Where this start writes to, and how it was launched.
OF_ONE_START = ('work_dir', 'launcher', 'experiment_name')
# What a parser says of a file that is none of ours; the last two of one that is nested too deeply.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError)


def resolved_text(cfg: Config) -> str:
    """``cfg`` as a config file that makes a new run of the same kind."""
    kept = {key: _writable(value) for key, value in cfg.to_dict().items() if key not in OF_ONE_START}
    return Config(kept).pretty_text


class _Written(float):
    """Infinity, or no number, as Python reads it; by itself it would be a name that nobody has defined."""

    def __repr__(self) -> str:
        return f"float('{float(self)}')"

    __str__ = __repr__


def _writable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_writable(item) for item in value)
    return _Written(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_resolved(path: str | os.PathLike) -> dict[str, Any]:
    """What `resolved_text` wrote, as plain dicts and lists.

    It is read as data: who looks at the run folder of somebody else runs none of their code.

    Raises:
        ConfigError: if the file cannot be read, or says more than names and values.
    """
    try:
        statements = ast.parse(Path(path).read_text(encoding='utf-8')).body
        return dict(_assigned(statement) for statement in statements)
    except _UNREADABLE as error:
        raise ConfigError(
            f'{path}: is not the config.py of a run, which holds names and plain values only '
            f'({type(error).__name__}: {error}). Fix: put back the one that tools/train.py wrote there.'
        ) from error


def _assigned(statement: ast.stmt) -> tuple[str, Any]:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, _value(statement.value)
    raise ValueError(f'line {statement.lineno} is no name = value')


def _value(node: ast.expr) -> Any:
    """As `ast.literal_eval`, which knows neither ``dict(...)`` nor ``float('inf')``."""
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
    if called == 'float':
        return float(*map(_value, node.args))
    if called == 'dict':
        return dict(*map(_value, node.args), **{pair.arg: _value(pair.value) for pair in node.keywords})
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.List | ast.Tuple):
        values = [_value(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    return ast.literal_eval(node)


def flat(value: Any, key: str = '') -> dict[str, Any]:
    """Every value of a config by its dotted key; lists of plain values stay whole.

    Example:
        >>> flat({'a': {'b': 1}, 'c': [{'d': 2}], 'e': (3, 4)})
        {'a.b': 1, 'c.0.d': 2, 'e': (3, 4)}
    """
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple) for item in value):
        items = enumerate(value)
    else:
        return {key: value}
    return {k: v for name, item in items for k, v in flat(item, f'{key}.{name}' if key else str(name)).items()}
