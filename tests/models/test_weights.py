"""Starting weights fit the backbone completely or are refused; only the classification layer may be new."""

import pytest
import torch
import torchvision
from mmpretrain.registry import MODELS

from flowercls.core.errors import CheckpointError
from flowercls.models.freezing import classification_layer
from flowercls.models.weights import apply_weights, unwrap_state_dict

STACKED = dict(type='StackedLinearClsHead', mid_channels=[16])


def weights_of(model):
    """Values that no freshly built model has."""
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()}


FIVE = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']


def apply(model, content, class_names=FIVE):
    return apply_weights(model, content, source='zoo/tiny.pth', class_names=class_names)


def naming(classes, weights):
    """The content of a file that names its classes."""
    return dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=classes)))


def loaded(model, weights):
    """Names of the tensors of ``model`` that have the values in ``weights``."""
    return {name for name, value in model.state_dict().items() if name in weights and torch.equal(value, weights[name])}


@pytest.mark.parametrize('family', ['ResNet', 'DenseNet', 'MobileNetV2'])
@pytest.mark.parametrize('frozen', [0, 2, 'all'])
def test_a_file_of_the_same_model_is_loaded_whole(build, family, frozen):
    weights, model = weights_of(build(family)), build(family, frozen_stages=frozen, channels_last=True)
    trainable = [p.requires_grad for p in model.parameters()]
    report = apply(model, naming(FIVE, weights))
    assert loaded(model, weights) == set(weights)
    assert (report.head, report.num_loaded) == ('loaded', len(weights))
    assert str(report) == f'starting weights: {len(weights)} tensors from zoo/tiny.pth; head: loaded'
    assert [p.requires_grad for p in model.parameters()] == trainable


