"""Loading weights into a model: starting weights, weights of the same model, or weights of an ``init_cfg``.

mmengine loads the names that match and leaves random weights for the rest. Here the backbone and the neck of starting
weights must fit completely; only the classification layer may be new, or some of its rows: it has one for each class.
``weight_files`` finds the file.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.runner import CheckpointLoader
from torch import Tensor, nn, no_grad

from flowercls.core.errors import CheckpointError
from flowercls.core.prepared_folder import nfc
from flowercls.core.terminal import listed, tool_command
from flowercls.models.checkpoint_reader import class_names_in, read_checkpoint
from flowercls.models.freezing import classification_layer

NESTS = ('state_dict', 'model', 'model_state_dict')  # keys of a file that its tensors may lie under
# The classification layer's names in files of other libraries that hold a bare backbone.
_FOREIGN_HEADS = ('fc.', 'head.', 'heads.', 'classifier.')
_COMPUTED = ('num_batches_tracked', 'relative_position_index', 'attn_mask')  # buffers that the model makes itself
_MAX_KEYS_SHOWN = 5


@dataclass(frozen=True)
class WeightsReport:
    """The result of `apply_weights`; ``str()`` gives one line for the log."""

    source: str
    num_loaded: int  # tensors of the model that come from the file
    head: str  # 'loaded', '5 of 6 classes kept, …', 'new, …' or 'none'

    def __str__(self) -> str:
        return f'starting weights: {self.num_loaded} tensors from {self.source}; head: {self.head}'


def apply_weights(
    model: nn.Module, content: Mapping[str, Any], *, source: str, class_names: Sequence[str]
) -> WeightsReport:
    """Load starting weights into ``model``: every tensor that belongs to it, or none.

    Args:
        model: A classifier with ``backbone``, ``neck`` and ``head``.
        content: Of a weights file: of a full model (keys ``backbone.…``) or of a bare backbone.
        source: Path of the file, for messages.
        class_names: The model's classes in their order. Where the file names its classes, the classification layer
            gets the rows of those it knows by name; the others start anew. Where it does not, the layer is loaded if
            its shape is the same.

    Raises:
        CheckpointError: if backbone or neck do not fit by name and shape, or contain NaN or inf. The model is
            unchanged then.
    """
    tensors = _rename_for(model, unwrap_state_dict(content, source=source))
    expected = model.state_dict()
    adapted = _adapt(model, tensors, source)
    layer = classification_layer(model.backbone, model.head)
    layer_keys = [f'{layer[0]}.{key}' for key in layer[1].state_dict()] if layer else []
    _check_fit(adapted, expected, layer_keys, source, type(model.backbone).__name__)
    skipped = {key for key in expected if not _same_shape(key, adapted, expected)}
    classes, known = [[nfc(name) for name in names or []] for names in (class_names, class_names_in(content))]
    rows: dict[int, int] = {}  # of the layer: number in the model -> number in the file
    if skipped.intersection(layer_keys) or (known and known != classes):
        skipped.update(layer_keys)
        if all(_has_rows(adapted.get(key), expected[key], len(known)) for key in layer_keys):
            number_of = {name: number for number, name in enumerate(known)}
            rows = {i: number_of[name] for i, name in enumerate(classes) if name in number_of}
    loaded = {key: value for key, value in tensors.items() if key not in skipped}
    for name, value in [*loaded.items(), *((key, adapted[key]) for key in layer_keys if rows)]:
        if value.is_floating_point() and not value.is_meta and not value.isfinite().all():
            raise CheckpointError(
                f'{source}: {name} contains NaN or inf, as after a diverged run. Fix: start from other weights.'
            )
    model.load_state_dict(loaded, strict=False)  # adapts the tensors again, so it gets them as they are in the file
    if rows:
        # The other rows keep the small values that the layer starts with. They give scores near those of a class that
        # does not fit, and a few steps set them right; copies of known rows would claim photos of known classes.
        with no_grad():
            for key in layer_keys:
                expected[key][list(rows)] = adapted[key][list(rows.values())].to(expected[key])
        head = _describe_rows([name for i, name in enumerate(class_names) if i not in rows], len(classes), len(known))
    else:
        head = _describe_head(adapted, expected, layer_keys, skipped)
    return WeightsReport(source, len(expected.keys() - skipped), head)


def unwrap_state_dict(content: Mapping[str, Any], *, source: str) -> dict[str, Tensor]:
    """Return the tensors by name in a file's content, bare or under one of `NESTS`, without a ``module.`` prefix.

    Raises:
        CheckpointError: if there are no tensors by name.
    """
    for nest in NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        names = list(content)[:_MAX_KEYS_SHOWN] if isinstance(content, Mapping) else []
        but = f', but {", ".join(map(str, names))}' if names else ''
        raise CheckpointError(f'{source}: holds no tensors by name{but}. Fix: give a file with a state_dict.')
    return {name.removeprefix('module.'): value for name, value in content.items() if isinstance(value, Tensor)}


def _rename_for(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add ``backbone.`` to the names of a bare backbone, and leave out its foreign classification layer."""
    if any(name.startswith('backbone.') for name in tensors):
        return {name: value for name, value in tensors.items() if name.startswith(('backbone.', 'neck.', 'head.'))}
    names = model.backbone.state_dict()
    return {f'backbone.{k}': v for k, v in tensors.items() if k in names or not k.startswith(_FOREIGN_HEADS)}


