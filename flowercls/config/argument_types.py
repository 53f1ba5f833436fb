"""Whether a value can be what a class takes: by the annotation of the argument, else by the kind of its default.

A config holds plain values only, and annotations are not the whole truth: torchvision's `float` may be one number a
channel, mmpretrain's `int` is 4.0 in its own configs, its `dict` a list of dicts or None. So whole numbers are not told
from others, a list of what fits is left to the class, and so is what may be made into an object of some other class.
What remains certain is refused: text for a number, a number for text, anything but a dict for a dict.
"""

import enum
import inspect
import numbers
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

PLAIN_NAMES = {bool: 'True or False', int: 'a number', float: 'a number', str: 'text', type(None): 'None'}
# What an argument without an annotation takes, by its default; where that is text, as `'auto'`, many another thing.
BY_DEFAULT = {
    **dict.fromkeys((int, float), float | list | None),
    **dict.fromkeys((tuple, list), float | list | dict | None),
    bool: bool | None,
    str: str | bool | dict | None,
    dict: dict,
}


def expected_type(hint: Any, default: Any) -> Any:
    """What an argument takes, as a type; `Any` if nothing is known."""
    if hint is inspect.Parameter.empty:
        return BY_DEFAULT.get(type(default), Any)
    if default is inspect.Parameter.empty or fits(default, hint):
        return hint
    return typing.Union[hint, type(default)]  # noqa: UP007 `|` does not join annotations written as text


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value may be given where ``hint`` is asked for.

    Example:
        >>> fits((1, 2), typing.Sequence[int]), fits('1', int | None), fits([0.5, 1], float), fits(7, dict)
        (True, False, True, False)
    """
    options = _options(hint)
    if options is None or any(_fits_one(value, option) for option in options):
        return True
    return isinstance(value, list | tuple) and len(value) > 0 and all(fits(entry, hint) for entry in value)


def described(hint: Any) -> str:
    """A type in words.

    Example:
        >>> described(typing.Union[int, typing.Sequence[int], None])
        'a number, a list or None'
    """
    names = list(dict.fromkeys(_name(option) for option in _options(hint) or ()))
    return ' or '.join(filter(None, [', '.join(names[:-1]), *names[-1:]]))


def _options(hint: Any) -> list | None:
    """The types of a union, each by itself; None if anything may fit."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        found = [_options(option) for option in typing.get_args(hint)]
        return None if None in found else [option for options in found for option in options]
    is_type = hint is None or isinstance(typing.get_origin(hint) or hint, type) and hint not in (Any, object)
    return [hint] if is_type or typing.get_origin(hint) is typing.Literal else None


def _fits_one(value: Any, hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    if kind in (None, type(None)):
        return value is None
    if kind is bool:
        return isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))
    if issubclass(kind, numbers.Number):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if issubclass(kind, Mapping):
        return isinstance(value, dict) or value is None
    if issubclass(kind, str):
        return isinstance(value, str)
    if issubclass(kind, Iterable):
        return isinstance(value, list | tuple) and _entries_fit(value, typing.get_args(hint))
    return _stands_for(value, kind)


def _stands_for(value: Any, kind: type) -> bool:
    """Whether something of another package's class may be made from ``value``."""
    if issubclass(kind, enum.Enum):
        return isinstance(value, int | str)
    return value is not None and kind.__name__ != 'Tensor'


def _entries_fit(values: list | tuple, hints: tuple) -> bool:
    if not hints:
        return True
    hints = tuple(hint for hint in hints if hint is not Ellipsis)
    return all(any(fits(value, hint) for hint in hints) for value in values)


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ' or '.join(map(repr, typing.get_args(hint)))
    kind = type(None) if hint is None else typing.get_origin(hint) or hint
    if kind in PLAIN_NAMES:
        return PLAIN_NAMES[kind]
    if issubclass(kind, numbers.Number):
        return PLAIN_NAMES[float]
    if issubclass(kind, Mapping):
        return 'dict(...)'
    return 'a list' if issubclass(kind, Iterable) else kind.__name__