@pytest.mark.parametrize('nest', [None, 'state_dict', 'model', 'model_state_dict'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_all_ways_to_pack_a_file(build, nest, prefix):
    weights, model = weights_of(build()), build()
    content = {prefix + name: tensor for name, tensor in weights.items()}
    apply(model, {nest: content, 'epoch': 3} if nest else content)
    assert loaded(model, weights) == set(weights)


@pytest.mark.parametrize('content', [{}, dict(state_dict={}), dict(epoch=3), [1, 2], dict(model='resnet')])
def test_a_file_without_tensors_is_refused(content):
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        unwrap_state_dict(content, source='a.pth')


def test_values_that_are_no_numbers_are_refused(build):
    weights, model = weights_of(build()), build()
    before, name = {key: value.clone() for key, value in model.state_dict().items()}, next(iter(weights))
    weights[name].view(-1)[0] = float('nan')
    with pytest.raises(CheckpointError, match=f'{name} contains NaN'):
        apply(model, weights)
    assert loaded(model, before) == set(before)


def test_a_head_of_another_size_starts_anew(build):
    weights, model = weights_of(build(num_classes=1000)), build(num_classes=5)
    head = model.head.fc.weight.clone()
    report = apply(model, weights)
    assert report.head == 'new, 1000 → 5 classes'
    assert torch.equal(model.head.fc.weight, head)
    assert loaded(model, weights) == {name for name in weights if name.startswith('backbone.')}
    assert report.num_loaded == len(weights) - 2


OTHERS = ['aster', 'iris', 'lily', 'poppy', 'zinnia']


@pytest.mark.parametrize(
    ('content', 'head'),
    [
        (lambda weights: weights, 'loaded'),
        (lambda weights: naming(FIVE, weights), 'loaded'),
        (lambda weights: naming(OTHERS, weights), 'new, 5 other classes'),
        (lambda weights: naming(FIVE[:4], weights), 'new, 5 other classes'),  # they do not fit the rows
    ],
)
def test_a_head_of_the_same_size_is_kept_unless_its_classes_are_others(build, content, head):
    weights, model = weights_of(build()), build()
    assert apply(model, content(weights)).head == head
    assert ('head.fc.bias' in loaded(model, weights)) == (head == 'loaded')


@pytest.mark.parametrize('head', [dict(type='LinearClsHead'), STACKED])
@pytest.mark.parametrize('frozen', [0, 'all'])
@pytest.mark.parametrize(
    ('before', 'now', 'kept', 'words'),
    [
        ('ABCDE', 'ABCDEZ', [0, 1, 2, 3, 4, None], '5 of 6 classes kept, new: Z'),
        ('BCDEF', 'ABCDE', [None, 0, 1, 2, 3], '4 of 5 classes kept, new: A'),
        ('ABCDEF', 'BDEF', [1, 3, 4, 5], 'all 4 classes kept, of 6 in the file'),
        ('ABCDE', 'EDCBA', [4, 3, 2, 1, 0], 'all 5 classes kept, in another order in the file'),
        ('ABCDE', 'EXYZUVW', [4, *[None] * 6], '1 of 7 classes kept, new: X, Y, Z, U, V and 1 more'),
        (['e\N{COMBINING ACUTE ACCENT}', 'b'], ['b', 'c', 'é'], [1, None, 0], '2 of 3 classes kept, new: c'),
    ],
)
def test_rows_of_known_classes_are_kept_and_the_others_start_anew(build, before, now, kept, words, head, frozen):
    weights = weights_of(build(head=head, num_classes=len(before)))
    model = build(head=head, num_classes=len(now), frozen_stages=frozen)
    name, layer = classification_layer(model.backbone, model.head)
    start = {key: value.clone() for key, value in layer.state_dict().items()}
    assert apply(model, naming(list(before), weights), list(now)).head == words
    for key, value in layer.state_dict().items():
        for row, old in enumerate(kept):
            assert torch.equal(value[row], start[key][row] if old is None else weights[f'{name}.{key}'][old]), row
    assert loaded(model, weights) >= {key for key in weights if not key.startswith(name)}


def test_rows_that_are_kept_must_be_numbers_too(build):
    weights = weights_of(build())
    weights['head.fc.weight'][0, 0] = float('inf')
    with pytest.raises(CheckpointError, match=r'head\.fc\.weight contains NaN or inf'):
        apply(build(num_classes=6), naming(FIVE, weights), [*FIVE, 'zinnia'])


def test_hidden_layers_of_the_head_are_kept(build):
    weights, model = weights_of(build(head=STACKED, num_classes=1000)), build(head=STACKED, frozen_stages='all')
    assert apply(model, weights).head == 'new, 1000 → 5 classes'
    assert {'head.layers.0.fc.weight', 'head.layers.0.fc.bias'} <= loaded(model, weights)


def test_a_classifier_inside_the_backbone_may_be_new():
    def vgg(num_classes):
        backbone = dict(type='VGG', depth=11, num_classes=num_classes)
        with torch.device('meta'):
            return MODELS.build(dict(type='StagedClassifier', backbone=backbone, head=dict(type='ClsHead')))

    weights = vgg(1000).state_dict()
    model = vgg(5)
    assert apply(model, weights).head == 'new, 1000 → 5 classes'


def test_torchvisions_names_fit_a_resnet(on_meta):
    weights = torchvision.models.resnet18().state_dict()
    model = MODELS.build(dict(type='StagedClassifier', backbone=dict(type='ResNet', depth=18)))
    assert apply(model, weights).num_loaded == len(weights) - 2  # all but fc


def test_counters_of_batches_may_be_absent(build):
    weights, model = weights_of(build()), build()
    apply(model, {name: tensor for name, tensor in weights.items() if 'num_batches' not in name})


def deeper(build):
    return build(backbone_options=dict(depth=34))


def wider(build):
    return build(backbone_options=dict(stem_channels=16))


@pytest.mark.parametrize(
    ('other', 'said'),
    [
        (lambda build: build('DenseNet'), [' 0.0 %', 'missing in the file (100)', 'backbone.conv1.weight', '…']),
        (deeper, ['100.0 %', 'only in the file', 'backbone.layer1.2.conv1.weight']),
        (wider, ['of another shape', 'backbone.conv1.weight (16, 3, 7, 7), the model has (8, 3, 7, 7)']),
    ],
)
def test_weights_of_another_architecture_are_refused_and_nothing_is_loaded(build, other, said):
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        apply(model, weights_of(other(build)))
    assert caught.value.exit_code == 4
    for part in ('zoo/tiny.pth', 'this ResNet', '`load_from`', *said):
        assert part in str(caught.value)
    assert loaded(model, before) == set(before)


def test_one_missing_norm_statistic_is_enough_to_refuse(build):
    weights = weights_of(build())
    del weights['backbone.layer3.1.bn2.running_var']
    with pytest.raises(CheckpointError, match=r'missing in the file \(1\):\s+backbone.layer3.1.bn2.running_var'):
        apply(build(), weights)


def test_the_share_that_fits_is_counted_in_values(build):
    """ResNet-18 of 8 channels: 176,712 parameters and 1,200 norm statistics; the first layer's 1,176 do not fit."""
    weights = weights_of(build())
    weights['backbone.conv1.weight'] = torch.zeros(8, 1, 7, 7)
    share = 100 * (1 - 1_176 / (176_712 + 1_200))
    with pytest.raises(CheckpointError, match=f'{share:.1f} % of its'):
        apply(build(), weights)


def test_loading_hooks_of_a_backbone_are_honoured():
    """mmpretrain's ViT resizes position embeddings: weights for 32 px start a model for 64 px."""

    def vit(size):
        arch = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
        backbone = dict(type='VisionTransformer', arch=arch, img_size=size, patch_size=16)
        return MODELS.build(dict(type='StagedClassifier', backbone=backbone))

    weights, model = vit(32).state_dict(), vit(64)
    apply(model, weights)
    assert model.backbone.pos_embed.shape == (1, 17, 16)
    assert torch.equal(model.backbone.pos_embed[:, 0], weights['backbone.pos_embed'][:, 0])


def test_a_file_that_another_librarys_hook_fails_on_is_refused(build):
    """For another window mmpretrain's Swin needs an index table, which is missing here, or an old scipy."""

    def swin(window):
        arch = dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1])
        backbone = dict(type='SwinTransformer', arch=arch, img_size=64, window_size=window)
        return MODELS.build(dict(type='StagedClassifier', backbone=backbone))

    weights = {k: v for k, v in swin(4).state_dict().items() if not k.endswith('relative_position_index')}
    with pytest.raises(CheckpointError, match='its backbone cannot be adapted .*weights of this backbone'):
        apply(swin(2), weights)
