"""Whether a value can be what a class takes: by the annotation of the argument, else by the kind of its default.

A config holds plain values only, and annotations are not the whole truth: torchvision's `float` may be one number a
channel, mmpretrain's `int` is 4.0 in its own configs, its `dict` a list of dicts or None. So whole numbers are not told
from others, a list of what fits is left to the class, and so is what may be made into an object of some other class.
What remains certain is refused: text for a number, a number for text, anything but a dict for a dict.

Which arguments a class takes, also through `**kwargs` handed on to its base classes.

Where a config names classes: every `dict(type=...)`, with the registry that will build it and what it is given.

Names and arguments of every class in a config, checked against the classes themselves.

Heavy: imports torch, mmpretrain and what `custom_imports` names; still nothing of the data or the weights is opened.
"""

import ast
import enum
import functools
import inspect
import numbers
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from flowercls.config.loader import raise_mistakes
from flowercls.config.schema import LOADERS, at_path
from flowercls.config.suggest import hint, nearest_name
from flowercls.core.errors import ConfigError

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


pass

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


# Arguments that mmengine's Runner adds when it builds the part, unless the config gives them.
SUPPLIED = {
    'sampler': ('dataset', 'seed'),
    'batch_sampler': ('sampler', 'batch_size'),
    'optimizer': ('params',),
    'optim_wrapper': ('optimizer',),
    'param_scheduler': ('optimizer',),
    'train_cfg': ('runner', 'dataloader'),
    'val_cfg': ('runner', 'dataloader', 'evaluator'),
    'test_cfg': ('runner', 'dataloader', 'evaluator'),
    'model_wrapper_cfg': ('module',),
    'tta_model': ('module',),
    'vis_backend': ('save_dir',),
}
# Keys that mmengine takes out of the dict before the class sees it.
TAKEN_OUT = {
    'hook': ('priority',),
    'param_scheduler': ('convert_to_iter_based',),
    'optim_wrapper': ('optimizer', 'constructor', 'paramwise_cfg'),
    'policy': ('magnitude_key', 'magnitude_range'),
}
# Inside a model only these are built as they stand; others (conv_cfg, norm_cfg, …) get further arguments on the way.
BUILT_AS_WRITTEN = ('model', 'backbone', 'neck', 'head', 'loss', 'data_preprocessor', 'augments', 'tta_model')
# Their type may be left out; inside a transform, dicts are built only if they have one.
TYPE_BY_DEFAULT = ('optim_wrapper', 'train_cfg', 'val_cfg', 'test_cfg', 'log_processor', 'policy', 'inside')
ANY_MODEL_KIND = ('MODELS', 'WEIGHT_INITIALIZERS', 'TASK_UTILS')
MODEL_KINDS = {
    **dict.fromkeys(BUILT_AS_WRITTEN, ('MODELS',)),
    'augments': ('BATCH_AUGMENTS',),
    'init_cfg': ('WEIGHT_INITIALIZERS',),
}
LIKE_TYPE = 0.7  # how near a key must be to be taken for a misspelt `type`; 'tpye' is at 0.75
IN_A_PIPELINE = re.compile(r'(pipeline|transforms)(\.\d+)+$')


@dataclass(frozen=True)
class Place:
    """One `dict(type=...)` of a config.

    Attributes:
        path: Dotted path in the config.
        content: The dict.
        kinds: Names of mmpretrain's registries that may build it, most likely first; 'v2' is torchvision's transforms.
        supplied: Arguments it is given besides those in the dict.
        taken_out: Keys of the dict that are not arguments.
        whole: Whether its arguments can be checked, not only its name.
    """

    path: str
    content: dict
    kinds: tuple[str, ...]
    supplied: tuple[str, ...] = ()
    taken_out: tuple[str, ...] = ()
    whole: bool = True


def places(cfg: Any) -> Iterator[Place]:
    """Every class that a run of ``cfg`` will build by name; also where the name, `type`, is missing."""
    for name in ('model', 'data_preprocessor', 'tta_model'):
        yield from _in_model(cfg.get(name), name, name)
    for name in LOADERS:
        yield from _in_loader(_section(cfg, name), name)
    yield from _in_transforms(cfg.get('tta_pipeline'), 'tta_pipeline')
    for name in ('val_evaluator', 'test_evaluator'):
        yield from _listed(cfg.get(name), name, ('METRICS', 'EVALUATORS'))
    for path, hook in _children(cfg.get('default_hooks') or {}, 'default_hooks'):
        yield from _typed(hook, path, ('HOOKS',), 'hook')
    yield from _listed(cfg.get('custom_hooks'), 'custom_hooks', ('HOOKS',), 'hook')
    yield from _in_optimisation(cfg)
    for name in ('train_cfg', 'val_cfg', 'test_cfg'):
        yield from _typed(cfg.get(name), name, ('LOOPS',), name)
    yield from _typed(cfg.get('model_wrapper_cfg'), 'model_wrapper_cfg', ('MODEL_WRAPPERS',), 'model_wrapper_cfg')
    yield from _typed(cfg.get('log_processor'), 'log_processor', ('LOG_PROCESSORS',), 'log_processor')
    yield from _typed(cfg.get('visualizer'), 'visualizer', ('VISUALIZERS',))
    backends = _section(cfg, 'visualizer').get('vis_backends')
    yield from _listed(backends, 'visualizer.vis_backends', ('VISBACKENDS',), 'vis_backend')


