"""A resolved config as text that can be run again, and back as data."""

import ast
import math
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

from flowercls.core.errors import ConfigError

THIS_START = ('work_dir', 'launcher', 'experiment_name')  # where one start writes to, and how it was launched
# Errors of Python's parser on a foreign file; the last two come from deep nesting.
PARSE_ERRORS = (OSError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError)
# The last text: mmengine takes 0.2 s to lay it out, and a run writes the same config with every checkpoint.
_dumped: dict[str, str] = {}


def dump_config(cfg: Config) -> str:
    """Return ``cfg`` as the text of a config file that starts a new run of the same kind."""
    content = {key: _writable(value) for key, value in cfg.to_dict().items() if key not in THIS_START}
    if (key := repr(content)) not in _dumped:
        _dumped.clear()
        _dumped[key] = Config(content).pretty_text
    return _dumped[key]


class _NonFinite(float):
    """Infinity or NaN as an expression that Python reads; its plain name is undefined there."""

    def __repr__(self) -> str:
        return f"float('{float(self)}')"

    __str__ = __repr__


def _writable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_writable(item) for item in value)
    return _NonFinite(value) if isinstance(value, float) and not math.isfinite(value) else value


def load_dumped(path: str | os.PathLike) -> dict[str, Any]:
    """Load a file written by `dump_config`, as plain dicts and lists.

    The file is read as data: no code of a foreign run folder is run.

    Raises:
        ConfigError: if the file cannot be read, or holds more than names and values.
    """
    try:
        return parse_dumped(Path(path).read_text(encoding='utf-8'))
    except PARSE_ERRORS as error:
        raise ConfigError(
            f'{path}: is not the config.py of a run, which holds names and plain values only '
            f'({type(error).__name__}: {error}). Fix: put back the file that tools/train.py wrote there.'
        ) from error


def parse_dumped(text: str) -> dict[str, Any]:
    """Return the content of a text by `dump_config`, as plain dicts and lists; no code in it is run.

    Raises:
        One of `PARSE_ERRORS`: if it holds more than names and values.
    """
    return dict(_assigned(statement) for statement in ast.parse(text).body)


def _assigned(statement: ast.stmt) -> tuple[str, Any]:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, _value(statement.value)
    raise ValueError(f'line {statement.lineno} is not NAME = VALUE')


def _value(node: ast.expr) -> Any:
    """Return the value of an expression as `ast.literal_eval` does, also of ``dict(...)`` and ``float('inf')``."""
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
