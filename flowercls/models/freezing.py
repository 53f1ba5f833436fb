"""What ``model.frozen_stages`` freezes: the parameters that stop learning and the modules that stay in eval mode."""

import inspect
from collections.abc import Iterator

from torch import nn

from flowercls.core.errors import ConfigError
from flowercls.models.stages import PARTS, StagedBackbone

FROZEN_STAGES = (0, 1, 2, 3, 4, 'all')


def check_frozen_stages(value: int | str) -> None:
    """Raise a `ConfigError` unless ``value`` is one of 0, 1, 2, 3, 4 and ``'all'``."""
    if isinstance(value, bool) or value not in FROZEN_STAGES:
        raise ConfigError(
            f'`model.frozen_stages` is {value!r}, expected 0 (nothing), 1 to 4 (the stem and that many stages) '
            "or 'all' (everything but the last classification layer)."
        )


def check_native_freezing_off(backbone: nn.Module) -> None:
    """Refuse a backbone whose own ``frozen_stages`` is set: two ways to freeze would disagree.

    Raises:
        ConfigError: if the backbone's ``frozen_stages`` differs from its default.
    """
    value = getattr(backbone, 'frozen_stages', None)
    if value is not None and value != _default_of(type(backbone), 'frozen_stages'):
        raise ConfigError(
            f'`model.backbone.frozen_stages` is {value!r}. It means something else in every backbone. '
            'Fix: remove it and set `model.frozen_stages`.'
        )


def classification_layer(backbone: nn.Module, head: nn.Module | None) -> tuple[str, nn.Linear] | None:
    """The last linear layer: of the head, or of the backbone where the head has none (VGG, InceptionV3).

    Returns:
        Its name in the model (``'head.fc'``) and the layer; None if there is no linear layer at all.
    """
    for prefix, module in (('head', head), ('backbone', backbone)):
        layers = [(name, m) for name, m in (module or nn.Module()).named_modules() if isinstance(m, nn.Linear)]
        if layers:
            name, layer = layers[-1]
            return f'{prefix}.{name}', layer
    return None


def frozen_parameters(model: nn.Module, stages: StagedBackbone, frozen: int | str) -> Iterator[nn.Parameter]:
    """The parameters of ``model`` (with ``backbone``, ``neck`` and ``head``) that ``frozen_stages`` fixes."""
    if frozen == 'all':
        kept = _ids(_last_layer(model).parameters())
        yield from (parameter for parameter in model.parameters() if id(parameter) not in kept)
    else:
        for part in frozen_parts(frozen):
            yield from stages.parameters_of(part).values()


def frozen_modules(model: nn.Module, stages: StagedBackbone, frozen: int | str) -> Iterator[nn.Module]:
    """The modules that stay in eval mode, each with all its children."""
    for part in frozen_parts(frozen):
        for module in stages.modules_of(part).values():
            yield from module.modules()
    if frozen == 'all':
        last = _last_layer(model)
        roots = [*stages.modules_of('head').values(), model.neck, model.head]
        for module in (module for root in roots if root is not None for module in root.modules()):
            if all(inner is not last for inner in module.modules()):  # neither the last layer nor what holds it
                yield module


def frozen_parts(frozen: int | str) -> tuple[str, ...]:
    """The parts of the backbone that are frozen as a whole, a prefix of `PARTS`."""
    return PARTS[: num_frozen_stages(frozen) + 1] if frozen else ()


def num_frozen_stages(frozen: int | str) -> int:
    """How many of the four stages are frozen; ``'all'`` is 4."""
    return 4 if frozen == 'all' else int(frozen)


def _last_layer(model: nn.Module) -> nn.Module:
    found = classification_layer(model.backbone, model.head)
    return found[1] if found else nn.Module()


def _default_of(cls: type, argument: str) -> object:
    # ResNeXt and others hand `**kwargs` on to their base, so the base's signature is the one that names it.
    for base in cls.__mro__:
        parameter = inspect.signature(base.__init__).parameters.get(argument)
        if parameter is not None:
            return parameter.default
    return None


def _ids(tensors: Iterator[nn.Parameter]) -> set[int]:
    return {id(tensor) for tensor in tensors}
