"""Every family of backbones in a tiny size, ours and torchvision's."""

from functools import partial

import torch
from mmpretrain.registry import MODELS
from torchvision import models as tv
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig

from flowercls.models.backbones.torchvision_backbone import torchvision_backbone
from helpers.model_configs import TINY_BACKBONES

SIZE = 64  # pixels
# mmpretrain's backbones and the number of channels they end with; drop-path is on where there is any.
MMPRETRAIN = dict(
    TINY_BACKBONES,
    MobileNetV3=(dict(type='MobileNetV3', arch='small_050'), 288),
    EfficientNet=(dict(type='EfficientNet', arch='b0', drop_path_rate=0.2), 1280),
    EfficientNetV2=(dict(type='EfficientNetV2', arch='b0', drop_path_rate=0.2), 1280),
    VGG=(dict(type='VGG', depth=11, norm_cfg=dict(type='BN')), 512),
    ConvNeXt=(dict(type='ConvNeXt', arch=dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32]), drop_path_rate=0.2), 32),
    SwinTransformer=(
        dict(type='SwinTransformer', arch=dict(embed_dims=12, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8]),
             img_size=SIZE, window_size=2, drop_path_rate=0.2, use_abs_pos_embed=True), 96),
    VisionTransformer=(
        dict(type='VisionTransformer', arch=dict(embed_dims=24, num_layers=4, num_heads=2, feedforward_channels=48),
             img_size=SIZE, drop_path_rate=0.2), 24),
)  # fmt: skip
ALREADY_FLAT = ('ConvNeXt', 'VisionTransformer')


def _efficientnet():
    # Strides as in B0, with one layer of few channels in each of its seven blocks.
    strides, channels = (1, 2, 2, 2, 1, 2, 1), (8, 8, 8, 12, 16, 16, 24, 24)
    block = partial(MBConvConfig, 2, 3, num_layers=1, depth_mult=1.0, width_mult=1.0)
    steps = zip(strides, channels[:-1], channels[1:], strict=True)
    settings = [block(stride=stride, input_channels=i, out_channels=o) for stride, i, o in steps]
    return tv.EfficientNet(settings, dropout=0.2, stochastic_depth_prob=0.2, num_classes=5)


def _vgg():
    features = tv.vgg.make_layers([8, 'M'] * 5, batch_norm=True)
    with torch.device('meta'):  # its own classifier has 120 million values
        network = tv.VGG(features, init_weights=False)
    network.classifier = torch.nn.Sequential(torch.nn.Linear(8 * 49, 16), torch.nn.Dropout(), torch.nn.Linear(16, 5))
    return network


def _convnext():
    blocks = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 1), CNBlockConfig(24, 32, 2), CNBlockConfig(32, None, 1)]
    return tv.ConvNeXt(blocks, stochastic_depth_prob=0.2, num_classes=5)


TORCHVISION = dict(
    ResNet=lambda: tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5),
    DenseNet=lambda: tv.DenseNet(8, (2, 2, 2, 2), 16, drop_rate=0.2, num_classes=5),
    MobileNetV2=lambda: tv.MobileNetV2(width_mult=0.25, num_classes=5),
    MobileNetV3=lambda: torchvision_backbone('mobilenet_v3_small', num_classes=5),
    EfficientNet=_efficientnet,
    VGG=_vgg,
    ConvNeXt=_convnext,
    SwinTransformer=lambda: tv.SwinTransformer(
        [4, 4], 12, [2, 2, 2, 2], [1, 2, 4, 8], [2, 2], stochastic_depth_prob=0.2, num_classes=5
    ),
    VisionTransformer=lambda: tv.VisionTransformer(SIZE, 16, 4, 2, 24, 48, dropout=0.2, num_classes=5),
)
FAMILIES = [*MMPRETRAIN, *(f'torchvision {name}' for name in TORCHVISION)]


def build(family, frozen=0, seed=0, precision='fp32'):
    torch.manual_seed(seed)
    parts = _torchvision_parts(family) if family.startswith('torchvision ') else _mmpretrain_parts(family)
    options = dict(precision=precision, channels_last=False, frozen_stages=frozen)
    return MODELS.build(dict(type='StagedClassifier', **parts, **options))


def _mmpretrain_parts(family):
    backbone, channels = MMPRETRAIN[family]
    neck = None if family in ALREADY_FLAT else dict(type='GlobalAveragePooling')
    head = dict(type='LinearClsHead', num_classes=5, in_channels=channels)
    return dict(backbone=backbone, neck=neck, head=head)


def _torchvision_parts(family):
    network = TORCHVISION[family.removeprefix('torchvision ')]()
    if not network._forward_hooks:  # TorchvisionBackbone has its own
        network.register_forward_hook(lambda module, inputs, scores: (scores,))
    return dict(backbone=network, head=dict(type='ClsHead'))


def photos(count=2, size=SIZE):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
