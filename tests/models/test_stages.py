"""Cutting a backbone changes nothing but where one can stop."""

import copy

import pytest
import torch
from mmengine.model.utils import revert_sync_batchnorm
from mmpretrain.models.backbones import DenseNet
from mmpretrain.registry import MODELS
from torch import nn

from flowercls.core.errors import ConfigError
from flowercls.models import cut_points
from flowercls.models.cut_points import CutPoints
from flowercls.models.stages import cut


def test_a_copy_runs_its_own_modules(build, batch):
    model = build().eval()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        before = model.stages.prefix(batch[0], 1)
        twin.backbone.conv1.weight.zero_()
        assert torch.equal(model.stages.prefix(batch[0], 1), before)
        assert not torch.equal(twin.stages.prefix(batch[0], 1), before)


def test_a_module_that_was_exchanged_later_is_run(build, batch):
    model = build().eval()
    nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model.stages.modules_of('stem')['norm1'], nn.SyncBatchNorm)
    revert_sync_batchnorm(model)
    model.stages.prefix(batch[0], 1)  # SyncBatchNorm would refuse the CPU


def test_an_unknown_backbone_can_be_used_unfrozen_only():
    tiny = dict(type='StagedClassifier', backbone=dict(type='LeNet5'), neck=None, head=dict(type='ClsHead'))
    assert MODELS.build(dict(tiny, frozen_stages=0)).stages is None
    with pytest.raises(ConfigError, match=r'LeNet5 cannot be cut.*DenseNet, .*MobileNetV2, .*ResNet'):
        MODELS.build(dict(tiny, frozen_stages=1))


NOT_CUT = 'cannot be cut into stages'
WITHOUT_STAGES = ('alexnet', 'googlenet', 'maxvit_t', 'mnasnet0_5', 'shufflenet_v2_x0_5', 'squeezenet1_0')


@pytest.mark.parametrize(
    ('backbone', 'hint'),
    [
        # Subclasses of ResNet with a forward of their own.
        (dict(type='RegNet', arch='regnetx_400mf'), NOT_CUT),
        (dict(type='ResNet_CIFAR', depth=18), NOT_CUT),
        (dict(type='ResNet', depth=18, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)),
         'out_indices'),
        (dict(type='InceptionV3', aux_logits=True), 'aux_logits=False'),
        (dict(type='TorchvisionBackbone', arch='inception_v3', aux_logits=True), 'aux_logits=False'),
        (dict(type='SwinTransformer', arch='tiny', out_after_downsample=True), 'out_after_downsample=False'),
        (dict(type='VisionTransformer', arch='deit-tiny', out_type='featmap'), 'out_type='),
        (dict(type='VisionTransformer', arch=dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=48)),
         '3 layers'),
        (dict(type='DistilledVisionTransformer', arch='deit-tiny'), NOT_CUT),
        (dict(type='SwinTransformerV2', arch='tiny'), NOT_CUT),
        *((dict(type='TorchvisionBackbone', arch=arch), NOT_CUT) for arch in WITHOUT_STAGES),
    ],
)  # fmt: skip
def test_a_network_without_four_stages_is_refused_with_the_way_out(backbone, hint, on_meta):
    with pytest.raises(ConfigError, match=hint):
        cut(MODELS.build(backbone))


@pytest.mark.parametrize(
    ('family', 'options', 'said'),
    [
        ('ResNet', dict(out_indices=(2, 3)), r'out_indices=\(3,\)'),
        ('DenseNet', dict(out_indices=[0]), r'out_indices=\(3,\)'),
        ('MobileNetV2', dict(out_indices=(6,)), r'out_indices=\(7,\)'),
    ],
)
def test_other_outputs_than_the_last_are_refused_when_frozen(build, family, options, said):
    build(family, backbone_options=options)
    with pytest.raises(ConfigError, match=said):
        build(family, backbone_options=options, frozen_stages=1)


@pytest.mark.parametrize(
    ('row', 'said'),
    [
        (dict(stage2=''), 'belongs to no part'),
        (dict(stage3='stages.2 transitions.2 stages.1'), 'belongs to stage2 and stage3'),
        (dict(stage4='stages.3 transitions.3 fifth'), 'fifth'),
    ],
)
def test_a_backbone_that_does_not_match_its_row_is_refused(build, monkeypatch, row, said):
    backbone = build('DenseNet').backbone
    monkeypatch.setitem(cut_points.CUT_POINTS, DenseNet, cut_points.CUT_POINTS[DenseNet]._replace(**row))
    with pytest.raises(ConfigError, match=said):
        cut(backbone)


class Tokens(nn.Module):
    """A backbone with what the strings can say besides plain calls: slices, operations, a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.ones(1))
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(5))

    def forward(self, x):
        x = x + self.token
        for block in self.blocks:
            x = block(x)
        return (x,)


def test_slices_and_operations_that_own_a_parameter(monkeypatch):
    row = CutPoints('@add(token)', 'blocks[:1]', 'blocks[1:3]', 'blocks.3', 'blocks[4:]', '@tuple', last_output=0)
    monkeypatch.setitem(cut_points.CUT_POINTS, Tokens, row)
    monkeypatch.setitem(cut_points.OPERATIONS, 'add', lambda _, x, token: x + token)
    backbone, x = Tokens(), torch.randn(2, 3)
    stages = cut(backbone)
    assert list(stages.parameters_of('stem')) == ['token']
    assert list(stages.modules_of('stage2')) == ['blocks.1', 'blocks.2']
    assert all(torch.equal(stages.suffix(stages.prefix(x, n), n)[0], backbone(x)[0]) for n in range(5))