def untyped(cfg: Any) -> list[str]:
    """One line for each dict that has to say what it is, and does not."""
    left_to_us = not at_path(cfg, 'test_dataloader.dataset.type')  # completed later from that of validation
    return [
        _no_type(place)
        for place in places(cfg)
        if 'type' not in place.content and not (left_to_us and place.path.startswith('test_dataloader.'))
    ]


def _no_type(place: Place) -> str:
    near = nearest_name('type', place.content, cutoff=LIKE_TYPE)
    if near is None:
        return f"{place.path}: key 'type' is missing, the name of what is to be built"
    return f"{place.path}: unknown key '{near}' (did you mean 'type'?)"


def _in_optimisation(cfg: Any) -> Iterator[Place]:
    wrapper = _section(cfg, 'optim_wrapper')
    yield from _typed(wrapper, 'optim_wrapper', ('OPTIM_WRAPPERS',), 'optim_wrapper')
    yield from _typed(wrapper.get('optimizer'), 'optim_wrapper.optimizer', ('OPTIMIZERS',), 'optimizer')
    if wrapper.get('constructor'):
        content = {'type': wrapper['constructor']}
        yield Place('optim_wrapper.constructor', content, ('OPTIM_WRAPPER_CONSTRUCTORS',), whole=False)
    yield from _listed(cfg.get('param_scheduler'), 'param_scheduler', ('PARAM_SCHEDULERS',), 'param_scheduler')


def _in_model(node: Any, path: str, name: str) -> Iterator[Place]:
    if isinstance(node, dict):
        whole = name in BUILT_AS_WRITTEN
        content = {'type': 'ClsDataPreprocessor', **node} if name == 'data_preprocessor' else node
        if whole or ('type' in content and name.endswith('_cfg')):
            yield Place(path, content, MODEL_KINDS.get(name, ANY_MODEL_KIND), SUPPLIED.get(name, ()), (), whole)
    for inner, value in _children(node, path):
        last = inner.rpartition('.')[2]
        yield from _in_model(value, inner, name if last.isdigit() else last)


def _in_loader(loader: dict, path: str) -> Iterator[Place]:
    yield from _in_dataset(loader.get('dataset'), f'{path}.dataset')
    for name in ('sampler', 'batch_sampler'):
        yield from _typed(loader.get(name), f'{path}.{name}', ('DATA_SAMPLERS',), name)
    for name in ('collate_fn', 'worker_init_fn'):
        for place in _typed(loader.get(name), f'{path}.{name}', ('FUNCTIONS',), name):
            yield Place(place.path, place.content, place.kinds, whole=False)


def _in_dataset(dataset: Any, path: str) -> Iterator[Place]:
    if isinstance(dataset, (list, tuple)):
        for inner, value in _children(dataset, path):
            yield from _in_dataset(value, inner)
    if not isinstance(dataset, dict):
        return
    yield from _typed(dataset, path, ('DATASETS',))
    yield from _in_transforms(dataset.get('pipeline'), f'{path}.pipeline')
    for name in ('dataset', 'datasets'):
        yield from _in_dataset(dataset.get(name), f'{path}.{name}')


def _in_transforms(node: Any, path: str, kinds: tuple[str, ...] = ('TRANSFORMS',), role: str = '') -> Iterator[Place]:
    if isinstance(node, dict):
        yield from _typed(node, path, kinds, role or ('' if IN_A_PIPELINE.search(path) else 'inside'))
        kinds = ('v2',) if node.get('type') == 'TorchvisionTransforms' else kinds
    for inner, value in _children(node, path):
        if isinstance(value, (dict, list, tuple)):
            inner_role = 'policy' if inner.endswith('.policies') else role
            yield from _in_transforms(value, inner, kinds, inner_role)


