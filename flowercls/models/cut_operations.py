"""Steps of a backbone's ``forward`` that are not the plain call of a module; named in ``cut_points`` as ``@name``.

An operation is called with the backbone, the tensor, and what the brackets in the table name, looked up: modules and
parameters that belong to this step alone. Token sequences travel as one tensor: (N, tokens, C), or (N, H, W, C) where a
later step needs to know the grid.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from flowercls.core.errors import ConfigError

Operation = Callable[..., Any]
OPERATIONS: dict[str, Operation] = {
    'tuple': lambda _, x: (x,),  # mmpretrain's backbones return one entry per output index
    'relu': lambda _, x: torch.relu(x),
    'flatten': lambda _, x: torch.flatten(x, 1),
    'pool': lambda _, x: nn.functional.adaptive_avg_pool2d(x, 1),
    'class_token': lambda _, x: x[:, 0],
    'transform_input': lambda backbone, x: backbone._transform_input(x),
}


def _operation(function: Operation) -> Operation:
    OPERATIONS[function.__name__] = function
    return function


@_operation
def without_aux(_: nn.Module, x: Tensor) -> tuple[None, Tensor]:
    """What mmpretrain's InceptionV3 returns; the first entry is its auxiliary output, which is switched off."""
    return None, x


@_operation
def gap_norm(backbone: nn.Module, x: Tensor, norm: nn.Module) -> Tensor:
    """The end of mmpretrain's ConvNeXt."""
    if backbone.gap_before_final_norm:
        return norm(x.mean([-2, -1], keepdim=True)).flatten(1)
    return norm(x)


@_operation
def swin_embed(
    backbone: nn.Module, x: Tensor, patch_embed: nn.Module, drop: nn.Module, positions: Any = None
) -> Tensor:
    """Patches of mmpretrain's Swin, (N, H, W, C)."""
    x, grid = patch_embed(x)
    if positions is not None:
        x = x + resize_pos_embed(
            positions, backbone.patch_resolution, grid, backbone.interpolate_mode, backbone.num_extra_tokens
        )
    return drop(x).unflatten(1, grid)


@_operation
def swin_blocks(_: nn.Module, x: Tensor, blocks: nn.Module) -> Tensor:
    grid, x = x.shape[1:3], x.flatten(1, 2)
    for block in blocks:
        x = block(x, grid)
    return x.unflatten(1, grid)


@_operation
def swin_merge(_: nn.Module, x: Tensor, downsample: nn.Module) -> Tensor:
    x, grid = downsample(x.flatten(1, 2), x.shape[1:3])
    return x.unflatten(1, grid)


@_operation
def swin_norm(_: nn.Module, x: Tensor, norm: nn.Module) -> Tensor:
    """The end of mmpretrain's Swin, (N, C, H, W)."""
    return norm(x.flatten(1, 2)).view(x.shape).permute(0, 3, 1, 2).contiguous()


@_operation
def vit_embed(
    backbone: nn.Module,
    x: Tensor,
    patch_embed: nn.Module,
    token: Any,
    positions: Tensor,
    drop: nn.Module,
    norm: nn.Module,
) -> Tensor:
    """Patches, class token and positions of mmpretrain's ViT, (N, tokens, C)."""
    x, grid = patch_embed(x)
    if token is not None:
        x = torch.cat((token.expand(len(x), -1, -1), x), dim=1)
    positions = resize_pos_embed(
        positions,
        backbone.patch_resolution,
        grid,
        mode=backbone.interpolate_mode,
        num_extra_tokens=backbone.num_extra_tokens,
    )
    return norm(drop(x + positions))


@_operation
def vit_output(backbone: nn.Module, x: Tensor, *_: nn.Module) -> Tensor:
    return backbone._format_output(x, None)  # the grid is asked for by 'featmap' only, which the table refuses


@_operation
def torchvision_vit_embed(
    backbone: nn.Module, x: Tensor, _: nn.Module, token: Tensor, positions: Tensor, drop: nn.Module
) -> Tensor:
    """The same of torchvision's ViT; its ``_process_input`` calls the convolution."""
    x = backbone._process_input(x)
    x = torch.cat([token.expand(len(x), -1, -1), x], dim=1)
    return drop(x + positions)


def quarters(layers: nn.Module, name: str) -> list[str]:
    """Four slices of equal length: the stages of a network of equal layers.

    Raises:
        ConfigError: if the depth is no multiple of four.
    """
    step, rest = divmod(len(layers), 4)
    if rest:
        raise ConfigError(f'its {len(layers)} layers cannot be shared out among four stages')
    return [f'{name}[{k * step}:{(k + 1) * step}]' for k in range(4)]
