"""Every backbone as a stem, four stages and, where it has one, a head.

`cut` turns a built backbone into a `StagedBackbone`, which runs its first parts (`prefix`) and the rest (`suffix`)
separately: ``suffix(prefix(x, n), n)`` is ``backbone(x)`` bit for bit. Freezing, learning rates per stage, the model
summary and the feature cache build on it. Where each architecture is cut stands in ``cut_points``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import Tensor, nn

from flowercls.core.errors import ConfigError
from flowercls.models.cut_points import CUT_POINTS, OPERATIONS, find_cut_points

PARTS = ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'head')

_STEP = re.compile(
    r'@(?P<operation>\w+)(?:\((?P<owned>[^)]*)\))?|(?P<path>[\w.]+)(?:\[(?P<start>\d*):(?P<stop>\d*)\])?'
)


@dataclass(frozen=True)
class Step:
    """One step of a part: the call of the module at ``paths[0]``, or an operation on everything at ``paths``."""

    paths: tuple[str, ...]
    operation: str | None = None

    def run(self, backbone: nn.Module, x: Any) -> Any:
        if self.operation:
            return OPERATIONS[self.operation](backbone, x, *(_at(backbone, path) for path in self.paths))
        return _at(backbone, self.paths[0])(x)


class StagedBackbone:
    """A backbone in six parts, `PARTS`; made by `cut`.

    Steps hold paths instead of modules, and look them up at every call. So a copied model runs its own modules, and so
    does a model whose norm layers were replaced by synchronised ones.
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
        """Run the parts that `prefix` with the same ``n`` leaves out, and return what the backbone returns."""
        return self._run(z, PARTS[n + 1 :])

    def run(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run all parts, in any memory layout; the backbone's own ``forward`` may need torch's default (VGG does)."""
        return self._run(x, PARTS)

    def run_part(self, x: Any, part: str) -> Any:
        """Run one part on the output of the part before it."""
        return self._run(x, (part,))

    def _run(self, x: Any, parts: tuple[str, ...]) -> Any:
        for part in parts:
            for step in self.parts[part]:
                x = step.run(self.backbone, x)
        return x

    def modules_of(self, part: str) -> dict[str, nn.Module]:
        """Return the modules of one part by their path in the backbone: the outermost ones, not their children."""
        return {path: owned for path, owned in self._owned_by(part) if isinstance(owned, nn.Module)}

    def parameters_of(self, part: str) -> dict[str, nn.Parameter]:
        """Return the parameters of one part by their name in the backbone."""
        return {name: tensor for name, tensor in self.state_of(part).items() if isinstance(tensor, nn.Parameter)}

    def state_of(self, part: str) -> dict[str, Tensor]:
        """Return the parameters, then the buffers, of one part by their name in the backbone."""
        here = {id(tensor) for tensor in self._tensors_of(part)}
        return {name: tensor for name, tensor in _named_tensors(self.backbone) if id(tensor) in here}

    def _owned_by(self, part: str) -> Iterator[tuple[str, nn.Module | Tensor | None]]:
        for step in self.parts[part]:
            for path in step.paths:
                yield path, _at(self.backbone, path)

    def _tensors_of(self, part: str) -> Iterator[Tensor]:
        for _, owned in self._owned_by(part):
            if isinstance(owned, nn.Module):
                yield from (tensor for _, tensor in _named_tensors(owned))
            elif owned is not None:  # a class token that is switched off
                yield owned


def cut(backbone: nn.Module) -> StagedBackbone:
    """Cut a built backbone into its six parts.

    Raises:
        ConfigError: if the architecture is not in the table, does not match its row, or returns anything but its
            last output.
    """
    name = type(backbone).__name__
    try:
        points = find_cut_points(backbone)
    except ConfigError as error:
        raise ConfigError(f'backbone {name} cannot be cut into stages: {error}, or `model.frozen_stages=0`.') from error
    if points is None:
        known = ', '.join(sorted({architecture.__name__ for architecture in CUT_POINTS}))
        raise ConfigError(
            f'backbone {name} cannot be cut into stages, so it can only be used with `model.frozen_stages=0`. '
            f'These can be cut: {known}, and subclasses of them that keep their forward().'
        )
    outputs = getattr(backbone, 'out_indices', None)
    if None not in (outputs, points.last_output) and tuple(outputs) != (points.last_output,):
        raise ConfigError(
            f'`model.backbone.out_indices` is {tuple(outputs)}; with frozen stages a {name} returns only its last '
            f'output. Fix: out_indices=({points.last_output},), or `model.frozen_stages=0`.'
        )
    try:
        parts = {part: tuple(_parse(backbone, text)) for part, text in zip(PARTS, points[:6], strict=True)}
    except AttributeError as error:
        raise ConfigError(
            f'backbone {name}: {error}. Freezing needs the full network with four stages. '
            'Fix: use `model.frozen_stages=0`, or a backbone with four stages.'
        ) from error
    staged = StagedBackbone(backbone, parts)
    _check_everything_owned_once(staged)
    return staged


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


def _check_everything_owned_once(staged: StagedBackbone) -> None:
    owners: dict[int, set[str]] = {}
    for part in PARTS:
        for tensor in staged._tensors_of(part):
            owners.setdefault(id(tensor), set()).add(part)
    for name, tensor in _named_tensors(staged.backbone):
        parts = owners.get(id(tensor), set())
        if len(parts) != 1:
            raise ConfigError(
                f'backbone {type(staged.backbone).__name__} does not match its row in flowercls/models/cut_points.py: '
                f'`{name}` belongs to {" and ".join(sorted(parts)) or "no part"}, expected exactly one. '
                'Fix: use `model.frozen_stages=0`, or correct the row.'
            )


def _named_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _at(backbone: nn.Module, path: str) -> Any:
    # Not get_submodule: ResNet's `norm1` is a property, and an operation may own a parameter.
    return reduce(getattr, path.split('.'), backbone)
