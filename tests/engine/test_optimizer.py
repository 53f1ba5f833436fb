import pytest
import torch
from torch import nn

from flowercls.engine.optimizer import TrainableOptimWrapperConstructor

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
