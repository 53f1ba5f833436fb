"""Every backbone as stem, four stages and (where it carries one) a head.

`cut` turns a built backbone into a `StagedBackbone`, which runs its first parts (`prefix`) and the rest (`suffix`)
separately: ``suffix(prefix(x, n), n)`` is ``backbone(x)`` bit for bit. Freezing, learning rates per stage, the stage
table and the cache of frozen features all build on it. Where each architecture is cut stands in ``cut_points``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import Tensor, nn

from flowercls.core.errors import ConfigError
from flowercls.models.cut_operations import OPERATIONS
from flowercls.models.cut_points import CutPoints, find_cut_points, supported_backbones

PARTS = ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'head')

_STEP = re.compile(
    r'@(?P<operation>\w+)(?:\((?P<owned>[^)]*)\))?|(?P<path>[\w.]+)(?:\[(?P<start>\d*):(?P<stop>\d*)\])?'
)


@dataclass(frozen=True)
class Step:
    """One step of a part: the call of the module at ``paths[0]``, or an operation that owns what is at ``paths``."""

    paths: tuple[str, ...]
    operation: str | None = None

    def run(self, backbone: nn.Module, x: Any) -> Any:
        if self.operation:
            return OPERATIONS[self.operation](backbone, x, *(_at(backbone, path) for path in self.paths))
        return _at(backbone, self.paths[0])(x)


class StagedBackbone:
    """A backbone in six parts, `PARTS`; made by `cut`.

    Steps keep paths instead of modules and look them up at every call: so a copied model, or one whose norm layers
    were exchanged for synchronised ones, runs its own modules.
    """

    def __init__(self, backbone: nn.Module, parts: dict[str, tuple[Step, ...]]) -> None:
        self.backbone = backbone
        self.parts = parts

    def prefix(self, x: Tensor, n: int) -> Tensor:
        """Run the stem and the first ``n`` stages.

        Args:
            x: Images, shape (N, 3, H, W).
            n: Number of stages, 0..4; 0 is the stem alone.
        """
        return self._run(x, PARTS[: n + 1])

    def suffix(self, z: Tensor, n: int) -> tuple[Tensor, ...]:
        """Run what `prefix` with the same ``n`` left out; returns what the backbone returns."""
        return self._run(z, PARTS[n + 1 :])

    def run(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run all parts: what the backbone's own ``forward`` gives, in any memory layout (VGG's needs torch's own)."""
        return self._run(x, PARTS)

    def run_part(self, x: Any, part: str) -> Any:
        """Run one part on the output of the part before it."""
        return self._run(x, (part,))

    def modules_of(self, part: str) -> dict[str, nn.Module]:
        """The modules of one part by their path in the backbone (the outermost ones, not their children)."""
        return {path: owned for path, owned in self._owned_by(part) if isinstance(owned, nn.Module)}

    def parameters_of(self, part: str) -> dict[str, nn.Parameter]:
        """The parameters of one part by their name in the backbone."""
        here = {id(tensor) for tensor in self._tensors_of(part)}
        return {name: parameter for name, parameter in self.backbone.named_parameters() if id(parameter) in here}

    def part_by_parameter(self) -> dict[str, str]:
        """The part of every parameter, by the parameter's name in the backbone."""
        return {name: part for part in PARTS for name in self.parameters_of(part)}

    def state_of(self, part: str) -> dict[str, Tensor]:
        """Parameters and buffers of one part by their name in the backbone."""
        here = {id(tensor) for tensor in self._tensors_of(part)}
        every = [*self.backbone.named_parameters(), *self.backbone.named_buffers()]
        return {name: tensor for name, tensor in every if id(tensor) in here}

    def _run(self, x: Any, parts: tuple[str, ...]) -> Any:
        for part in parts:
            for step in self.parts[part]:
                x = step.run(self.backbone, x)
        return x

    def _owned_by(self, part: str) -> Iterator[tuple[str, nn.Module | Tensor | None]]:
        for step in self.parts[part]:
            for path in step.paths:
                yield path, _at(self.backbone, path)

    def _tensors_of(self, part: str) -> Iterator[Tensor]:
        """Parameters and buffers of one part."""
        for _, owned in self._owned_by(part):
            if isinstance(owned, nn.Module):
                yield from owned.parameters()
                yield from owned.buffers()
            elif owned is not None:  # a class token that is switched off
                yield owned


