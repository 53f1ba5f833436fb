"""Every backbone of configs/_base_/models, in its real size: cut, frozen and counted."""

import pytest
import torch
from mmpretrain.registry import MODELS

from flowercls.models.freezing import classification_layer
from flowercls.models.stages import PARTS, cut
from helpers.model_configs import NAMES, build_real, real_on_meta

# The smallest image that the network takes, in pixels; 64 where nothing is said.
SMALLEST = dict(inception_v3=75, torchvision_inception_v3=75, vit_base_p16=224, torchvision_vit_b_16=224, swin_tiny=224)
SMALLEST |= dict(vgg11=224, vgg11_bn=224, torchvision_swin_t=32)
# Bit for bit at every run: one of each family, as far as it is light; test_families has small ones of all families.
LIGHT = ('resnet18', 'densenet121', 'mobilenet_v2', 'mobilenet_v3_small', 'efficientnet_b0', 'efficientnet_v2_b0')
LIGHT += ('deit_small', 'torchvision_resnet18', 'torchvision_densenet121', 'torchvision_mobilenet_v3_large')
LIGHT += ('torchvision_efficientnet_b0',)
TRAINED = ('mobilenet_v3_small',)
# Number of values with a classification layer of 1,000 classes. Of torchvision's networks and mmpretrain's that are the
# same: `weights.meta['num_params']` of torchvision 0.29; of inception_v3, there counted with the auxiliary classifier,
# and of efficientnet_v2_b0 and deit_small: the metafile.yml of mmpretrain 1.2.0.
PUBLISHED = dict(
    resnet18=11_689_512, resnet34=21_797_672, resnet50=25_557_032, resnet101=44_549_160, resnet152=60_192_808,
    resnext50_32x4d=25_028_904, densenet121=7_978_856, densenet161=28_681_000, densenet169=14_149_480,
    densenet201=20_013_928, mobilenet_v2=3_504_872, mobilenet_v3_small=2_542_856, mobilenet_v3_large=5_483_032,
    inception_v3=23_834_568, vgg11=132_863_336, vgg11_bn=132_868_840, efficientnet_b0=5_288_548,
    efficientnet_v2_b0=7_139_704, efficientnet_v2_s=21_458_488, convnext_tiny=28_589_128, swin_tiny=28_288_354,
    vit_base_p16=86_567_656, deit_small=22_050_664, torchvision_resnet18=11_689_512, torchvision_resnet50=25_557_032,
    torchvision_resnext50_32x4d=25_028_904, torchvision_densenet121=7_978_856, torchvision_vgg11=132_863_336,
    torchvision_mobilenet_v3_large=5_483_032, torchvision_inception_v3=23_834_568, torchvision_swin_t=28_288_354,
    torchvision_efficientnet_b0=5_288_548, torchvision_convnext_tiny=28_589_128, torchvision_vit_b_16=86_567_656,
)  # fmt: skip


def slow_unless_in(names):
    """All networks. Real ones that are not in ``names`` take seconds each, VGG's 133 million values half a minute."""
    marks = {name: pytest.mark.exhaustive if 'vgg' in name else pytest.mark.slow for name in NAMES if name not in names}
    return [pytest.param(name, marks=marks.get(name, ())) for name in NAMES]


def photos(name, count=2):
    size = SMALLEST.get(name, 64)
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('name', slow_unless_in(LIGHT))
def test_prefix_and_suffix_are_the_backbone_bit_for_bit(name, check_cuts):
    check_cuts(build_real(name).eval().backbone, photos(name))


@pytest.mark.parametrize('name', slow_unless_in(TRAINED))
def test_training_through_the_parts_is_the_backbones_own(name, check_cuts_in_training):
    check_cuts_in_training(lambda: build_real(name), photos(name), cuts=[2])


@pytest.mark.parametrize('frozen', [2, 'all'])
@pytest.mark.parametrize('name', slow_unless_in(TRAINED))
def test_training_moves_what_is_trainable_and_nothing_else(name, frozen, check_freezing):
    check_freezing(build_real(name, frozen_stages=frozen), photos(name, 4))


@pytest.mark.slow
@pytest.mark.parametrize('frozen', [0, 1, 3, 4])
@pytest.mark.parametrize('name', ['inception_v3', 'torchvision_inception_v3'])
def test_the_family_without_a_tiny_size_is_frozen_in_the_other_ways_too(name, frozen, check_freezing):
    check_freezing(build_real(name, frozen_stages=frozen), photos(name, 4))


@pytest.mark.parametrize('name', NAMES)
def test_it_has_the_published_number_of_values_each_in_one_part(name):
    model = real_on_meta(name)
    _, layer = classification_layer(model.backbone, model.head)
    of_more_classes = (1000 - 5) * (layer.in_features + 1)
    assert sum(p.numel() for p in model.parameters()) + of_more_classes == PUBLISHED[name]
    owned = [parameter for part in PARTS for parameter in model.stages.parameters_of(part)]
    assert sorted(owned) == sorted(parameter for parameter, _ in model.backbone.named_parameters())


@pytest.mark.parametrize(
    ('name', 'per_part'),
    [
        # Without a classification layer: 25,557,032 - 2,049,000; 3,504,872 - 1,281,000; 7,978,856 - 1,025,000.
        ('resnet50', [9_536, 215_808, 1_219_584, 7_098_368, 14_964_736, 0]),
        ('mobilenet_v2', [1_824, 13_968, 39_696, 487_040, 1_681_344, 0]),
        ('densenet121', [9_536, 368_320, 1_051_776, 3_364_096, 2_160_128, 0]),
    ],
)
def test_its_parts_have_the_numbers_of_values_counted_by_hand(name, per_part):
    stages = real_on_meta(name).stages
    assert [sum(p.numel() for p in stages.parameters_of(part).values()) for part in PARTS] == per_part


@pytest.mark.parametrize(
    ('backbone', 'sizes'),
    [
        (dict(type='EfficientNet', arch='b7'), [112, 56, 28, 14]),
        (dict(type='EfficientNetV2', arch='m'), [112, 56, 28, 14]),
        (dict(type='MobileNetV3', arch='small_075'), [112, 56, 28, 14]),
        (dict(type='SEResNet', depth=50), [56, 56, 28, 14]),
        (dict(type='ResNetV1d', depth=101), [56, 56, 28, 14]),
        (dict(type='Res2Net', depth=50), [56, 56, 28, 14]),
        (dict(type='ConvNeXt', arch='base'), [56, 56, 28, 14]),
        (dict(type='SwinTransformer', arch='base'), [56, 56, 28, 14]),
        (dict(type='VisionTransformer', arch='large', patch_size=16), [197] * 4),
        (dict(type='VisionTransformer', arch='dinov2-small', patch_size=14), [257] * 4),
    ],
)  # fmt: skip
def test_other_depths_are_cut_where_the_resolution_says(backbone, sizes, on_meta):
    """Height, or number of tokens, of what the stem and stages 1-3 make of 224 px."""
    stages, x, heights = cut(MODELS.build(backbone)), torch.empty(2, 3, 224, 224), []
    for part in PARTS[:4]:
        x = stages.run_part(x, part)
        heights.append(x.shape[1 if 'Transformer' in backbone['type'] else 2])
    assert heights == sizes