def _adapt(model: nn.Module, tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return ``tensors`` as loading adapts them: position embeddings for another image size, names of older versions.

    A copy of the model without values loads them, so the hooks of its modules do what they will do in the model.
    """
    memo = {id(p): nn.Parameter(p.to('meta'), requires_grad=False) for p in model.parameters()}
    empty = copy.deepcopy(model, memo | {id(buffer): buffer.to('meta') for buffer in model.buffers()})
    adapted = dict(tensors)
    for name, module in empty.named_modules():
        prefix = f'{name}.' if name else ''
        try:
            module._load_from_state_dict(adapted, prefix, {'assign_to_params_buffers': True}, False, [], [], [])
        except Exception as error:  # in another library's hook, which did not expect such a file
            reason = str(error).partition('\n')[0]
            raise CheckpointError(
                f'{source}: not the weights of this {type(model.backbone).__name__}: its {name} cannot be adapted '
                f'({type(error).__name__}: {reason}). Fix: set `load_from` to weights of this backbone.'
            ) from error
    # Loading adds counters to the norms of an old file. They are not from the file.
    from_file = {id(value) for value in tensors.values()}
    return {name: v for name, v in adapted.items() if id(v) in from_file or not name.endswith(_COMPUTED)}


def _same_shape(key: str, tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return key in tensors and tensors[key].shape == expected[key].shape


def _has_rows(value: Tensor | None, expected: Tensor, number: int) -> bool:
    """Return whether a file's tensor of the layer has a row for each of its ``number`` classes, and they fit."""
    return value is not None and value.shape == (number, *expected.shape[1:])


def _check_fit(
    tensors: dict[str, Tensor], expected: dict[str, Tensor], layer_keys: list[str], source: str, backbone: str
) -> None:
    """Raise a `CheckpointError` unless the file's backbone, and its neck if it has one, are the model's."""

    def is_optional(key: str) -> bool:
        return key.endswith(_COMPUTED) or key.startswith('backbone.AuxLogits.')

    parts = ('backbone.', 'neck.') if any(key.startswith('neck.') for key in tensors) else ('backbone.',)
    needed = [key for key in expected if key.startswith(parts) and key not in layer_keys and not is_optional(key)]
    missing = [key for key in needed if key not in tensors]
    differing = [key for key in needed if key in tensors and not _same_shape(key, tensors, expected)]
    # A ResNet-101 holds all of a ResNet-50 and more: only its surplus tells the two apart.
    surplus = [key for key in tensors if key.startswith(parts) and key not in expected and not is_optional(key)]
    if not (missing or differing or surplus):
        return
    total = sum(expected[key].numel() for key in needed)
    fitting = sum(expected[key].numel() for key in needed if _same_shape(key, tensors, expected))
    shapes = [f'{key} {tuple(tensors[key].shape)}, the model has {tuple(expected[key].shape)}' for key in differing]
    raise CheckpointError(
        f'{source}: not the weights of this {backbone}: {100 * fitting / max(total, 1):.1f} % of its {total:,} values '
        f'match by name and shape; expected all, and nothing left over.\n'
        + _list_some('missing in the file', missing)
        + _list_some('of another shape in the file', shapes)
        + _list_some('only in the file', surplus)
        + '  Likely weights of another architecture, depth or width, or with the names of another library. '
        'Fix: set `load_from` to weights of this backbone, or `model.backbone` to the one they were made for.'
    )


def _list_some(title: str, keys: list[str]) -> str:
    shown = ''.join(f'\n    {key}' for key in keys[:_MAX_KEYS_SHOWN]) + (
        '\n    …' if len(keys) > _MAX_KEYS_SHOWN else ''
    )
    return f'  {title} ({len(keys)}):{shown}\n' if keys else ''


def _describe_head(
    tensors: dict[str, Tensor], expected: dict[str, Tensor], layer_keys: list[str], skipped: set[str]
) -> str:
    if not layer_keys:
        return 'none'
    key = layer_keys[0]
    if key not in skipped:
        return 'loaded'
    classes = len(expected[key])
    if key not in tensors:
        return f'new, {classes} classes'
    before = len(tensors[key])
    return f'new, {before} → {classes} classes' if before != classes else f'new, {classes} other classes'


def _describe_rows(new: list[str], number: int, before: int) -> str:
    """Return which rows were kept.

    Args:
        new: Classes of the model that the file does not know.
        number: Of the model's classes.
        before: Of the file's classes.
    """
    if not new:
        return f'all {number} classes kept, {f"of {before}" if before != number else "in another order"} in the file'
    return f'{number - len(new)} of {number} classes kept, new: {listed(new, _MAX_KEYS_SHOWN)}'


def load_strictly(model: nn.Module, state: dict, path: str | Path) -> None:
    """Give ``model`` every value of ``state``.

    Raises:
        CheckpointError: if a value is missing, left over or of another shape.
    """
    try:
        model.load_state_dict(state, strict=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]] or [str(error)]
        # Cut after whole words: torch names every key of a model.
        lines = [line if len(line) <= 200 else f'{line[:200].rpartition(" ")[0]} ...' for line in lines]
        raise CheckpointError(
            '\n  '.join([f'{path}: is of another model than the config describes:', *lines])
            + '\nFix: use the config.py that lies beside the checkpoint.'
        ) from error


def check_classes(checkpoint: dict, expected: list[str], path: str | Path) -> None:
    """Raise a `CheckpointError` if a checkpoint was trained for other classes than ``expected``."""
    classes = class_names_in(checkpoint)
    if classes is not None and classes != expected:
        raise CheckpointError(
            f'{path}: trained for the classes {", ".join(classes)}; the data has {", ".join(expected)}. '
            'Fix: use the data_root this checkpoint was trained on, or train on this one. To test it on photos of the '
            f'classes that it knows: {tool_command("test", path, "--data", "FOLDER")}'
        )


@contextmanager
def verified_initialisation() -> Iterator[None]:
    """Load ``init_cfg`` checkpoints through our verified, weights-only reader; mmengine would unpickle any download."""

    def load(filename: str, map_location=None, logger=None) -> dict:
        from flowercls.models.weight_files import find_weights

        return read_checkpoint(find_weights(filename), map_location or 'cpu')

    original = vars(CheckpointLoader)['load_checkpoint']
    CheckpointLoader.load_checkpoint = staticmethod(load)
    try:
        yield
    finally:
        CheckpointLoader.load_checkpoint = original