def cut(backbone: nn.Module) -> StagedBackbone:
    """Cut a built backbone into its six parts.

    Raises:
        ConfigError: if the architecture is not in the table, does not match its row, or returns anything but its
            last output.
    """
    points = _points_of(backbone)
    _check_outputs(backbone, points)
    try:
        parts = {part: tuple(_parse(backbone, text)) for part, text in zip(PARTS, points[:6], strict=True)}
    except AttributeError as error:
        raise ConfigError(
            f'backbone {type(backbone).__name__}: {error}. Freezing needs the full network with four stages. '
            'Fix: use `model.frozen_stages=0`, or a backbone with four stages.'
        ) from error
    staged = StagedBackbone(backbone, parts)
    _check_everything_owned_once(staged)
    return staged


def _points_of(backbone: nn.Module) -> CutPoints:
    name = type(backbone).__name__
    try:
        points = find_cut_points(backbone)
    except ConfigError as error:
        raise ConfigError(f'backbone {name} cannot be cut into stages: {error}, or `model.frozen_stages=0`.') from error
    if points is None:
        raise ConfigError(
            f'backbone {name} cannot be cut into stages, so it can only be used with `model.frozen_stages=0`. '
            f'Those that can: {", ".join(supported_backbones())}; and subclasses of them that keep their forward().'
        )
    return points


def _parse(backbone: nn.Module, text: str) -> Iterator[Step]:
    for match in _STEP.finditer(text):
        if match['operation']:
            yield Step(tuple((match['owned'] or '').split()), match['operation'])
        elif match['start'] is None:
            _at(backbone, match['path'])  # raises now, not in the middle of an epoch
            yield Step((match['path'],))
        else:
            bounds = slice(int(match['start'] or 0), int(match['stop']) if match['stop'] else None)
            children = [name for name, _ in _at(backbone, match['path']).named_children()]
            yield from (Step((f'{match["path"]}.{name}',)) for name in children[bounds])


def _check_outputs(backbone: nn.Module, points: CutPoints) -> None:
    outputs = getattr(backbone, 'out_indices', None)
    if None not in (outputs, points.last_output) and tuple(outputs) != (points.last_output,):
        raise ConfigError(
            f'`model.backbone.out_indices` is {tuple(outputs)}; a {type(backbone).__name__} with frozen stages returns '
            f'its last output only. Fix: out_indices=({points.last_output},), or `model.frozen_stages=0`.'
        )


def _check_everything_owned_once(staged: StagedBackbone) -> None:
    owners: dict[int, set[str]] = {}
    for part in PARTS:
        for tensor in staged._tensors_of(part):
            owners.setdefault(id(tensor), set()).add(part)
    backbone = staged.backbone
    for name, tensor in [*backbone.named_parameters(), *backbone.named_buffers()]:
        parts = owners.get(id(tensor), set())
        if len(parts) != 1:
            raise ConfigError(
                f'backbone {type(backbone).__name__} does not match its row in flowercls/models/cut_points.py: '
                f'`{name}` belongs to {" and ".join(sorted(parts)) or "no part"}, expected exactly one. '
                'Fix: use `model.frozen_stages=0`, or mend the row.'
            )


def _at(backbone: nn.Module, path: str) -> Any:
    # Not get_submodule: ResNet's `norm1` is a property, and an operation may own a parameter.
    return reduce(getattr, path.split('.'), backbone)
