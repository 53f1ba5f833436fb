"""Where each backbone is cut: the table of architectures, `CUT_POINTS`, and nothing else.

A backbone is a stem, four stages and, where it carries one, a head. Each of these six parts is one short string: the
steps that the backbone's own ``forward`` takes, in its order, each on the output of the one before. A step is

=====================  ===============================================================================================
``layer1``             a submodule, called; ``stages.0`` reaches into containers
``features[2:5]``      the children 2, 3 and 4 of a container, each called
``@tuple``             an entry of `OPERATIONS`: what is not the plain call of a module
``@embed(cls_token)``  the same; the names in brackets are the modules and parameters that belong to it
=====================  ===============================================================================================

So ``'conv1 norm1 relu maxpool'`` is the stem of a ResNet. A stage ends where the resolution halves, mostly at 1/4, 1/8,
1/16 and 1/32 of the image's; a network of equal layers is cut into quarters.

To add a backbone: write its six strings into `CUT_POINTS`, or, where they depend on its arguments, a function of the
built backbone that returns them; and a file into configs/_base_/models. `stages.cut` refuses a row that forgets a
parameter or names it twice, and tests/models/test_backbones.py, which takes every file of that folder, compares the row
with the backbone's own ``forward``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from mmpretrain.models import backbones as mm
from torch import nn
from torchvision import models as tv

from flowercls.core.errors import ConfigError
from flowercls.models.cut_operations import quarters

# The first layer after the stem, stage 1, 2 and 3, the same in mmpretrain and torchvision.
MOBILENET_V3_ENDS = {'small': (1, 2, 4, 9), 'large': (2, 4, 7, 13)}


class CutPoints(NamedTuple):
    """The six parts of one backbone.

    Without a head of its own it still ends with ``@tuple``, for that is what mmpretrain's backbones return.
    ``last_output``, where it takes ``out_indices``, is the index of its last output, the only one it may be asked for.
    """

    stem: str
    stage1: str
    stage2: str
    stage3: str
    stage4: str
    head: str = '@tuple'
    last_output: int | None = None


def _resnet(backbone: mm.ResNet) -> CutPoints:
    stem = 'stem maxpool' if backbone.deep_stem else 'conv1 norm1 relu maxpool'
    return CutPoints(stem, 'layer1', 'layer2', 'layer3', 'layer4', last_output=3)


def _mobilenet_v3(backbone: mm.MobileNetV3) -> CutPoints:
    bounds = [0, *MOBILENET_V3_ENDS[backbone.arch.partition('_')[0]], len(backbone.layers)]
    parts = [' '.join(f'layer{i}' for i in range(*part)) for part in zip(bounds, bounds[1:], strict=False)]
    return CutPoints(*parts, last_output=bounds[-1] - 1)


def _vgg(backbone: mm.VGG) -> CutPoints:
    blocks = [f'{backbone.module_name}[{start}:{stop}]' for start, stop in backbone.range_sub_modules]
    if backbone.num_classes > 0:
        return CutPoints(*blocks, head='@flatten classifier @tuple', last_output=5)
    return CutPoints(*blocks, last_output=4)


def _inception(backbone: nn.Module, first: str = '', last: str = '@without_aux') -> CutPoints:
    if backbone.AuxLogits is not None:
        raise ConfigError('its auxiliary output reads the third stage. Fix: model.backbone.aux_logits=False')
    return CutPoints(
        stem=f'{first} Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 maxpool1',
        stage1='Conv2d_3b_1x1 Conv2d_4a_3x3 maxpool2',
        stage2='Mixed_5b Mixed_5c Mixed_5d',
        stage3='Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e',
        stage4='Mixed_7a Mixed_7b Mixed_7c avgpool',
        head=f'dropout @flatten fc {last}',
    )


def _swin(backbone: mm.SwinTransformer) -> CutPoints:
    if backbone.out_after_downsample:
        raise ConfigError('its output follows a downsampling. Fix: model.backbone.out_after_downsample=False')
    positions = ' absolute_pos_embed' if backbone.use_abs_pos_embed else ''
    merged = [f'@swin_merge(stages.{i}.downsample) @swin_blocks(stages.{i + 1}.blocks)' for i in range(3)]
    return CutPoints(
        f'@swin_embed(patch_embed drop_after_pos{positions})',
        '@swin_blocks(stages.0.blocks)',
        *merged[:2],
        f'{merged[2]} @swin_norm(norm3)',
        last_output=3,
    )


def _vit(backbone: mm.VisionTransformer) -> CutPoints:
    if backbone.out_type == 'featmap':
        raise ConfigError("its output is a map. Fix: model.backbone.out_type='cls_token' or 'avg_featmap'")
    stages = quarters(backbone.layers, 'layers')
    norm = 'ln1 ' if backbone.final_norm else ''
    owned = '(ln2)' if backbone.out_type == 'avg_featmap' else ''
    return CutPoints(
        '@vit_embed(patch_embed cls_token pos_embed drop_after_pos pre_norm)',
        *stages[:3],
        f'{stages[3]} {norm}@vit_output{owned}',
        last_output=len(backbone.layers) - 1,
    )


def _torchvision_vgg(backbone: tv.VGG) -> CutPoints:
    ends = [i + 1 for i, layer in enumerate(backbone.features) if isinstance(layer, nn.MaxPool2d)]
    blocks = [f'features[{start}:{stop}]' for start, stop in zip([0, *ends], ends, strict=False)]
    return CutPoints(*blocks[:4], f'{blocks[4]} avgpool @flatten', head='classifier @tuple')


def _torchvision_vit(backbone: tv.VisionTransformer) -> CutPoints:
    stages = quarters(backbone.encoder.layers, 'encoder.layers')
    embed = '@torchvision_vit_embed(conv_proj class_token encoder.pos_embedding encoder.dropout)'
    return CutPoints(embed, *stages[:3], f'{stages[3]} encoder.ln @class_token', head='heads @tuple')


def _features(*bounds: int, tail: str = 'avgpool @flatten', head: str = 'classifier @tuple') -> CutPoints:
    """A torchvision network in one container ``features``: where the first four parts end, and what follows."""
    *parts, last = [f'features[{start}:{stop}]' for start, stop in zip([0, *bounds], [*bounds, ''], strict=True)]
    return CutPoints(*parts, f'{last} {tail}', head=head)


Row = CutPoints | Callable[[Any], CutPoints]
# A subclass (ResNeXt, SE-ResNet, Res2Net, …) is cut as its base, unless it has a `forward` of its own.
CUT_POINTS: dict[type[nn.Module], Row] = {
    mm.ResNet: _resnet,
    mm.DenseNet: CutPoints(
        stem='stem',
        stage1='stages.0 transitions.0',
        stage2='stages.1 transitions.1',
        stage3='stages.2 transitions.2',
        stage4='stages.3 transitions.3',  # the last "transition" is the final norm
        last_output=3,
    ),
    mm.MobileNetV2: CutPoints(
        stem='conv1 layer1',
        stage1='layer2',
        stage2='layer3',
        stage3='layer4 layer5',
        stage4='layer6 layer7 conv2',
        last_output=7,
    ),
    mm.MobileNetV3: _mobilenet_v3,
    mm.InceptionV3: _inception,
    mm.VGG: _vgg,
    mm.EfficientNet: CutPoints('layers[0:2]', 'layers[2:3]', 'layers[3:4]', 'layers[4:5]', 'layers[5:]', last_output=6),
    mm.EfficientNetV2: lambda backbone: CutPoints(
        'layers[0:2]', 'layers[2:3]', 'layers[3:4]', 'layers[4:6]', 'layers[6:]', last_output=len(backbone.layers) - 1
    ),
    mm.ConvNeXt: CutPoints(
        stem='downsample_layers.0',
        stage1='stages.0',
        stage2='downsample_layers.1 stages.1',
        stage3='downsample_layers.2 stages.2',
        stage4='downsample_layers.3 stages.3 @gap_norm(norm3)',
        last_output=3,
    ),
    mm.SwinTransformer: _swin,
    mm.VisionTransformer: _vit,
    tv.ResNet: CutPoints(
        'conv1 bn1 relu maxpool', 'layer1', 'layer2', 'layer3', 'layer4 avgpool @flatten', head='fc @tuple'
    ),
    tv.DenseNet: _features(4, 6, 8, 10, tail='@relu @pool @flatten'),
    tv.MobileNetV2: _features(2, 4, 7, 14, tail='@pool @flatten'),
    tv.MobileNetV3: lambda backbone: _features(
        *MOBILENET_V3_ENDS['small' if len(backbone.features) == 13 else 'large']
    ),
    tv.Inception3: lambda backbone: _inception(backbone, '@transform_input', '@tuple'),
    tv.VGG: _torchvision_vgg,
    tv.EfficientNet: _features(2, 3, 4, 6),  # V2 as well: its further layers are all in stage 4
    tv.ConvNeXt: _features(1, 2, 4, 6, tail='avgpool classifier.0', head='classifier[1:] @tuple'),
    tv.SwinTransformer: _features(1, 2, 4, 6, tail='norm permute avgpool flatten', head='head @tuple'),
    tv.VisionTransformer: _torchvision_vit,
}


def find_cut_points(backbone: nn.Module) -> CutPoints | None:
    """The row of `CUT_POINTS` for a built backbone, or None if it has none.

    Raises:
        ConfigError: if the way the backbone was built has no four stages.
    """
    for architecture, row in CUT_POINTS.items():
        # Without the second question RegNet, a subclass of ResNet with another stem, would be cut wrongly.
        if isinstance(backbone, architecture) and type(backbone).forward is architecture.forward:
            return row(backbone) if callable(row) else row
    return None


def supported_backbones() -> list[str]:
    """Names of the architectures that can be cut, sorted."""
    return sorted({architecture.__name__ for architecture in CUT_POINTS})
