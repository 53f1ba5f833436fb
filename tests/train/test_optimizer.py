"""Optimizers: which parameters they train, at which rates, and when they take a step."""

import pytest
import torch
from mmengine.optim import StepLR
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

import flowercls.models.classifier  # noqa: F401  registers StagedClassifier
from flowercls.config import resolve_config
from flowercls.config.resolve import Flags
from flowercls.core.errors import ConfigError
from flowercls.train.optimizer import TrainableOptimWrapperConstructor

CFG = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01))


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    return model


@pytest.mark.parametrize('paramwise', [None, dict(norm_decay_mult=0.0)])
def test_frozen_parameters_are_not_in_the_optimizer(model, paramwise):
    optimizer = TrainableOptimWrapperConstructor(CFG, paramwise)(model).optimizer
    held = [id(parameter) for group in optimizer.param_groups for parameter in group['params']]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)
    assert all(group['params'] for group in optimizer.param_groups)


def test_the_groups_that_stay_keep_their_options(model):
    optimizer = TrainableOptimWrapperConstructor(CFG, dict(norm_decay_mult=0.0))(model).optimizer
    decay = {len(group['params'][0].shape): group['weight_decay'] for group in optimizer.param_groups}
    assert decay[2] == 0.01 and 0.0 in {group['weight_decay'] for group in optimizer.param_groups}


def test_an_optimizer_step_moves_what_is_trainable(model):
    wrapper = TrainableOptimWrapperConstructor(CFG)(model)
    before = [parameter.clone() for parameter in model.parameters()]
    wrapper.update_params(model(torch.randn(5, 3)).square().mean())
    moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert moved == [parameter.requires_grad for parameter in model.parameters()]


FACTORS = dict(stem=0.1, stage1=0.1, stage2=0.5, classifier=10.0)


def build(**model):
    backbone = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
    head = dict(type='LinearClsHead', num_classes=5, in_channels=64)
    neck = dict(type='GlobalAveragePooling')
    return MODELS.build(dict(type='StagedClassifier', backbone=backbone, neck=neck, head=head, **model))


@pytest.fixture
def classifier():
    return build()


