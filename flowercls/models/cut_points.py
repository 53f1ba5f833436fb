"""Where each backbone is cut: the table of architectures, and nothing else.

A backbone is a stem, four stages and, where it carries one, a head. Each of these six parts is one short string: the
steps that the backbone's own ``forward`` takes, in its order, on one tensor. A step is

=====================  ===============================================================================================
``layer1``             a submodule, called; ``stages.0`` reaches into containers
``features[2:5]``      the children 2, 3 and 4 of a container, each called
``@tuple``             an entry of `OPERATIONS`: what is not the plain call of a module
``@embed(cls_token)``  the same; the names in brackets are the modules and parameters that belong to it
=====================  ===============================================================================================

To add a backbone: write its six strings into `CUT_POINTS`, or a function of the built backbone that returns them where
they depend on its arguments. `stages.cut` refuses a row that forgets a parameter or names it twice, and
tests/models/test_stages.py compares every row with the backbone's own ``forward``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from mmpretrain.models.backbones import DenseNet, MobileNetV2, ResNet
from torch import nn


class CutPoints(NamedTuple):
    """The six parts of one backbone, and which entry of its ``out_indices`` is its last output."""

    stem: str
    stage1: str
    stage2: str
    stage3: str
    stage4: str
    head: str
    last_output: int


OPERATIONS: dict[str, Callable[[nn.Module, Any], Any]] = {
    'tuple': lambda backbone, x: (x,),  # mmpretrain's backbones return one entry per output index
}


def _resnet(backbone: ResNet) -> CutPoints:
    stem = 'stem maxpool' if backbone.deep_stem else 'conv1 norm1 relu maxpool'
    return CutPoints(stem, 'layer1', 'layer2', 'layer3', 'layer4', '@tuple', last_output=3)


# A subclass (ResNeXt, SE-ResNet, …) is cut as its base, unless it has a `forward` of its own.
CUT_POINTS: dict[type[nn.Module], CutPoints | Callable[[Any], CutPoints]] = {
    ResNet: _resnet,
    DenseNet: CutPoints(
        stem='stem',
        stage1='stages.0 transitions.0',
        stage2='stages.1 transitions.1',
        stage3='stages.2 transitions.2',
        stage4='stages.3 transitions.3',  # the last "transition" is the final norm
        head='@tuple',
        last_output=3,
    ),
    MobileNetV2: CutPoints(
        stem='conv1 layer1',
        stage1='layer2',
        stage2='layer3',
        stage3='layer4 layer5',
        stage4='layer6 layer7 conv2',
        head='@tuple',
        last_output=7,
    ),
}


def find_cut_points(backbone: nn.Module) -> CutPoints | None:
    """The row of `CUT_POINTS` for a built backbone, or None if it has none."""
    for architecture, row in CUT_POINTS.items():
        # Without the second question RegNet, a subclass of ResNet with another stem, would be cut wrongly.
        if isinstance(backbone, architecture) and type(backbone).forward is architecture.forward:
            return row(backbone) if callable(row) else row
    return None


def supported_backbones() -> list[str]:
    """Names of the architectures that can be cut, sorted."""
    return sorted(architecture.__name__ for architecture in CUT_POINTS)
