"""Names and arguments of every class in a config, checked against the classes themselves.

Heavy: imports torch, mmpretrain and what `custom_imports` names; still nothing of the data or the weights is opened.
"""

import inspect
from typing import Any

from mmengine.config import Config

from flowercls.config.argument_types import described, fits
from flowercls.config.load import raise_mistakes
from flowercls.config.nearest import hint, nearest_name
from flowercls.config.places import Place, places
from flowercls.config.signatures import arguments_of
from flowercls.errors import ConfigError

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
