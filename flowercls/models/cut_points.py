"""Where each backbone is cut: the table of architectures, `CUT_POINTS`, and the operations that its rows name.

A backbone is a stem, four stages and, where it has one, a head. Each of these six parts is one short string: the steps
that the backbone's own ``forward`` takes, in its order. Each step takes the output of the step before it. A step is

=====================  ===============================================================================================
``layer1``             a submodule, called; ``stages.0`` reaches into containers
``features[2:5]``      the children 2, 3 and 4 of a container, each called
``@tuple``             an entry of `OPERATIONS`: a step that is not the plain call of a module
``@embed(cls_token)``  the same; the names in brackets are the modules and parameters that belong to this step
=====================  ===============================================================================================

So ``'conv1 norm1 relu maxpool'`` is the stem of a ResNet. A stage ends where the resolution halves, mostly at 1/4, 1/8,
1/16 and 1/32 of the image's. A network of equal layers is cut into quarters.

To add a backbone, write its six strings into `CUT_POINTS`. Where they depend on its arguments, write a function of the
built backbone that returns them. Then add a file to configs/_base_/models and a line to configs/README.md.
`stages.cut` refuses a row that forgets a parameter or names it twice. tests/models/test_backbones.py takes every file
of that folder, compares its row with the backbone's own ``forward``, and asks for the published number of values.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmpretrain.models import backbones as mm
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn
from torchvision import models as tv

from flowercls.core.errors import ConfigError

# The first layer after the stem, stage 1, 2 and 3, the same in mmpretrain and torchvision.
MOBILENET_V3_ENDS = {'small': (1, 2, 4, 9), 'large': (2, 4, 7, 13)}


class CutPoints(NamedTuple):
    """The six parts of one backbone, and the index of its last output if it takes ``out_indices``.

    A backbone without a head ends with ``@tuple``: mmpretrain's backbones return a tuple.
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


def _quarters(layers: nn.Module, name: str) -> list[str]:
    """Return four slices of equal length: the stages of a network of equal layers."""
    step, rest = divmod(len(layers), 4)
    if rest:
        raise ConfigError(f'its {len(layers)} layers are not a multiple of four. Fix: another depth')
    return [f'{name}[{k * step}:{(k + 1) * step}]' for k in range(4)]


def _vit(backbone: mm.VisionTransformer) -> CutPoints:
    if backbone.out_type == 'featmap':
        raise ConfigError("its output is a map. Fix: model.backbone.out_type='cls_token' or 'avg_featmap'")
    stages = _quarters(backbone.layers, 'layers')
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
    stages = _quarters(backbone.encoder.layers, 'encoder.layers')
    embed = '@torchvision_vit_embed(conv_proj class_token encoder.pos_embedding encoder.dropout)'
    return CutPoints(embed, *stages[:3], f'{stages[3]} encoder.ln @class_token', head='heads @tuple')


def _features(*bounds: int, tail: str = 'avgpool @flatten', head: str = 'classifier @tuple') -> CutPoints:
    """Return the row of a torchvision network in one container, ``features``, whose first parts end at ``bounds``."""
    *parts, last = [f'features[{start}:{stop}]' for start, stop in zip([0, *bounds], [*bounds, ''], strict=True)]
    return CutPoints(*parts, f'{last} {tail}', head=head)


