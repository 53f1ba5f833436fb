"""How a child config, or an override, is laid over its base: mmengine's rules with one change.

Upstream, a child's `optimizer=dict(type='AdamW')` keeps the base's `momentum=0.9` of SGD and fails when it is built.
Here a new `type` starts afresh, as `_delete_=True` would, for the parts that are exchanged whole: see `EXCHANGED`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

EXCHANGED = ('optimizer', 'param_scheduler', 'loss', 'sampler')  # a new type drops the old type's arguments
LEFTOVERS = ('_delete_', '_scope_')
_mmengine_merge = Config._merge_a_into_b


@contextmanager
def fresh_types() -> Iterator[None]:
    """Within the block, mmengine merges configs by the rule above; other users of mmengine in this process do not."""
    with replaced_in_mmengine('_merge_a_into_b', merge):
        yield


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
    """``base`` with ``child`` laid over it; neither is changed."""
    base = base.copy()
    for key in EXCHANGED:
        if isinstance(base, dict) and isinstance(child.get(key), dict) and key in base:
            base[key] = _without_exchanged(child[key], base[key])
    return _mmengine_merge(child, base, allow_list_keys)


def _without_exchanged(child: dict, base: Any) -> Any:
    # A list of schedulers is addressed as {'0': {...}} by overrides such as `param_scheduler.0.type=StepLR`.
    if isinstance(base, (list, tuple)):
        numbered = {int(key): value for key, value in child.items() if str(key).isdigit()}
        return [_without_exchanged(numbered[i], old) if i in numbered else old for i, old in enumerate(base)]
    if _has_other_type(child, base):
        return type(base)()
    return base


def _has_other_type(child: Any, base: Any) -> bool:
    both = isinstance(child, dict) and isinstance(base, dict)
    return both and 'type' in child and 'type' in base and child['type'] != base['type']


def strip_leftovers(node: Any) -> Any:
    """Remove what merging leaves behind, in place: a `_delete_` that had nothing to delete, mmpretrain's `_scope_`.

    The scope of another package stays: its classes are found only with it.
    """
    if isinstance(node, dict):
        for key in LEFTOVERS:
            if key in node and (key == '_delete_' or node[key] in (None, 'mmpretrain')):
                del node[key]
        for value in dict.values(node):
            strip_leftovers(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            strip_leftovers(value)
    return node


def as_options(overrides: Mapping[str, Any]) -> list[str]:
    """``overrides`` as one writes them after ``--cfg-options``.

    Example:
        >>> as_options({'model.frozen_stages': 'all', 'a.scale': (0.1, 1.0), 'load_from': None})
        ['model.frozen_stages=all', 'a.scale=(0.1,1.0)', 'load_from=None']
    """
    return [f'{key}={as_text(value)}' for key, value in overrides.items()]


def as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        inside = ','.join(as_text(item) for item in value)
        return f'[{inside}]' if isinstance(value, list) else f'({inside})'
    return str(value)
