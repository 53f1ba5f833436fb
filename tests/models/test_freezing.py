"""Frozen means: no gradient, no graph, and the same bits after training as before."""

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn

from flowercls.core.errors import ConfigError

FAMILIES = ['ResNet', 'DenseNet', 'MobileNetV2']
FROZEN = [1, 2, 3, 4, 'all']
STACKED = dict(type='StackedLinearClsHead', mid_channels=[16], dropout_rate=0.5, norm_cfg=dict(type='BN1d'))


def test_the_config_room_knows_the_same_values():
    """It may not import models, and answers before torch is loaded."""
    from flowercls.config import schema
    from flowercls.models import freezing

    assert schema.FROZEN_STAGES == freezing.FROZEN_STAGES


@pytest.mark.parametrize('frozen', [0, *FROZEN])
def test_training_moves_what_is_trainable_and_nothing_else(build, batch, frozen, check_freezing):
    model = build(head=STACKED, frozen_stages=frozen)
    with_gradient = check_freezing(model, batch[0])
    assert frozen or with_gradient == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize('frozen', FROZEN)
@pytest.mark.parametrize('family', FAMILIES)
def test_no_graph_is_built_for_frozen_stages(build, batch, family, frozen):
    model = build(family, frozen_stages=frozen).train()
    images = batch[0].requires_grad_()  # asks for a graph: only no_grad can prevent it
    features = model.run_frozen(images)
    assert features.grad_fn is None and not features.requires_grad
    assert not torch.is_inference(features)
    assert model(*batch, mode='loss')['loss'].requires_grad


def test_freezing_all_builds_no_graph_for_hidden_layers_of_the_head(build, batch):
    model = build(head=STACKED, frozen_stages='all').train()
    assert model.extract_feat(batch[0], stage='pre_logits').grad_fn is None
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        'head.layers.1.fc.weight',
        'head.layers.1.fc.bias',
    ]


@pytest.mark.parametrize(
    ('frozen', 'trainable'),
    [
        # ResNet-18 with 8 channels; stage 4 makes 64 channels of 32. Two norm values per channel, no conv bias.
        # block 1: 9*32*64 + 9*64*64 + shortcut 32*64 + three norms 3*128 = 57,728
        # block 2: 2 * 9*64*64 + two norms 2*128 = 73,984; classifier 64*5 + 5 = 325
        (3, 57_728 + 73_984 + 325),
        (4, 325),
        ('all', 325),
    ],
)
def test_number_of_trainable_parameters_by_hand(build, frozen, trainable):
    model = build('ResNet', frozen_stages=frozen)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable


@pytest.mark.parametrize('family', FAMILIES)
def test_frozen_parts_stay_in_eval_mode_and_others_follow(build, family):
    model = build(family, head=STACKED, frozen_stages=2)
    frozen = [m for part in ('stem', 'stage1', 'stage2') for m in model.stages.modules_of(part).values()]
    frozen_ids = {id(inner) for module in frozen for inner in module.modules()}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]

    def check():
        assert all(m.training == (id(m) not in frozen_ids) for m in norms)
        assert not any(inner.training for module in frozen for inner in module.modules())

    check()  # already after construction
    assert model.eval() is model and not any(m.training for m in model.modules())
    assert model.train() is model
    check()


def test_freezing_all_fixes_dropout_of_the_head(build, batch):
    model = build(head=STACKED, frozen_stages='all').train()
    assert not any(m.training for m in model.modules() if isinstance(m, nn.Dropout | nn.BatchNorm1d))
    free = build(head=STACKED, frozen_stages=4).train()
    assert all(m.training for m in free.modules() if isinstance(m, nn.Dropout | nn.BatchNorm1d))


def test_a_model_with_nothing_left_to_train_is_refused():
    config = dict(type='StagedClassifier', backbone=dict(type='ResNet', depth=18), head=dict(type='ClsHead'))
    with pytest.raises(ConfigError, match="frozen_stages='all'` leaves no parameter to train"):
        MODELS.build(dict(config, frozen_stages='all'))


@pytest.mark.parametrize('value', [-1, 5, True, 2.5, '3', None, 'head'])
def test_other_values_are_refused(build, value):
    with pytest.raises(ConfigError, match='frozen_stages'):
        build(frozen_stages=value)


@pytest.mark.parametrize(
    ('family', 'value'), [('ResNet', 0), ('ResNeXt', 1), ('DenseNet', 1), ('MobileNetV2', 0), ('MobileNetV2', 7)]
)
def test_the_backbones_own_way_to_freeze_is_refused(build, family, value):
    with pytest.raises(ConfigError, match=rf'model.backbone.frozen_stages` is {value}.*set `model.frozen_stages`'):
        build(family, backbone_options=dict(frozen_stages=value))
