"""Which arguments a class takes, also through `**kwargs` handed on to its base classes."""

import ast
import functools
import inspect
import textwrap
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowercls.config.argument_types import expected_type

KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
LOOKED_UP = ('pop', 'get', 'setdefault')


@dataclass
class Arguments:
    """What may and what must be given by name.

    Attributes:
        names: Every accepted name.
        required: Those without a default.
        is_open: Whether unknown names are accepted too, because `**kwargs` goes where it cannot be followed.
        types: What each takes, where that is known; see `argument_types`.
    """

    names: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    is_open: bool = False
    types: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Forwarding:
    """What an `__init__` does with its `**kwargs`."""

    to_base: bool = False
    elsewhere: bool = False
    positional: int = 0  # how many of the base's parameters it fills by position
    filled: set[str] = field(default_factory=set)  # and by name
    looked_up: set[str] = field(default_factory=set)  # `kwargs.pop('name')`


def arguments_of(target: Callable) -> Arguments:
    """The arguments of a class, a function, or a `partial` of one, as a config can give them."""
    if isinstance(target, functools.partial):
        wrapped = next((value for value in target.keywords.values() if inspect.isclass(value)), target.func)
        return arguments_of(wrapped)  # mmpretrain's `torchvision/…`: a wrapper with the wrapped class as a keyword
    if not inspect.isclass(target):
        return _of_signature(inspect.signature(target), _hints(target))
    return _of_class(target)


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # annotations are text that anything may be wrong with, and nothing depends on them
        return {}


def _of_signature(signature: inspect.Signature, hints: dict[str, Any]) -> Arguments:
    found = Arguments()
    for name, parameter in signature.parameters.items():
        found.is_open |= parameter.kind is inspect.Parameter.VAR_KEYWORD
        if parameter.kind in KEYWORDS:
            found.names.add(name)
            found.types[name] = expected_type(hints.get(name, inspect.Parameter.empty), parameter.default)
            if parameter.default is inspect.Parameter.empty:
                found.required.add(name)
    return found


def _of_class(target: type) -> Arguments:
    total, hidden = Arguments(), set()
    positional = 0
    for owner in [base for base in target.__mro__ if '__init__' in vars(base)]:
        if owner is object or owner.__module__ == 'torch.nn.modules.module':
            return total  # both refuse any argument
        parameters = list(inspect.signature(owner.__init__).parameters.values())[1:]
        hidden |= {parameter.name for parameter in parameters[:positional]}
        own = _of_signature(inspect.Signature([p for p in parameters if p.kind in KEYWORDS]), _hints(owner.__init__))
        total.types = {**own.types, **total.types}
        total.names |= own.names - hidden
        total.required |= own.required - hidden
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            return total
        forwarding = _forwarding(owner)
        total.names |= forwarding.looked_up
        total.is_open |= forwarding.elsewhere
        if not forwarding.to_base:
            return total
        hidden |= forwarding.filled | own.names
        positional = forwarding.positional
    return total


def _forwarding(owner: type) -> _Forwarding:
    """Follow `**kwargs` through the source of an `__init__`; without a source anything may happen to it."""
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(owner.__init__))).body[0]
    except (OSError, TypeError, SyntaxError):
        return _Forwarding(elsewhere=True)
    kwargs = function.args.kwarg.arg if getattr(function, 'args', None) and function.args.kwarg else None
    if kwargs is None:
        return _Forwarding(elsewhere=True)  # decorated: the source is another function's
    found, explained = _Forwarding(), 0
    for node in ast.walk(function):
        explained += _explain(node, kwargs, found)
    uses = sum(isinstance(n, ast.Name) and n.id == kwargs and isinstance(n.ctx, ast.Load) for n in ast.walk(function))
    found.elsewhere |= uses > explained
    return found


def _explain(node: ast.AST, kwargs: str, found: _Forwarding) -> int:
    """Note what ``node`` does with kwargs; returns how many uses of the name that accounts for."""
    if isinstance(node, ast.Call) and _is_base_init(node.func):
        if not any(keyword.arg is None and _is_name(keyword.value, kwargs) for keyword in node.keywords):
            return 0
        found.to_base = True
        explicit = isinstance(node.func.value, ast.Name)  # `Base.__init__(self, …)`
        found.positional = sum(not isinstance(arg, ast.Starred) for arg in node.args) - explicit
        found.filled = {keyword.arg for keyword in node.keywords if keyword.arg}
        return 1
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_name(node.func.value, kwargs):
        is_named = node.func.attr in LOOKED_UP and node.args and isinstance(node.args[0], ast.Constant)
        found.looked_up |= {node.args[0].value} if is_named else set()
        return int(bool(is_named))
    if isinstance(node, (ast.Subscript, ast.Compare)):
        return _explain_item(node, kwargs, found)
    if isinstance(node, ast.Dict):  # `kwargs = {'extensions': …, **kwargs}`
        return sum(key is None and _is_name(value, kwargs) for key, value in zip(node.keys, node.values, strict=True))
    return 0


def _explain_item(node: ast.Subscript | ast.Compare, kwargs: str, found: _Forwarding) -> int:
    is_item = isinstance(node, ast.Subscript)
    whole, name = (node.value, node.slice) if is_item else (node.comparators[0], node.left)
    if not _is_name(whole, kwargs) or not isinstance(name, ast.Constant):
        return 0
    found.looked_up.add(name.value)
    return 1


def _is_base_init(function: Any) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == '__init__'


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
