"""Every backbone of configs/_base_/models, in its real size: cut, frozen and counted."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import flowercls.models.torchvision_backbone  # noqa: F401  registers TorchvisionBackbone
from flowercls.config.classes import SCORES_IN_BACKBONE
from flowercls.errors import ConfigError
from flowercls.models.stages import PARTS, cut

FILES = sorted((Path(__file__).parents[2] / 'configs' / '_base_' / 'models').glob('*.py'))
NAMES = [path.stem for path in FILES]
# The smallest image that the network takes, in pixels; 32 where nothing is said.
SMALLEST = dict(inception_v3=75, torchvision_inception_v3=75, vit_base_p16=224, torchvision_vit_b_16=224, swin_tiny=224)
SMALLEST |= dict(vgg11=224, vgg11_bn=224, torchvision_swin_t=32, deit_small=64)
HEAVY = ('vgg', 'vit_', '152', '161', '201', '101', 'resnext', 'efficientnet_v2_s')  # seconds each
# Values with a classification layer of 1,000 classes, as published by torchvision, or by mmpretrain (EfficientNetV2,
# DeiT, in their metafiles). MobileNetV3's hidden layer and InceptionV3 (without auxiliary outputs) as by torchvision.
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


def marked(names):
    return [pytest.param(n, marks=pytest.mark.slow if any(part in n for part in HEAVY) else ()) for n in names]


def build(name, num_classes=5, **model):
    config = Config.fromfile(FILES[NAMES.index(name)]).model.to_dict()
    part = config['backbone'] if config['backbone']['type'] in SCORES_IN_BACKBONE else config['head']
    part['num_classes'] = num_classes
    torch.manual_seed(0)
    return MODELS.build({**config, 'precision': 'fp32', 'channels_last': False, **model})


def photos(name, count=2):
    size = SMALLEST.get(name, 64)
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def tensors_of(outputs):
    return [output for output in outputs if output is not None]


@pytest.mark.parametrize('name', marked(NAMES))
def test_prefix_and_suffix_are_the_backbone_bit_for_bit(name):
    backbone, images = build(name).eval().backbone, photos(name)
    stages = cut(backbone)
    with torch.no_grad():
        whole = tensors_of(backbone(images))
        for n in range(5):
            parts = tensors_of(stages.suffix(stages.prefix(images, n), n))
            assert len(parts) == len(whole) == 1 and torch.equal(parts[0], whole[0]), n
        assert torch.equal(tensors_of(stages.run(images))[0], whole[0])


@pytest.mark.parametrize('name', marked(NAMES))
def test_training_through_the_parts_is_the_backbones_own(name):
    """Outputs, norm statistics and gradients, with dropout and drop-path drawn from the same seed."""
    whole, parts = build(name).train().backbone, build(name).train().backbone
    images, stages, scores = photos(name), cut(parts), []
    for run in (whole, lambda x: stages.suffix(stages.prefix(x, 2), 2)):
        torch.manual_seed(7)
        scores.append(tensors_of(run(images))[0])
        scores[-1].square().sum().backward()
    assert torch.equal(*scores)
    assert all(torch.equal(a, b) for a, b in zip(parts.buffers(), whole.buffers(), strict=True))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(parts.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize('name', NAMES)
def test_it_has_the_published_number_of_values_each_in_one_part(name):
    with torch.device('meta'):
        model = build(name, num_classes=1000)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]
    owned = [parameter for part in PARTS for parameter in model.stages.parameters_of(part)]
    assert sorted(owned) == sorted(parameter for parameter, _ in model.backbone.named_parameters())


@pytest.mark.parametrize('frozen', [1, 2, 3, 4, 'all'])
@pytest.mark.parametrize('name', marked(NAMES))
def test_three_steps_move_what_is_trainable_and_nothing_else(name, frozen):
    if frozen not in (2, 'all') and name not in ('mobilenet_v3_small', 'torchvision_resnet18', 'deit_small'):
        pytest.skip('2 and all stand for the rest: the cuts themselves are tested one by one')
    model, images = build(name, frozen_stages=frozen), photos(name, 4)
    samples = [DataSample().set_gt_label(label) for label in range(4)]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    driven = _train(model, images, samples)
    assert driven, 'something learns'
    frozen_parts = PARTS[: (4 if frozen == 'all' else frozen) + 1]
    frozen_names = {f'backbone.{key}' for part in frozen_parts for key in model.stages.parameters_of(part)}
    for key, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[key])
        assert moved == (key in driven), key
        assert not (moved and key in frozen_names), key
    for key, value in model.named_buffers():
        if key.rpartition('.')[0] + '.weight' in frozen_names:
            assert torch.equal(value, before[key]), key


def _train(model, images, samples):
    """Three steps with weight decay over all parameters; the names of those that ever had a gradient that is not 0."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    driven = set()
    for _ in range(3):
        optimizer.zero_grad()
        model(images, samples, mode='loss')['loss'].backward()
        driven |= {key for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
    return driven


@pytest.mark.parametrize(
    ('backbone', 'said'),
    [
        (dict(type='InceptionV3', aux_logits=True), 'aux_logits=False'),
        (dict(type='SwinTransformer', arch='tiny', out_after_downsample=True), 'out_after_downsample=False'),
        (dict(type='VisionTransformer', arch='deit-tiny', out_type='featmap'), 'out_type='),
        (dict(type='VisionTransformer', arch=dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=48)),
         '3 layers'),
        (dict(type='TorchvisionBackbone', arch='squeezenet1_0'), 'SqueezeNet cannot be cut'),
    ],
)  # fmt: skip
def test_what_has_no_four_stages_is_refused_with_the_way_out(backbone, said):
    with pytest.raises(ConfigError, match=said):
        cut(MODELS.build(backbone))


def test_torchvision_networks_that_do_not_exist_or_take_no_such_argument_are_named():
    with pytest.raises(ConfigError, match="'resnet19', expected one of torchvision: alexnet, "):
        MODELS.build(dict(type='TorchvisionBackbone', arch='resnet19'))
    with pytest.raises(ConfigError, match='resnet18: .*dropuot'):
        MODELS.build(dict(type='TorchvisionBackbone', arch='resnet18', dropuot=0.1))
