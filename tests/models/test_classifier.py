"""The classifier keeps mmpretrain's behaviour; precision and memory layout change speed, not meaning."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import MODELS

from flowercls.core.errors import ConfigError
from helpers.model_configs import without_values

VARIANTS = [('fp32', False), ('fp32', True), ('bf16', False), ('bf16', True)]


def upstream_twin(model_config, model):
    """mmpretrain's own classifier with the same weights."""
    config = model_config()
    for ours in ('precision', 'channels_last', 'frozen_stages'):
        config.pop(ours, None)
    twin = MODELS.build(dict(config, type='ImageClassifier'))
    twin.load_state_dict(model.state_dict())
    twin.eval()
    return twin


@pytest.mark.parametrize('frozen', [0, 2, 'all'])
def test_every_mode_gives_what_mmpretrain_gives(build, model_config, batch, frozen):
    model = build(frozen_stages=frozen).eval()
    twin = upstream_twin(model_config, model)
    with torch.no_grad():
        assert torch.equal(model(batch[0]), twin(batch[0]))
        assert torch.equal(model(*batch, mode='loss')['loss'], twin(*batch, mode='loss')['loss'])
        for ours, theirs in zip(model(*batch, mode='predict'), twin(batch[0], mode='predict'), strict=True):
            assert torch.equal(ours.pred_score, theirs.pred_score)
        for stage in ('backbone', 'neck'):
            assert torch.equal(model.extract_feat(batch[0], stage)[0], twin.extract_feat(batch[0], stage)[0])
        assert torch.equal(model.extract_feat(batch[0], 'pre_logits'), twin.extract_feat(batch[0], 'pre_logits'))
    with pytest.raises(ValueError, match='pre_logit'):
        model.extract_feat(batch[0], 'logits')


@pytest.mark.parametrize('frozen', [0, 3])
@pytest.mark.parametrize(('precision', 'channels_last'), VARIANTS)
def test_scores_are_float32_probabilities_in_every_precision(build, batch, precision, channels_last, frozen):
    model = build(precision=precision, channels_last=channels_last, frozen_stages=frozen).eval()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):  # as under mmengine's AmpOptimWrapper
        scores = torch.stack([sample.pred_score for sample in model(batch[0], mode='predict')])
        loss = model(*batch, mode='loss')['loss']
    assert scores.dtype == loss.dtype == torch.float32
    # bfloat16 has 8 significant bits: a sum within 1e-6 shows that the softmax was not computed in it.
    assert torch.allclose(scores.sum(dim=1), torch.ones(4), atol=1e-6)


@pytest.mark.parametrize(('precision', 'channels_last'), VARIANTS[1:])
def test_precision_and_layout_change_little(build, batch, precision, channels_last):
    reference, model = build().eval(), build(precision=precision, channels_last=channels_last).eval()
    with torch.no_grad():
        expected, got = reference(batch[0]), model(batch[0])
    assert torch.allclose(got, expected, atol=1e-5 if precision == 'fp32' else 0.05)
    if precision == 'bf16':  # in fp32 the layout may or may not change the order of additions
        assert not torch.equal(got, expected)


def test_precision_alone_decides_how_the_backbone_computes(build, batch):
    def dtype_inside(precision, autocast):
        model, seen = build(precision=precision).eval(), []
        model.backbone.layer4.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            model(batch[0])
        return seen.pop()

    assert dtype_inside('bf16', autocast=False) == dtype_inside('bf16', autocast=True) == torch.bfloat16
    assert dtype_inside('fp32', autocast=False) == dtype_inside('fp32', autocast=True) == torch.float32