Row = CutPoints | Callable[[Any], CutPoints]
# A subclass (ResNeXt, SE-ResNet, Res2Net, …) is cut as its base, unless it has a `forward` of its own.
CUT_POINTS: dict[type[nn.Module], Row] = {
    mm.ResNet: _resnet,
    # The last "transition" is the final norm.
    mm.DenseNet: CutPoints('stem', *[f'stages.{i} transitions.{i}' for i in range(4)], last_output=3),
    mm.MobileNetV2: CutPoints(
        'conv1 layer1', 'layer2', 'layer3', 'layer4 layer5', 'layer6 layer7 conv2', last_output=7
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
    """Return the row of `CUT_POINTS` for a built backbone, or None if it has none.

    Raises:
        ConfigError: if the way the backbone was built has no four stages.
    """
    for architecture, row in CUT_POINTS.items():
        # RegNet is a subclass of ResNet with another stem and a forward of its own: it must not be cut as a ResNet.
        if isinstance(backbone, architecture) and type(backbone).forward is architecture.forward:
            return row(backbone) if callable(row) else row
    return None


# An operation takes the backbone, the tensor, and the modules and parameters that the brackets in the table name.
# Token sequences are one tensor: (N, tokens, C), or (N, H, W, C) where a later step needs the grid.


def gap_norm(backbone: nn.Module, x: Tensor, norm: nn.Module) -> Tensor:
    """Pool and normalise: the end of mmpretrain's ConvNeXt."""
    if backbone.gap_before_final_norm:
        return norm(x.mean([-2, -1], keepdim=True)).flatten(1)
    return norm(x)


def swin_embed(
    backbone: nn.Module, x: Tensor, patch_embed: nn.Module, drop: nn.Module, positions: Tensor | None = None
) -> Tensor:
    """Embed the patches of mmpretrain's Swin, (N, H, W, C)."""
    x, grid = patch_embed(x)
    if positions is not None:
        x = x + resize_pos_embed(
            positions, backbone.patch_resolution, grid, backbone.interpolate_mode, backbone.num_extra_tokens
        )
    return drop(x).unflatten(1, grid)


def swin_blocks(_: nn.Module, x: Tensor, blocks: nn.Module) -> Tensor:
    grid, x = x.shape[1:3], x.flatten(1, 2)
    for block in blocks:
        x = block(x, grid)
    return x.unflatten(1, grid)


def swin_merge(_: nn.Module, x: Tensor, downsample: nn.Module) -> Tensor:
    x, grid = downsample(x.flatten(1, 2), x.shape[1:3])
    return x.unflatten(1, grid)


def swin_norm(_: nn.Module, x: Tensor, norm: nn.Module) -> Tensor:
    """Normalise and put channels first: the end of mmpretrain's Swin, (N, C, H, W)."""
    return norm(x.flatten(1, 2)).view(x.shape).permute(0, 3, 1, 2).contiguous()


def vit_embed(
    backbone: nn.Module,
    x: Tensor,
    patch_embed: nn.Module,
    token: Any,
    positions: Tensor,
    drop: nn.Module,
    norm: nn.Module,
) -> Tensor:
    """Embed patches, class token and positions of mmpretrain's ViT, (N, tokens, C)."""
    x, grid = patch_embed(x)
    if token is not None:
        x = torch.cat((token.expand(len(x), -1, -1), x), dim=1)
    positions = resize_pos_embed(
        positions, backbone.patch_resolution, grid, backbone.interpolate_mode, backbone.num_extra_tokens
    )
    return norm(drop(x + positions))


def torchvision_vit_embed(
    backbone: nn.Module, x: Tensor, _: nn.Module, token: Tensor, positions: Tensor, drop: nn.Module
) -> Tensor:
    """Embed patches, class token and positions of torchvision's ViT; `_process_input` calls the convolution."""
    x = backbone._process_input(x)
    return drop(torch.cat([token.expand(len(x), -1, -1), x], dim=1) + positions)


Operation = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {
    'tuple': lambda _, x: (x,),  # mmpretrain's backbones return one entry per output index
    'relu': lambda _, x: torch.relu(x),
    'flatten': lambda _, x: torch.flatten(x, 1),
    'pool': lambda _, x: nn.functional.adaptive_avg_pool2d(x, 1),
    'class_token': lambda _, x: x[:, 0],
    'transform_input': lambda backbone, x: backbone._transform_input(x),
    'without_aux': lambda _, x: (None, x),  # mmpretrain's InceptionV3; None stands for its auxiliary output
    # Only 'featmap', which the table refuses, needs the grid that None stands for.
    'vit_output': lambda backbone, x, *_: backbone._format_output(x, None),
}
_functions = (gap_norm, swin_embed, swin_blocks, swin_merge, swin_norm, vit_embed, torchvision_vit_embed)
OPERATIONS |= {function.__name__: function for function in _functions}