def _listed(node: Any, path: str, kinds: tuple[str, ...], role: str = '') -> Iterator[Place]:
    yield from _typed(node, path, kinds, role)
    if isinstance(node, (list, tuple)):
        for inner, value in _children(node, path):
            yield from _typed(value, inner, kinds, role)


def _typed(node: Any, path: str, kinds: tuple[str, ...], role: str = '') -> Iterator[Place]:
    if isinstance(node, dict) and ('type' in node or role not in TYPE_BY_DEFAULT):
        yield Place(path, node, kinds, SUPPLIED.get(role, ()), TAKEN_OUT.get(role, ()))


def _section(cfg: Any, name: str) -> dict:
    content = cfg.get(name)
    return content if isinstance(content, dict) else {}


def _children(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    yield from ((f'{path}.{key}', value) for key, value in children)


pass


pass
pass


IGNORED = ('type', '_scope_')
WRONGLY_ANNOTATED = ('loss_scale',)  # mmengine's AmpOptimWrapper says `str` and takes numbers and dicts


def check_components(cfg: Config) -> None:
    """Check that every `type=` of a config exists where it will be looked up, and takes the arguments it is given.

    Raises:
        ConfigError: naming every mistake found, one a line, with the nearest valid name.
    """
    _import_custom(cfg)
    mistakes = [mistake for place in places(cfg) if 'type' in place.content for mistake in _mistakes_in(place)]
    copied = {
        line.replace('val_', 'test_', 1) for line in mistakes if line.startswith('val_')
    }  # where the test part is a copy, once is enough
    raise_mistakes([line for line in mistakes if line not in copied], cfg.filename or 'the config')


def _import_custom(cfg: Config) -> None:
    from mmengine.utils import import_modules_from_strings

    custom = cfg.get('custom_imports')
    if not custom:
        return
    try:
        import_modules_from_strings(**custom)
    except ImportError as error:
        fix = 'Fix: install it, or run from the folder it lies in.'
        raise ConfigError(f'{cfg.filename}: custom_imports.imports={custom["imports"]}: {error}. {fix}') from error


def _mistakes_in(place: Place) -> list[str]:
    name = place.content['type']
    found = name if callable(name) else _look_up(str(name), place.kinds)
    if found is None:
        return [f"{place.path}: unknown type '{name}'{_hint_type(str(name), place.kinds)}"]
    return _wrong_arguments(place, found) if place.whole else []


def _look_up(name: str, kinds: tuple[str, ...]) -> Any:
    for kind in kinds:
        if kind == 'v2':
            found = _torchvision_names().get(name)
        else:
            try:
                found = _registry(kind).get(name)
            except (RuntimeError, ImportError, AttributeError):  # what mmengine does with a name that has dots
                found = None
        if found is not None:
            return found
    return None


def _registry(kind: str) -> Any:
    import mmengine.registry
    import mmpretrain.registry

    here = mmpretrain.registry if hasattr(mmpretrain.registry, kind) else mmengine.registry
    return getattr(here, kind)  # not `or`: a registry whose classes are not imported yet is false


def _torchvision_names() -> dict[str, type]:
    from torchvision.transforms import v2

    return {name: value for name, value in vars(v2).items() if inspect.isclass(value)}


def _hint_type(name: str, kinds: tuple[str, ...]) -> str:
    names: set[str] = set()
    for kind in kinds:
        if kind == 'v2':
            names |= set(_torchvision_names())
            continue
        registry = _registry(kind)
        while registry is not None:
            names |= set(registry.module_dict)
            registry = registry.parent
    return hint(name, names, cutoff=0.6)


def _wrong_arguments(place: Place, target: Any) -> list[str]:
    takes = arguments_of(target)
    given = {key for key in place.content if key not in (*IGNORED, *place.taken_out)}
    name = place.content['type']
    mistakes = []
    known = takes.names.union(place.taken_out)
    for key in sorted(given - takes.names) if not takes.is_open else ():
        mistakes.append(f"{place.path} ({name}): unknown argument '{key}'{hint(key, known)}")
    for key in sorted(takes.required - given - set(place.supplied)):
        near = nearest_name(key, given - takes.names) if takes.is_open else None  # else it is named already
        missing = f"unknown argument '{near}' (did you mean '{key}'?)" if near else f"argument '{key}' is missing"
        mistakes.append(f'{place.path} ({name}): {missing}')
    return mistakes + [
        f'{place.path}.{key}: {name} expects {described(takes.types[key])}, got {place.content[key]!r}'
        for key in sorted((given & takes.types.keys()).difference(WRONGLY_ANNOTATED))
        if not fits(place.content[key], takes.types[key])
    ]
