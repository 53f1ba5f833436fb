"""The printed table says what the model is, and looking changes nothing."""

import torch
from mmpretrain.registry import MODELS

from flowercls.models.model_summary import render_stage_table, stage_table


def test_rows_of_a_tiny_resnet_by_hand(build):
    rows = stage_table(build(frozen_stages=3), 64)
    assert [row.part for row in rows] == ['stem', 'stage1', 'stage2', 'stage3', 'stage4', 'neck', 'classifier']
    assert [row.shape for row in rows] == [(8, 16, 16), (8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2), (64,), (5,)]
    assert rows[0].parameters == 3 * 8 * 7 * 7 + 2 * 8
    assert [row.trainable for row in rows] == [0, 0, 0, 0, 57_728 + 73_984, 0, 325]
    assert abs(sum(row.share for row in rows) - 100) < 1e-9


def test_looking_changes_nothing(build):
    model = build('DenseNet', frozen_stages=1).train()
    flags = [module.training for module in model.modules()]
    buffers = [buffer.clone() for buffer in model.buffers()]
    random_state = torch.get_rng_state()
    stage_table(model, (32, 64))
    assert [module.training for module in model.modules()] == flags and any(flags) and not all(flags)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), buffers, strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(p.grad is None for p in model.parameters())


def test_text_is_plain_and_ends_with_the_totals(build):
    text = render_stage_table(stage_table(build(frozen_stages=4, precision='bf16'), 32))
    assert '\x1b' not in text and text.isascii()
    assert 'conv1 norm1 relu maxpool' in text and '64 x 1 x 1' in text
    assert text.splitlines()[-1] == 'trainable 325 of 177,037 parameters (0.2 %)'


def test_a_backbone_that_cannot_be_cut_takes_one_row(on_meta):
    model = MODELS.build(dict(type='StagedClassifier', backbone=dict(type='AlexNet', num_classes=3)))
    assert [(row.part, row.shape) for row in stage_table(model, 224)] == [('backbone', (3,))]


def test_a_backbone_that_returns_a_none_too(on_meta):
    """InceptionV3 of mmpretrain: (auxiliary scores, scores)."""
    backbone = dict(type='InceptionV3', num_classes=5, aux_logits=False)
    model = MODELS.build(dict(type='StagedClassifier', backbone=backbone, head=dict(type='ClsHead')))
    assert [(row.part, row.shape) for row in stage_table(model, 75)][-2:] == [('head', (5,)), ('classifier', (5,))]
