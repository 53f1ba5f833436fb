"""Heat maps beside Captum's, beside hand-made evidence, and in the pixels of the photo."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from mmpretrain.registry import MODELS
from torch import nn

from flowercls.core import palette
from flowercls.core.errors import ConfigError
from flowercls.data.transforms import TorchvisionTransforms
from flowercls.use.heatmap import grad_cam, heatmap_writer, heatmaps, overlay
from flowercls.use.model import Model
from flowercls.use.photos import Photos
from helpers.families import FAMILIES, build, photos
from helpers.model_configs import NAMES, build_real

CROPPED = [dict(type='Resize', size=72), dict(type='CenterCrop', size=64)]


@pytest.fixture
def trained_like():
    """Build a network whose norm layers and head are not at their start, so that no map is empty."""

    def make(family, **options):
        network = build(family, **options).eval()
        generator = torch.Generator().manual_seed(3)
        for name, value in network.state_dict().items():
            if value.is_floating_point() and (value.ndim == 1 or not value.any()) and 'running' not in name:
                value.add_(0.1 * torch.rand(value.shape, generator=generator))
        return network

    return make


def normalised(maps):
    return (maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-30)).detach().numpy()


# --- the map ----------------------------------------------------------------------------------------------------------


def state_of(network):
    return [(p.requires_grad, p.grad, p.clone()) for p in network.parameters()], [m.training for m in network.modules()]


@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_has_a_map_and_is_left_as_it_was(family, trained_like):
    network = trained_like(family, frozen=2)
    before, modes = state_of(network)
    maps = grad_cam(network, photos(1).expand(5, -1, -1, -1), range(5))
    side = {'torchvision VGG': 7, 'VisionTransformer': 4, 'torchvision VisionTransformer': 4}.get(family, 2)
    assert maps.shape == (5, side, side) and maps.dtype == np.float32
    assert maps.min() >= 0 and set(maps.max((1, 2))) <= {0, 1} and maps.max() == 1
    after, modes_after = state_of(network)
    assert modes == modes_after
    for (needs, gradient, value), (needs_after, gradient_after, value_after) in zip(before, after, strict=True):
        assert needs is needs_after and gradient is gradient_after is None and torch.equal(value, value_after)


@pytest.mark.slow  # networks in their real size
@pytest.mark.parametrize('name', NAMES)
def test_every_network_of_the_configs_has_a_map(name):
    maps = grad_cam(build_real(name).eval(), photos(1, 224))
    # 32 pixels of the image are one place, 16 in a ViT; Inception's convolutions have no padding.
    side = 14 if any(word in name for word in ('vit', 'deit')) else 5 if 'inception' in name else 7
    assert maps.shape == (1, side, side)


@pytest.mark.parametrize(
    ('family', 'layer'), [('ResNet', 'layer4'), ('MobileNetV2', 'conv2'), ('DenseNet', 'transitions.3')]
)
def test_maps_are_those_of_captum(family, layer, trained_like):
    network, images = trained_like(family), photos(2, 128)
    network.forward = lambda x: network.head(network.extract_feat(x))
    oracle = LayerGradCam(network.forward, network.backbone.get_submodule(layer))
    for number in range(5):
        expected = normalised(oracle.attribute(images, number, relu_attributions=True)[:, 0])
        assert np.allclose(grad_cam(network, images, [number] * 2), expected, atol=1e-5)


def test_the_map_of_a_class_token_is_captums_at_the_patches_before_the_last_block(trained_like):
    network, images = trained_like('VisionTransformer'), photos()
    patches, last = nn.Identity(), network.backbone.layers[-1]

    def logits(images):
        tokens = network.stages.prefix(images, 3)  # four layers: the input of the last one
        grid = patches(tokens[:, 1:].mT.unflatten(2, (4, 4)))
        tokens = last(torch.cat((tokens[:, :1], grid.flatten(2).mT), dim=1))
        return network.head((network.backbone.ln1(tokens)[:, 0],))

    for number in range(5):
        expected = LayerGradCam(logits, patches).attribute(images, number, relu_attributions=True)
        assert np.allclose(grad_cam(network, images, [number] * 2), normalised(expected[:, 0]), atol=1e-5)


@pytest.mark.parametrize('family', ['SwinTransformer', 'ResNet'])
def test_with_pooling_and_one_linear_layer_it_is_the_class_activation_map(family, trained_like):
    network = trained_like(family)
    features = network.extract_feat(photos(), stage='backbone')[-1]
    by_hand = torch.einsum('c,nchw->nhw', network.head.fc.weight[3], features).relu()  # Zhou et al. 2016
    assert np.allclose(grad_cam(network, photos(), [3, 3]), normalised(by_hand), atol=1e-5)


def test_the_predicted_class_is_explained_if_none_is_named(trained_like):
    network = trained_like('MobileNetV2')
    predicted = network.head(network.extract_feat(photos())).argmax(1).tolist()
    assert np.array_equal(grad_cam(network, photos()), grad_cam(network, photos(), predicted))


@pytest.mark.parametrize('family', ['ResNet', 'torchvision VisionTransformer'])
def test_random_weights_change_the_map(family, trained_like):
    """The sanity check of Adebayo et al. 2018: a map that does not depend on the weights explains nothing."""
    images = photos(1).expand(5, -1, -1, -1)
    maps, again, others = (grad_cam(trained_like(family, seed=seed), images, range(5)) for seed in (0, 0, 1))
    assert np.array_equal(maps, again) and np.abs(maps - others).max() > 0.3


def test_it_is_computed_in_fp32_whatever_the_run_computes_in(trained_like):
    maps = [
        grad_cam(trained_like('ResNet', precision=p, frozen=n), photos()) for p, n in (('fp32', 0), ('bf16', 'all'))
    ]
    assert np.array_equal(*maps)


def test_a_backbone_without_stages_is_refused_in_one_line():
    network = MODELS.build(dict(type='StagedClassifier', backbone=dict(type='LeNet5'), head=dict(type='ClsHead')))
    with pytest.raises(ConfigError, match=r'^no heat map: the backbone LeNet5 .*Fix: [^\n]+$'):
        grad_cam(network, torch.zeros(1, 1, 32, 32))


# --- in the photo -----------------------------------------------------------------------------------------------------


class StandIn:
    """What `heatmaps` needs of a model."""

    batch_size = 2

    def __init__(self, network, transforms):
        self.network, self.pipeline = network, TorchvisionTransforms(transforms)

    def prepare(self, rgb):
        return torch.from_numpy(self.pipeline.transform({'img': rgb[..., ::-1]})['img'].copy()).permute(2, 0, 1)

    def images(self, prepared):
        return torch.stack(prepared).float() / 255  # BGR


@pytest.fixture
def red_finder():
    """A VGG of two classes with hand-made weights: class 1 is red, and its map is where the photo is red."""
    network = MODELS.build(
        dict(
            type='StagedClassifier', precision='fp32', backbone=dict(type='VGG', depth=11),
            neck=dict(type='GlobalAveragePooling'), head=dict(type='LinearClsHead', num_classes=2, in_channels=512),
        )
    ).eval()  # fmt: skip
    for parameter in network.parameters():
        parameter.data.zero_()
    convolutions = [module for module in network.backbone.modules() if isinstance(module, nn.Conv2d)]
    for number, convolution in enumerate(convolutions):  # hands on how red each place is
        convolution.weight.data[0, 0, 1, 1] = 1 if number else -1
    convolutions[0].weight.data[0, 2, 1, 1] = 1  # red minus blue
    network.head.fc.weight.data[1, 0] = 1
    return network


def photo_with_red(rows, columns, height=300, width=400):
    photo = np.full((height, width, 3), 90, np.uint8)
    photo[rows, columns] = (250, 20, 20)
    return photo


@pytest.mark.parametrize(
    'corner', [(slice(40, 90), slice(80, 130)), (slice(200, 260), slice(260, 320)), (slice(40, 90), slice(260, 320))]
)
def test_the_map_is_where_the_evidence_is(red_finder, corner):
    model = StandIn(red_finder, [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)])
    (heat,) = heatmaps(model, [photo_with_red(*corner)], [1])
    assert heat.shape == (300, 400) and heat.dtype == np.float32
    # 256 / 300 of the size; 224 of 256 rows and of 341 columns are left: 18.75 rows and 68 columns are cropped away.
    assert np.isnan(heat[:18]).all() and np.isnan(heat[:, :68]).all() and np.isnan(heat[:, -68:]).all()
    assert not np.isnan(heat[20:-20, 70:-70]).any()
    # A cell is 37.5 pixels wide. One that touches the red is 1; the map falls to 0 at the centre of the next cell.
    sides = zip(corner, np.indices(heat.shape), strict=True)
    distance = np.maximum(*(np.maximum(side.start - where, where - side.stop + 1) for side, where in sides))
    assert (
        heat[distance <= 0].max() == 1
        and heat[distance <= 0].min() > 0.25
        and np.nanmax(heat[distance > 1.5 * 37.5]) == 0
    )


def test_photos_of_any_sizes_have_maps_of_their_sizes(red_finder):
    sizes = [(72, 90), (300, 80), (72, 90), (20, 31), (1, 7)]
    made = heatmaps(StandIn(red_finder, CROPPED), [photo_with_red(..., slice(0, 40), *size) for size in sizes])
    assert [heat.shape for heat in made] == sizes
    assert all(0 <= np.nanmin(heat) <= np.nanmax(heat) <= 1 for heat in made)
    assert np.array_equal(made[0], made[2], equal_nan=True)


@pytest.mark.parametrize(
    ('transforms', 'seen'),
    [
        ([dict(type='Resize', size=(64, 64))], np.s_[0:100, 0:200]),
        ([dict(type='Resize', size=64), dict(type='CenterCrop', size=64)], np.s_[0:100, 50:150]),
        ([dict(type='CenterCrop', size=50)], np.s_[25:75, 75:125]),
        ([dict(type='Pad', padding=[0, 50], fill=7), dict(type='Resize', size=64)], np.s_[0:100, 0:200]),
        ([dict(type='RandomHorizontalFlip', p=1), dict(type='Resize', size=(64, 64))], np.s_[0:100, 0:200]),
    ],
)
def test_the_test_pipeline_itself_says_what_the_network_sees(red_finder, transforms, seen):
    corner = np.s_[30:50, 100:120]
    (heat,) = heatmaps(StandIn(red_finder, transforms), [photo_with_red(*corner, 100, 200)], [1])
    expected = np.ones((100, 200), bool)
    expected[seen] = False
    assert np.mean(np.isnan(heat) != expected) < 0.03
    weights = np.nan_to_num(heat) / np.nansum(heat)
    assert abs((weights.sum(0) * np.arange(200)).sum() - 110) < 30  # there are two cells of 64 px, blurred


def test_a_pipeline_that_bends_the_photo_is_refused(red_finder):
    with pytest.raises(ConfigError, match='does more than resize'):
        heatmaps(
            StandIn(red_finder, [*CROPPED, dict(type='RandomSolarize', threshold=100, p=1)]), [photo_with_red(0, 0)]
        )


def test_an_export_has_no_gradients(tmp_path):
    model = Model()
    model.source = tmp_path / 'model.onnx'
    with pytest.raises(ConfigError, match=r'--heatmap: .*model\.onnx is an export'):
        heatmap_writer(model, Photos(), tmp_path)


def test_a_drawing_is_grey_coloured_by_heat_and_dark_where_nothing_is_seen():
    photo = np.full((1, 4, 3), 200, np.uint8)
    drawn = overlay(photo, np.array([[0, 0.35, 1, np.nan]], np.float32))[0].astype(int)
    hottest = [int(palette.HEAT[-1][i : i + 2], 16) for i in (1, 3, 5)]
    assert np.array_equal(drawn[0], [200] * 3) and np.array_equal(drawn[3], [70] * 3)
    assert np.abs(drawn[2] - (0.35 * 200 + 0.65 * np.array(hottest))).max() <= 1
    assert drawn[1].min() < drawn[1].max()