def rates(model, optimizer):
    """The learning rate of every parameter, by name; each must be in exactly one group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = [(names[id(p)], group['lr']) for group in optimizer.param_groups for p in group['params']]
    assert len(dict(held)) == len(held)
    return dict(held)


def test_rates_follow_the_stages(classifier):
    wrapper = TrainableOptimWrapperConstructor(CFG, dict(stage_lr_mult=FACTORS))(classifier)
    found = rates(classifier, wrapper.optimizer)
    assert len(found) == len(list(classifier.parameters()))
    for name, expected in [
        ('backbone.conv1.weight', 0.01),
        ('backbone.layer1.1.bn2.bias', 0.01),
        ('backbone.layer2.0.conv1.weight', 0.05),
        ('backbone.layer3.0.conv1.weight', 0.1),
        ('backbone.layer4.1.conv2.weight', 0.1),
        ('head.fc.bias', 1.0),
    ]:
        assert found[name] == pytest.approx(expected), name
    assert len(wrapper.optimizer.param_groups) == 4  # as many as there are rates, not one a parameter
    assert wrapper.get_lr()['base_lr'] == [0.1]


def test_factors_multiply_what_mmengines_own_options_give(classifier):
    paramwise = dict(stage_lr_mult=FACTORS, bias_lr_mult=2.0, norm_decay_mult=0.0)
    optimizer = TrainableOptimWrapperConstructor(CFG, paramwise)(classifier).optimizer
    found = rates(classifier, optimizer)
    assert found['head.fc.bias'] == pytest.approx(2.0) and found['head.fc.weight'] == pytest.approx(1.0)
    assert {group['weight_decay'] for group in optimizer.param_groups} == {0.0, 0.01}


def test_frozen_stages_may_have_factors_and_stay_out(capfd):
    model = build(frozen_stages=2)
    found = rates(model, TrainableOptimWrapperConstructor(CFG, dict(stage_lr_mult=FACTORS))(model).optimizer)
    assert set(found) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(('backbone.conv1', 'backbone.layer1', 'backbone.layer2')) for name in found)
    assert 'requires_grad' not in ''.join(capfd.readouterr())  # asked for, so nothing to warn of


def test_schedules_keep_the_ratio_of_the_rates(classifier):
    wrapper = TrainableOptimWrapperConstructor(CFG, dict(stage_lr_mult=FACTORS))(classifier)
    schedule = StepLR(wrapper, step_size=1, gamma=0.5)
    schedule.step()
    assert rates(classifier, wrapper.optimizer)['backbone.conv1.weight'] == pytest.approx(0.005)
    assert wrapper.get_lr()['base_lr'] == [0.05]


def test_parts_that_the_model_does_not_have_are_named(classifier):
    constructor = TrainableOptimWrapperConstructor(CFG, dict(stage_lr_mult=dict(head=10.0)))
    with pytest.raises(ConfigError, match='names head; .* are stem, stage1, stage2, stage3, stage4, classifier'):
        constructor(classifier)
    without_rate = dict(type='OptimWrapper', optimizer=dict(type='Adam'))
    with pytest.raises(ConfigError, match='set optimizer.lr'):
        TrainableOptimWrapperConstructor(without_rate, dict(stage_lr_mult=FACTORS))(classifier)


@pytest.mark.parametrize('paramwise', [None, dict(stage_lr_mult=dict(stem=0.5))])
def test_the_rate_is_scaled_for_all_photos_of_a_step(build, paramwise):
    """Batches of 8, two accumulated, for a rate meant for 32: half of it."""
    options = {'auto_scale_lr.base_batch_size': 32, 'optim_wrapper.accumulative_counts': 2}
    overrides = {**options, 'optim_wrapper.paramwise_cfg': paramwise}
    runner = build(overrides=overrides, flags=Flags(auto_scale_lr=True))
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(wrapper, runner.auto_scale_lr)
    stem = 0.025 * paramwise['stage_lr_mult']['stem'] if paramwise else None
    expected = dict(lr=[stem, 0.025], base_lr=[0.025]) if paramwise else dict(lr=[0.025])
    assert {name: pytest.approx(rates) for name, rates in wrapper.get_lr().items()} == expected


@pytest.mark.parametrize(
    ('optimizer', 'fused'),
    [
        ({'type': 'SGD', 'lr': 0.1}, True),
        ({'type': 'AdamW', 'lr': 0.1}, True),
        ({'type': 'AdamW', 'lr': 0.1, 'fused': False}, False),
        ({'type': 'SGD', 'lr': 0.1, 'foreach': True}, None),
        ({'type': 'RMSprop', 'lr': 0.1}, None),  # has no such kernel
    ],
)
def test_parameters_are_updated_in_fused_options_where_there_is_one(optimizer, fused):
    model = torch.nn.Linear(2, 2)
    built = TrainableOptimWrapperConstructor({'type': 'OptimWrapper', 'optimizer': optimizer})(model).optimizer
    assert built.defaults.get('fused') is fused


@pytest.fixture
def head_only(write_config, tmp_path):
    """Make a fresh classifier in which only the head trains: no batch statistics tie the photos to each other."""
    cfg, _ = resolve_config(write_config(tmp_path, "model = dict(frozen_stages='all')\n"))

    def build():
        torch.manual_seed(0)
        return MODELS.build(dict(**cfg.model, data_preprocessor=cfg.data_preprocessor)).train()

    return build


def train(model, photos, labels, batch_size, counts):
    """Train one pass in batches; returns the head's weights after each."""
    settings = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5), accumulative_counts=counts)
    wrapper = TrainableOptimWrapperConstructor(settings)(model)
    wrapper.initialize_count_status(model, 0, len(photos) // batch_size)
    weights = []
    for start in range(0, len(photos), batch_size):
        part = slice(start, start + batch_size)
        samples = [DataSample().set_gt_label(label) for label in labels[part]]
        model.train_step(dict(inputs=photos[part], data_samples=samples), wrapper)
        weights.append(model.head.fc.weight.detach().clone())
    return weights


def test_two_batches_added_up_are_one_step_of_both(head_only):
    photos = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels = [number % 5 for number in range(16)]
    before = head_only().head.fc.weight
    (whole,) = train(head_only(), photos, labels, batch_size=16, counts=1)
    first, second = train(head_only(), photos, labels, batch_size=8, counts=2)
    assert torch.equal(first, before) and not torch.allclose(whole, before, atol=1e-3)
    torch.testing.assert_close(second, whole)
