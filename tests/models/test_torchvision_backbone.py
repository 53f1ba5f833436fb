"""torchvision's networks by name: each is cut where the resolution says, or refused."""

import pytest
import torch
from mmpretrain.registry import MODELS
from torchvision import models

from flowercls.core.errors import ConfigError
from flowercls.models.backbones.torchvision_backbone import torchvision_backbone
from flowercls.models.stages import PARTS, cut

SIZE = 64  # pixels
# Height of what the stem and stages 1-3 give for such an image; of what stage 4 gives there is no map any more.
HEIGHTS = {
    'mobilenet_v': [32, 16, 8, 4],
    'efficientnet': [32, 16, 8, 4],
    'densenet': [16, 8, 4, 2],
    'vgg': [32, 16, 8, 4],
    **dict.fromkeys(['resnet', 'resnext', 'wide_resnet', 'convnext', 'swin'], [16, 16, 8, 4]),
}
WITHOUT_STAGES = ('alexnet', 'googlenet', 'maxvit', 'mnasnet', 'regnet', 'shufflenet', 'squeezenet')
MAPS = [arch for arch in models.list_models(module=models) if arch.startswith(tuple(HEIGHTS))]
# Looked at in every run; the same rows cut the deeper ones, which take seconds even without values.
SHALLOW = ['mobilenet_v2', 'mobilenet_v3_small', 'efficientnet_b0', 'efficientnet_v2_s', 'densenet121', 'vgg11']
SHALLOW += ['vgg16_bn', 'resnet18', 'resnet50', 'resnext50_32x4d', 'wide_resnet50_2', 'convnext_tiny', 'swin_t']
SHALLOW += ['swin_v2_t']
MORE_DEPTHS = ['efficientnet_b3', 'efficientnet_v2_s', 'efficientnet_v2_m', 'densenet161', 'resnet34', 'vgg13_bn']
MORE_DEPTHS += ['swin_v2_t', 'convnext_small', 'vit_b_32', 'wide_resnet50_2']
TOKENS = [arch for arch in models.list_models(module=models) if arch.startswith('vit')]


def heights_of(arch):
    return next(heights for family, heights in HEIGHTS.items() if arch.startswith(family))


def parts_own_everything_once(stages):
    owned = [name for part in PARTS for name in stages.parameters_of(part)]
    return sorted(owned) == sorted(name for name, _ in stages.backbone.named_parameters())


def test_every_classification_network_is_in_one_of_the_lists():
    rest = set(models.list_models(module=models)) - {*MAPS, *TOKENS, 'inception_v3'}
    assert all(arch.startswith(WITHOUT_STAGES) for arch in rest)


@pytest.mark.parametrize('arch', [pytest.param(a, marks=() if a in SHALLOW else pytest.mark.slow) for a in MAPS])
def test_stages_end_where_the_resolution_says(arch, on_meta):
    stages = cut(torchvision_backbone(arch).eval())
    heights, x = [], torch.empty(1, 3, SIZE, SIZE)
    for part in PARTS[:4]:
        x = stages.run_part(x, part)
        heights.append(x.shape[1 if arch.startswith('swin') else 2])
    assert heights == heights_of(arch)
    assert parts_own_everything_once(stages)


@pytest.mark.parametrize('arch', TOKENS)
def test_networks_of_equal_layers_are_cut_into_quarters(arch, on_meta):
    stages = cut(torchvision_backbone(arch))
    assert [len(stages.parts[f'stage{k}']) for k in (1, 2, 3)] == [len(stages.backbone.encoder.layers) // 4] * 3
    assert parts_own_everything_once(stages)


@pytest.mark.parametrize(
    'arch',
    [
        *('mobilenet_v3_small', 'mobilenet_v2', 'densenet121'),
        *(pytest.param(arch, marks=pytest.mark.slow) for arch in MORE_DEPTHS),
    ],
)
def test_other_depths_than_those_of_the_configs_give_the_same_bits(arch, check_cuts):
    size = 224 if arch.startswith('vit') else SIZE
    check_cuts(torchvision_backbone(arch, num_classes=5).eval(), torch.randn(2, 3, size, size))


def test_names_and_arguments_that_do_not_exist_are_named():
    with pytest.raises(ConfigError, match="'resnet19', which torchvision does not have. Nearest: resnet1"):
        MODELS.build(dict(type='TorchvisionBackbone', arch='resnet19'))
    with pytest.raises(ConfigError, match='resnet18: .*dropuot'):
        MODELS.build(dict(type='TorchvisionBackbone', arch='resnet18', dropuot=0.1))


@pytest.mark.parametrize('weights', [None, 'IMAGENET1K_V2', 'imagenet1k_v1', 'DEFAULT'])
def test_weights_that_there_are_can_be_named(weights, on_meta):
    torchvision_backbone('resnet50', weights=weights)


@pytest.mark.parametrize('weights', ['IMAGENET1K_V9', True, ''])
def test_weights_that_there_are_not_are_answered_with_those_there_are(weights):
    with pytest.raises(ConfigError, match=rf'{weights!r}, .*resnet18: IMAGENET1K_V1, DEFAULT; or None'):
        torchvision_backbone('resnet18', weights=weights)
