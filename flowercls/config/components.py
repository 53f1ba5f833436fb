"""Every class that a config names by `type=`: its name, its arguments and their kinds, checked against the class.

`iter_components` and `missing_types` are light. `check_components` imports torch, mmpretrain and `custom_imports`, but
opens neither data nor weights.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config

from flowercls.config.schema import at_path, walk
from flowercls.config.suggest import did_you_mean, nearest_name, raise_mistakes
from flowercls.core.errors import ConfigError

TORCHVISION = 'torchvision.transforms.v2'  # in the place of a registry, inside mmpretrain's TorchvisionTransforms
TYPE_CUTOFF = 0.7  # how near a key must be to 'type' to be called a misspelling; 'tpye' is at 0.75


class Rule(NamedTuple):
    """How the dicts at some paths of a config are built.

    Attributes:
        registries: Names of mmpretrain's registries that may build them, most likely first.
        by_builder: Keys that the builder adds or takes out, so that the class and the user need not know them.
        needs_type: Whether `type` must be there; without it, a dict that may go without is plain data.
        has_arguments: Whether all other keys are arguments of the class, so that they can be checked.
    """

    registries: tuple[str, ...]
    by_builder: tuple[str, ...] = ()
    needs_type: bool = True
    has_arguments: bool = True


class ComponentRef(NamedTuple):
    """One `dict(type=...)` of a config."""

    path: str
    content: dict
    rule: Rule


_LOADER = r'(train|val|test)_dataloader'
_PIPELINE = rf'({_LOADER}(\.datasets?)+\.pipeline|tta_pipeline)'
_INSIDE = r'(model|tta_model|data_preprocessor)(\..+)?'
# By dotted path, positions in lists left out; the first pattern that matches the whole path counts.
RULES = {
    rf'{_INSIDE}\.augments': Rule(('BATCH_AUGMENTS',)),
    'tta_model': Rule(('MODELS',), by_builder=('module',)),
    rf'model|data_preprocessor|{_INSIDE}\.(model|backbone|neck|head|loss|data_preprocessor)': Rule(('MODELS',)),
    rf'{_INSIDE}\.init_cfg': Rule(('WEIGHT_INITIALIZERS',), needs_type=False, has_arguments=False),
    rf'{_INSIDE}\.\w+_cfg': Rule(
        ('MODELS', 'WEIGHT_INITIALIZERS', 'TASK_UTILS'), needs_type=False, has_arguments=False
    ),
    rf'{_LOADER}(\.datasets?)+': Rule(('DATASETS',)),
    rf'{_LOADER}\.sampler': Rule(('DATA_SAMPLERS',), by_builder=('dataset', 'seed')),
    rf'{_LOADER}\.batch_sampler': Rule(('DATA_SAMPLERS',), by_builder=('sampler', 'batch_size')),
    rf'{_LOADER}\.(collate_fn|worker_init_fn)': Rule(('FUNCTIONS',), has_arguments=False),
    rf'{_PIPELINE}(\..+)?\.policies': Rule(('TRANSFORMS',), ('magnitude_key', 'magnitude_range'), needs_type=False),
    rf'{_PIPELINE}(\..+\.transforms)?|{_PIPELINE}\.transforms': Rule(('TRANSFORMS',)),
    rf'{_PIPELINE}\..+': Rule(('TRANSFORMS',), needs_type=False),
    r'(val|test)_evaluator': Rule(('METRICS', 'EVALUATORS')),
    r'default_hooks\.\w+|custom_hooks': Rule(('HOOKS',), by_builder=('priority',)),
    'optim_wrapper': Rule(('OPTIM_WRAPPERS',), ('optimizer', 'constructor', 'paramwise_cfg'), needs_type=False),
    r'optim_wrapper\.optimizer': Rule(('OPTIMIZERS',), by_builder=('params',)),
    r'optim_wrapper\.constructor': Rule(('OPTIM_WRAPPER_CONSTRUCTORS',), has_arguments=False),
    'param_scheduler': Rule(('PARAM_SCHEDULERS',), by_builder=('optimizer', 'convert_to_iter_based')),
    r'(train|val|test)_cfg': Rule(('LOOPS',), ('runner', 'dataloader', 'evaluator'), needs_type=False),
    'model_wrapper_cfg': Rule(('MODEL_WRAPPERS',), by_builder=('module',)),
    'log_processor': Rule(('LOG_PROCESSORS',), needs_type=False),
    'visualizer': Rule(('VISUALIZERS',)),
    r'visualizer\.vis_backends': Rule(('VISBACKENDS',), by_builder=('save_dir',)),
}


@functools.cache
def _rule_of(path: str) -> Rule | None:
    return next((rule for pattern, rule in RULES.items() if re.fullmatch(pattern, path)), None)


def iter_components(cfg: dict) -> Iterator[ComponentRef]:
    """Yield every part of a config that is built by name, also where the name, `type`, is missing."""
    torchvision = '.'  # path of the last TorchvisionTransforms
    for path, node in walk(cfg):
        rule = _rule_of(re.sub(r'\.\d+', '', path))
        if path == 'optim_wrapper.constructor' and node is not None:
            node = {'type': node}
        if not isinstance(node, dict):
            continue
        if path.endswith('data_preprocessor'):
            node = {'type': 'ClsDataPreprocessor', **node}
        if rule is not None and ('type' in node or rule.needs_type):
            is_inside = path.startswith(f'{torchvision}.')
            yield ComponentRef(path, node, rule._replace(registries=(TORCHVISION,)) if is_inside else rule)
        if node.get('type') == 'TorchvisionTransforms':
            torchvision = path


def missing_types(cfg: dict) -> list[str]:
    """Return one line for each dict that needs a `type` and has none."""
    lines = []
    # A test loader without a dataset is completed later, from the validation loader.
    has_test_set = at_path(cfg, 'test_dataloader.dataset.type')
    for part in iter_components(cfg):
        if 'type' not in part.content and (has_test_set or not part.path.startswith('test_dataloader.')):
            near = nearest_name('type', part.content, cutoff=TYPE_CUTOFF)
            lines.append(
                f"{part.path}: unknown key '{near}' (did you mean 'type'?)"
                if near
                else f"{part.path}: key 'type' is missing, the name of the class to build"
            )
    return lines


def check_components(cfg: Config) -> None:
    """Check that every `type=` of a config exists where it will be looked up, and takes the arguments beside it.

    Of a class that hands `**kwargs` on, only near misses of known arguments are found; other wrong names fail when the
    class is built.

    Raises:
        ConfigError: naming every mistake found, one a line, with the nearest valid name.
    """
    from mmengine.utils import import_modules_from_strings

    try:
        import_modules_from_strings(**(cfg.get('custom_imports') or {'imports': []}))
    except ImportError as error:
        raise ConfigError(
            f'{cfg.filename}: custom_imports.imports={cfg.custom_imports["imports"]}: {error}. '
            'Fix: install it, or run from the folder it lies in.'
        ) from error
    mistakes = []
    for part in iter_components(cfg._cfg_dict):
        if 'type' in part.content:
            mistakes += _mistakes_in(part)
    of_copies = {line.replace('val_', 'test_', 1) for line in mistakes if line.startswith('val_')}
    raise_mistakes([line for line in mistakes if line not in of_copies], cfg.filename or 'the config')


def _mistakes_in(part: ComponentRef) -> list[str]:
    name, rule = str(part.content['type']), part.rule
    target = next(filter(None, (_look_up(name, registry) for registry in rule.registries)), None)
    if target is None:
        names = set().union(*map(_names_in, rule.registries))
        return [f"{part.path}: unknown type '{name}'{did_you_mean(name, names, cutoff=0.6)}"]
    if not rule.has_arguments:
        return []
    arguments, values = arguments_of(target), part.content
    names = {*arguments.accepted, *rule.by_builder}
    mistakes = []
    for key in sorted(values.keys() - names - {'type', '_scope_'}):
        if not arguments.is_open or nearest_name(key, names):
            mistakes.append(f"{part.path} ({name}): unknown argument '{key}'{did_you_mean(key, names)}")
    for key in sorted(arguments.required - values.keys() - set(rule.by_builder)):
        mistakes.append(f"{part.path} ({name}): argument '{key}' is missing")
    for key in sorted(values.keys() & arguments.accepted.keys() - {'type', *rule.by_builder}):
        if not fits(values[key], default := arguments.accepted[key]):
            mistakes.append(
                f'{part.path}.{key}: {name} expects a value like its default {default!r}, got {values[key]!r}'
            )
    return mistakes


# ---------------------------------------------------------------- names


def _registry(name: str) -> Any:
    import mmengine.registry
    import mmpretrain.registry

    # Not `or`: a registry whose classes are not imported yet is false.
    return getattr(mmpretrain.registry if hasattr(mmpretrain.registry, name) else mmengine.registry, name)


def _torchvision_classes() -> dict[str, type]:
    from torchvision.transforms import v2

    return {name: value for name, value in vars(v2).items() if inspect.isclass(value)}


def _look_up(name: str, registry: str) -> Callable | None:
    if registry == TORCHVISION:
        return _torchvision_classes().get(name)
    try:
        return _registry(registry).get(name)
    except (RuntimeError, ImportError, AttributeError):  # mmengine imports the package of a name with dots
        return None


def _names_in(registry: str) -> set[str]:
    if registry == TORCHVISION:
        return set(_torchvision_classes())
    level, names = _registry(registry), set()
    while level is not None:
        names |= set(level.module_dict)
        level = level.parent
    return names


# ---------------------------------------------------------------- arguments

KINDS = {'None': type(None), 'bool': bool, 'number': int | float, 'text': str, 'dict': Mapping, 'list': list | tuple}
# Kinds of values that may take the place of a default of some kind, besides None and the kind itself.
STANDS_IN = {'number': ('list',), 'list': ('number', 'dict'), 'bool': (), 'text': ('bool', 'dict'), 'dict': ()}
SEVERAL_KINDS = re.compile(r'Any|Union|\| (?!None)')  # an annotation with values of other kinds than the default's
WRONGLY_ANNOTATED = ('loss_scale',)  # mmengine's AmpOptimWrapper says `str` and takes numbers and dicts


class Arguments(NamedTuple):
    """The arguments of a class or function.

    Attributes:
        accepted: For each argument the default that values must be like; None where they may be anything.
        required: Arguments without a default.
        is_open: Whether other names may be accepted too, because `**kwargs` is handed on.
    """

    accepted: dict[str, Any]
    required: set[str]
    is_open: bool


def arguments_of(target: Callable) -> Arguments:
    """Return the arguments of a class or function; `**kwargs` adds the arguments of base classes."""
    if isinstance(target, functools.partial):  # mmpretrain's `torchvision/...` wraps a class that it has as a keyword
        target = next((value for value in target.keywords.values() if inspect.isclass(value)), target.func)
    functions = [target]
    if inspect.isclass(target):
        functions = [vars(base)['__init__'] for base in target.__mro__ if '__init__' in vars(base)]
    accepted, required = {}, None
    for function in functions:
        parameters = list(inspect.signature(function).parameters.values())[inspect.isclass(target) :]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        for parameter in named:
            is_free = parameter.name in WRONGLY_ANNOTATED or SEVERAL_KINDS.search(str(parameter.annotation))
            default = None if is_free or _kind(parameter.default) not in STANDS_IN else parameter.default
            accepted.setdefault(parameter.name, default)
        if required is None:
            required = {parameter.name for parameter in named if parameter.default is parameter.empty}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return Arguments(accepted, required, is_open=function is not functions[0])
    return Arguments(accepted, required or set(), is_open=True)


def _kind(value: Any) -> str:
    return next((kind for kind, types in KINDS.items() if isinstance(value, types)), 'other')


def fits(value: Any, default: Any) -> bool:
    """Return whether a plain value may be given where ``default`` is the default; None stands for any default.

    A list of such values fits, too: one value for each of several parts.

    Example:
        >>> fits((0.1, 0.2), 0.5), fits('1', 0.5), fits(4.0, None), fits(1, False)
        (True, False, True, True)
    """
    kind, like = _kind(value), _kind(default)
    if default is None or kind in ('None', like, *STANDS_IN[like]) or (like == 'bool' and value in (0, 1)):
        return True
    return kind == 'list' and len(value) > 0 and all(fits(entry, default) for entry in value)
