"""Starting weights: which of a file's tensors fit the model, and a refusal where they do not.

mmengine would load what happens to match and go on with random weights for the rest. Here the backbone and the neck
must fit completely, only the classification layer may be new. Where the file comes from: ``weight_files``.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from flowercls.core.errors import CheckpointError
from flowercls.models.freezing import classification_layer
from flowercls.models.weight_files import find_weights

__all__ = ['WeightsReport', 'apply_weights', 'find_weights', 'unwrap_state_dict']

# What other libraries call the classification layer of a file that holds a bare backbone.
_FOREIGN_HEADS = ('fc.', 'head.', 'heads.', 'classifier.')
# Buffers that a model counts or computes itself.
_COMPUTED = ('num_batches_tracked', 'relative_position_index', 'attn_mask')
NESTS = ('state_dict', 'model', 'model_state_dict')
_SHOWN = 5  # keys shown in a message


@dataclass(frozen=True)
class WeightsReport:
    """What `apply_weights` did; ``str()`` gives one line for the log."""

    source: str
    num_loaded: int  # tensors of the model that come from the file
    head: str  # 'loaded', 'new, …' or 'none'

    def __str__(self) -> str:
        return f'starting weights: {self.num_loaded} tensors from {self.source}; head: {self.head}'


def unwrap_state_dict(content: Mapping[str, Any], *, source: str) -> dict[str, Tensor]:
    """The tensors by name of a file's content, bare or nested under one of `NESTS`, also with a ``module.`` prefix.

    Raises:
        CheckpointError: if there are no tensors by name.
    """
    for nest in NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        names = list(content)[:_SHOWN] if isinstance(content, Mapping) else []
        found = f', but {", ".join(map(str, names))}' if names else ''
        raise CheckpointError(f'{source}: holds no tensors by name{found}. Fix: give a file with a state_dict.')
    return {name.removeprefix('module.'): value for name, value in content.items() if isinstance(value, Tensor)}


def apply_weights(
    model: nn.Module, state_dict: Mapping[str, Any], *, source: str, same_classes: bool | None
) -> WeightsReport:
    """Load starting weights into ``model``, all that belong to it or none.

    Args:
        model: A classifier with ``backbone``, ``neck`` and ``head``.
        state_dict: Content of a weights file: of a full model (keys ``backbone.…``) or of a bare backbone.
        source: Where it comes from, for messages.
        same_classes: Whether the file was trained on the model's classes in their order; None where it does not say.
            The classification layer is kept unless this is False or its shape differs.

    Raises:
        CheckpointError: if backbone or neck do not fit by name and shape, or hold values that are no numbers; the model
            is unchanged then.
    """
    given = _named_as_model(unwrap_state_dict(state_dict, source=source), model)
    wanted = model.state_dict()
    adapted = _after_loading(model, given, source)
    layer = _classification_keys(model)
    _check_fit(adapted, wanted, layer, source, type(model.backbone).__name__)
    left_out = {key for key in wanted if not _same_shape(key, adapted, wanted)}
    if same_classes is False or left_out.intersection(layer):
        left_out.update(layer)
    # It is adapted again in here, so what is given is what the file holds.
    used = {key: value for key, value in given.items() if key not in left_out}
    _check_finite(used, source)
    model.load_state_dict(used, strict=False)
    return WeightsReport(source, len(wanted.keys() - left_out), _describe_head(adapted, wanted, layer, left_out))


def _check_finite(given: dict[str, Tensor], source: str) -> None:
    for name, value in given.items():
        if value.is_floating_point() and not value.is_meta and not value.isfinite().all():
            raise CheckpointError(
                f'{source}: {name} holds values that are no numbers (nan or inf), as a diverged run leaves them. '
                'Fix: start from other weights.'
            )


def _named_as_model(given: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Add ``backbone.`` to the names of a bare backbone, and leave out its foreign classification layer."""
    if any(name.startswith('backbone.') for name in given):
        return {name: value for name, value in given.items() if name.startswith(('backbone.', 'neck.', 'head.'))}
    own = model.backbone.state_dict()
    return {f'backbone.{k}': v for k, v in given.items() if k in own or not k.startswith(_FOREIGN_HEADS)}


