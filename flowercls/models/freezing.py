"""What ``model.frozen_stages`` freezes: parameters that get no gradient, and modules that stay in evaluation mode."""

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
    # ResNeXt and others pass `**kwargs` on to their base class, so the base's signature has the default.
    signatures = (inspect.signature(base.__init__).parameters for base in type(backbone).__mro__)
    defaults = (parameters['frozen_stages'].default for parameters in signatures if 'frozen_stages' in parameters)
    if value is not None and value != next(defaults, None):
        raise ConfigError(
            f'`model.backbone.frozen_stages` is {value!r}. It means something else in every backbone. '
            'Fix: remove it and set `model.frozen_stages`.'
        )


def classification_layer(backbone: nn.Module, head: nn.Module | None) -> tuple[str, nn.Linear] | None:
    """Return the last linear layer: of the head, or of the backbone if the head has none (VGG, InceptionV3).

    Returns:
        Its name in the model (``'head.fc'``) and the layer; None if there is no linear layer at all.
    """
    for prefix, module in (('head', head), ('backbone', backbone)):
        layers = [(name, m) for name, m in (module or nn.Module()).named_modules() if isinstance(m, nn.Linear)]
        if layers:
            name, layer = layers[-1]
            return f'{prefix}.{name}', layer
    return None


def num_frozen_stages(frozen: int | str) -> int:
    """Return how many of the four stages are frozen; ``'all'`` is 4."""
    return 4 if frozen == 'all' else int(frozen)


def frozen_parts(frozen: int | str) -> tuple[str, ...]:
    """Return the parts of the backbone that are frozen as a whole, a prefix of `PARTS`."""
    return PARTS[: num_frozen_stages(frozen) + 1] if frozen else ()


def frozen_parameters(model: nn.Module, stages: StagedBackbone, frozen: int | str) -> Iterator[nn.Parameter]:
    """Yield the parameters of ``model`` (with ``backbone``, ``neck`` and ``head``) that ``frozen`` freezes."""
    if frozen == 'all':
        trained = {id(parameter) for parameter in _last_layer(model).parameters()}
        yield from (parameter for parameter in model.parameters() if id(parameter) not in trained)
    else:
        for part in frozen_parts(frozen):
            yield from stages.parameters_of(part).values()


def frozen_modules(model: nn.Module, stages: StagedBackbone, frozen: int | str) -> Iterator[nn.Module]:
    """Yield the modules that stay in evaluation mode, and all their children."""
    for part in frozen_parts(frozen):
        for module in stages.modules_of(part).values():
            yield from module.modules()
    if frozen == 'all':
        last = _last_layer(model)
        roots = [*stages.modules_of('head').values(), model.neck, model.head]
        for module in (module for root in roots if root is not None for module in root.modules()):
            if all(inner is not last for inner in module.modules()):  # neither the last layer nor its parents
                yield module


def _last_layer(model: nn.Module) -> nn.Module:
    layer = classification_layer(model.backbone, model.head)
    return layer[1] if layer else nn.Module()