def test_channels_last_reaches_weights_and_features(build, batch):
    model = build(channels_last=True).eval()
    assert model.backbone.layer2[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert model.extract_feat(batch[0], 'backbone')[0].is_contiguous(memory_format=torch.channels_last)


def test_channels_last_is_left_off_where_the_backbone_is_not_known():
    """It may call view() on its features, as VGG does, which needs torch's own layout."""
    config = dict(type='LeNet5', num_classes=5)
    model = MODELS.build(dict(type='StagedClassifier', backbone=config, channels_last=True))
    assert not model.channels_last


def test_a_vgg_in_parts_takes_channels_last_as_its_own_forward_does_not():
    with without_values():
        backbone = dict(type='VGG', depth=11, num_classes=5)
        model = MODELS.build(dict(type='StagedClassifier', backbone=backbone, precision='fp32', channels_last=True))
    model.backbone.classifier = torch.nn.Linear(512 * 2 * 2, 5)  # its own has 120 million values
    model.to_empty(device='cpu')
    images = torch.empty(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    assert model.extract_feat(images, stage='backbone')[0].shape == (2, 5)
    with pytest.raises(RuntimeError, match='view'):
        model.backbone(images)


@pytest.mark.parametrize('wrong', [dict(precision='fp16'), dict(precision=16), dict(channels_last='yes')])
def test_unknown_precision_and_layout_are_refused(build, wrong):
    with pytest.raises(ConfigError, match=f'model.{next(iter(wrong))}'):
        build(**wrong)


@pytest.mark.parametrize(('frozen', 'shape'), [(1, (4, 8, 16, 16)), (3, (4, 32, 4, 4)), (4, (4, 64)), ('all', (4, 64))])
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_logits_from_cached_features_are_the_same_bits(build, batch, frozen, shape, precision):
    model = build(frozen_stages=frozen, precision=precision).eval()
    features = model.extract_frozen(batch[0])
    assert features.shape == shape and not features.requires_grad
    assert features.dtype == (torch.bfloat16 if precision == 'bf16' else torch.float32)
    expected = model(*batch, mode='loss')['loss']
    model.accept_features()
    inputs = model.data_preprocessor({'inputs': features, 'data_samples': batch[1]})
    assert torch.equal(model(**inputs, mode='loss')['loss'], expected)


def test_a_neck_that_is_trained_is_not_cached(build):
    neck = dict(type='LinearNeck', in_channels=64, out_channels=64, gap_dim=2)
    assert build(frozen_stages=4, neck=neck).extract_frozen(torch.rand(2, 3, 32, 32)).ndim == 4
    assert build(frozen_stages='all', neck=neck).caches_pooled


def test_several_tensors_cannot_be_cached(build, monkeypatch):
    model = build(frozen_stages=2)
    monkeypatch.setattr(model, 'run_frozen', lambda images: (images, images))
    with pytest.raises(ConfigError, match='more than one tensor'):
        model.extract_frozen(torch.rand(2, 3, 32, 32))


def test_mixup_and_cutmix_work_with_frozen_stages(build, batch):
    augments = dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)])
    preprocessor = dict(num_classes=5, mean=[0.0] * 3, std=[1.0] * 3)
    model = build(frozen_stages=2, train_cfg=augments, data_preprocessor=preprocessor).train()
    data = model.data_preprocessor(dict(inputs=list(batch[0]), data_samples=batch[1]), training=True)
    loss = model(**data, mode='loss')['loss']
    loss.backward()
    assert model.head.fc.weight.grad.any()


def test_mixed_photos_count_with_the_share_of_the_label_they_are_taken_for(build, batch):
    model = build(head=dict(type='LinearClsHead', cal_acc=False)).eval()
    images, samples = batch
    shares = torch.tensor([[0.7, 0.3, 0, 0, 0], [0, 1.0, 0, 0, 0], [0, 0, 0.6, 0.4, 0], [0, 0, 0, 0, 1.0]])
    for sample, share in zip(samples, shares, strict=True):
        sample.set_gt_score(share)
    with torch.no_grad():
        model.head.fc.weight.zero_()
        model.head.fc.bias.copy_(torch.tensor([0, 5.0, 0, 0, 0]))  # takes every photo for label 1
        losses = model(images, samples, mode='loss')
    assert losses['accuracy_top-1'].item() == pytest.approx(100 * (0.3 + 1.0) / 4)


def test_mmpretrains_inferencer_runs_it(model_config):
    pipeline = [dict(type='ResizeEdge', scale=64), dict(type='CenterCrop', crop_size=64), dict(type='PackInputs')]
    config = Config(
        dict(
            model=model_config(frozen_stages=2, precision='bf16'),
            default_scope='mmpretrain',
            test_dataloader=dict(
                dataset=dict(type='CustomDataset', pipeline=[dict(type='LoadImageFromFile'), *pipeline])
            ),
        )
    )
    inferencer = ImageClassificationInferencer(config, pretrained=False, device='cpu', classes=list('abcde'))
    result = inferencer(np.zeros((70, 80, 3), np.uint8))[0]
    assert result['pred_class'] in 'abcde'
    assert result['pred_scores'].dtype == np.float32


def test_averages_of_a_model_stay_its_own_when_it_turns_to_cached_features(build):
    preprocessor = dict(type='PhotoPreprocessor', mean=[1, 2, 3], std=[4, 5, 6])
    model = build(frozen_stages=1, data_preprocessor=preprocessor).train()
    averages = ExponentialMovingAverage(model)
    model.accept_features()
    for buffer in model.buffers():
        buffer.add_(1)
    averages.update_parameters(model)
    buffers, averaged = dict(model.named_buffers()), dict(averages.module.named_buffers())
    assert buffers.keys() == averaged.keys()
    assert all(torch.equal(buffer, averaged[name]) for name, buffer in buffers.items())