def _classification_keys(model: nn.Module) -> list[str]:
    found = classification_layer(model.backbone, model.head)
    if found is None:
        return []
    name, layer = found
    return [f'{name}.{key}' for key in layer.state_dict()]


def _after_loading(model: nn.Module, given: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """``given`` as loading adapts it, such as position embeddings for another image size or names of an older version.

    It is loaded into a copy of the model that has no values: hooks, and modules with a loading of their own, do with
    the names and tensors what they will do for the model.
    """
    adapted = dict(given)
    for name, module in _without_values(model).named_modules():
        prefix = f'{name}.' if name else ''
        try:
            module._load_from_state_dict(adapted, prefix, {'assign_to_params_buffers': True}, False, [], [], [])
        except Exception as error:  # of another library's hook, which did not expect such a file
            said = str(error).partition('\n')[0]
            raise CheckpointError(
                f'{source}: not the weights of this {type(model.backbone).__name__}: its {name} cannot be adapted '
                f'({type(error).__name__}: {said}). Fix: set `load_from` to weights of this backbone.'
            ) from error
    # Norms of an old file get a counter here that is not in it.
    from_file = {id(value) for value in given.values()}
    return {name: v for name, v in adapted.items() if id(v) in from_file or not name.endswith(_COMPUTED)}


def _without_values(model: nn.Module) -> nn.Module:
    parameters = {id(p): nn.Parameter(p.to('meta'), requires_grad=False) for p in model.parameters()}
    return copy.deepcopy(model, {**parameters, **{id(buffer): buffer.to('meta') for buffer in model.buffers()}})


def _same_shape(key: str, given: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return key in given and given[key].shape == wanted[key].shape


def _check_fit(
    given: dict[str, Tensor], wanted: dict[str, Tensor], layer: list[str], source: str, backbone: str
) -> None:
    """Raise a `CheckpointError` unless the file's backbone, and its neck if it has one, are the model's."""
    parts = ('backbone.', 'neck.') if any(key.startswith('neck.') for key in given) else ('backbone.',)
    needed = [key for key in wanted if key.startswith(parts) and key not in layer and not _is_optional(key)]
    missing = [key for key in needed if key not in given]
    differing = [key for key in needed if key in given and not _same_shape(key, given, wanted)]
    # A ResNet-101 holds all of a ResNet-50 and more: what is left over tells them apart.
    surplus = [key for key in given if key.startswith(parts) and key not in wanted and not _is_optional(key)]
    if not (missing or differing or surplus):
        return
    total = sum(wanted[key].numel() for key in needed)
    fitting = sum(wanted[key].numel() for key in needed if _same_shape(key, given, wanted))
    shapes = [f'{key} {tuple(given[key].shape)}, the model has {tuple(wanted[key].shape)}' for key in differing]
    raise CheckpointError(
        f'{source}: not the weights of this {backbone}: {100 * fitting / max(total, 1):.1f} % of its {total:,} values '
        f'match by name and shape; expected all, and nothing left over.\n'
        + _list_some('missing in the file', missing)
        + _list_some('of another shape in the file', shapes)
        + _list_some('only in the file', surplus)
        + '  Likely weights of another architecture, depth or width, or with the names of another library. '
        'Fix: set `load_from` to weights of this backbone, or `model.backbone` to the one they were made for.'
    )


def _is_optional(key: str) -> bool:
    """What a file may lack or hold besides: counters and tables that the model computes itself, auxiliary outputs."""
    return key.endswith(_COMPUTED) or key.startswith('backbone.AuxLogits.')


def _list_some(title: str, keys: list[str]) -> str:
    shown = ''.join(f'\n    {key}' for key in keys[:_SHOWN]) + ('\n    …' if len(keys) > _SHOWN else '')
    return f'  {title} ({len(keys)}):{shown}\n' if keys else ''


def _describe_head(given: dict[str, Tensor], wanted: dict[str, Tensor], layer: list[str], left_out: set[str]) -> str:
    if not layer:
        return 'none'
    if layer[0] not in left_out:
        return 'loaded'
    classes = len(wanted[layer[0]])
    if layer[0] not in given:
        return f'new, {classes} classes'
    before = len(given[layer[0]])
    return f'new, {before} → {classes} classes' if before != classes else f'new, {classes} other classes'
