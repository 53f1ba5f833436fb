"""The graph beside the test pipeline and the network it is made from."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import Compose
from mmpretrain.registry import MODELS, TRANSFORMS
from PIL import Image

import flowercls.registration  # noqa: F401
from flowercls.core.errors import ConfigError
from flowercls.data.transforms import shrunk
from flowercls.evaluate.calibration import class_distances, fit_feature_space
from flowercls.models.freezing import classification_layer
from flowercls.models.preprocess import PhotoPreprocessor
from flowercls.use.export import onnx_graph
from flowercls.use.export.onnx_graph import Crop, Resize
from helpers.model_configs import NAMES, build_real

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SIZES = [(97, 130), (130, 97), (72, 72), (64, 64), (301, 457), (457, 301), (30, 200), (51, 40), (3, 90)]
CROP = [dict(type='Resize', size=72), dict(type='CenterCrop', size=64)]


def ours(*transforms):
    return theirs(dict(type='TorchvisionTransforms', transforms=list(transforms)))


def theirs(*transforms):
    return [dict(type='LoadImage'), *transforms, dict(type='PackInputs')]


def model_of(pipeline, cache_size=None):
    """What the graph's preprocessing is made from, as in a `TorchModel`."""
    settings = ConfigDict(mean=MEAN, std=STD, to_rgb=True)
    with TRANSFORMS.switch_scope_and_registry('mmpretrain'):
        built = Compose([TRANSFORMS.build(step) for step in pipeline])
    return SimpleNamespace(
        source=Path('a.pth'),
        pipeline=built,
        cache_size=cache_size,
        config=SimpleNamespace(model=ConfigDict(data_preprocessor=settings)),
        network=SimpleNamespace(data_preprocessor=PhotoPreprocessor(**settings)),
    )


def session_of(graph):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=['CPUExecutionProvider'])


def photo(height, width):
    """A smooth picture with edges, as photos are."""
    rng = np.random.default_rng(height * width)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    rgb = np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    rgb[height // 4 : height // 2, width // 3 :] //= 2
    return rgb


def images_of(model, rgb):
    """The normalised image of the run, and of the graph."""
    inputs = shrunk(rgb, model.cache_size) if model.cache_size else rgb
    packed = model.pipeline({'img': inputs[..., ::-1], 'img_path': ''})['inputs']
    expected = model.network.data_preprocessor({'inputs': packed[None]})['inputs'].numpy()
    return expected, session_of(onnx_graph.preprocessing_graph(model)).run(None, {'photos': rgb[None]})[0]


# Pipeline, and the largest share of pixel values that differ. Where a photo gets larger many values lie between two
# levels, and either is right. cv2 and torch without antialias compute in fractions of another size.
EDGE, THEIR_CROP = dict(type='ResizeEdge', scale=72), dict(type='CenterCrop', crop_size=64)
PILLOW_EDGE, PILLOW_EXACT = dict(EDGE, backend='pillow'), dict(type='Resize', scale=(56, 40), backend='pillow')
PIPELINES = {
    'short': (ours(*CROP), 0.06),
    'short, bicubic': (ours(dict(CROP[0], interpolation='bicubic'), CROP[1]), 0.01),
    'exact': (ours(dict(type='Resize', size=[40, 56])), 0.03),
    'exact, bicubic': (ours(dict(type='Resize', size=(56, 40), interpolation='bicubic')), 0.01),
    'without antialias': (ours(dict(type='Resize', size=(56, 40), antialias=False)), 0.25),
    'crop alone': (ours(dict(type='CenterCrop', size=(64, 61))), 0),
    'crop of more than there is': (ours(dict(type='Resize', size=60), dict(type='CenterCrop', size=(65, 62))), 0.06),
    'two resizes': (ours(*CROP, dict(type='Resize', size=32)), 0.05),
    'theirs, pillow': (theirs(PILLOW_EDGE, THEIR_CROP), 0.07),
    'theirs, cv2': (theirs(EDGE, THEIR_CROP), 0.15),
    'theirs, long edge': (theirs(dict(PILLOW_EDGE, edge='long'), dict(PILLOW_EXACT, scale=(9, 9))), 0.15),
    'theirs, exact': (theirs(PILLOW_EXACT), 0.13),
}


@pytest.mark.parametrize('name', PIPELINES)
def test_images_are_those_of_the_test_pipeline(name):
    pipeline, share = PIPELINES[name]
    model = model_of(pipeline)
    for size in SIZES:
        levels = levels_between(model, photo(*size))
        assert levels.max() <= 2 and (levels > 0).mean() <= share, size  # a level for each direction of the resize


def test_of_photos_that_get_smaller_nearly_every_value_is_the_same():
    model = model_of(ours(*CROP))
    for size in [(97, 130), (130, 97), (301, 457), (457, 301)]:
        levels = levels_between(model, photo(*size))
        assert levels.max() <= 1 and (levels > 0).mean() < 0.002, size  # a resize in floating point: 0.15 and more


def levels_between(model, rgb):
    """By how many of 255 levels the values differ."""
    expected, found = images_of(model, rgb)
    assert found.shape == expected.shape and found.dtype == np.float32
    levels = np.abs(found - expected) * np.reshape(STD, (3, 1, 1))
    assert np.abs(levels - levels.round()).max() < 1e-3
    assert np.array_equal(found[levels < 0.5], expected[levels < 0.5])
    return levels.round()


def test_photos_are_shrunk_as_in_the_photo_cache_first():
    model = model_of(ours(*CROP), cache_size=100)
    assert onnx_graph.pipeline_steps(model)[0] == Resize('shrink', (100,))
    for size in SIZES:
        levels = levels_between(model, photo(*size))
        assert levels.max() <= 3 and (levels > 0).mean() < 0.07, size


def test_a_cache_of_the_size_of_the_resize_adds_no_step():
    steps = [Resize('short', (72,)), Crop((64, 64), pads=False)]
    assert onnx_graph.pipeline_steps(model_of(ours(*CROP), cache_size=72)) == steps
    cubic = ours(dict(CROP[0], interpolation='bicubic'), CROP[1])
    assert len(onnx_graph.pipeline_steps(model_of(cubic, cache_size=72))) == 3


def test_steps_are_told_as_plain_values():
    described = onnx_graph.described(onnx_graph.pipeline_steps(model_of(ours(*CROP))))
    assert described == [
        {'rule': 'short', 'size': (72,), 'mode': 'linear', 'antialias': True},
        {'rule': 'crop', 'size': (64, 64)},
    ]


@pytest.mark.parametrize('settings', [dict(mean=MEAN, std=STD, to_rgb=True), dict(mean=MEAN, std=STD), dict()])
def test_channels_and_normalisation_are_those_of_the_run(settings):
    model = model_of(ours(dict(type='CenterCrop', size=64)))
    model.config.model.data_preprocessor = ConfigDict(settings)
    model.network.data_preprocessor = PhotoPreprocessor(**settings)
    expected, found = images_of(model, photo(70, 80))
    assert np.array_equal(expected, found)


def test_several_photos_of_one_size_are_taken_at_once():
    session = session_of(onnx_graph.preprocessing_graph(model_of(ours(*CROP))))
    photos = np.stack([photo(97, 130), photo(97, 130)[::-1], photo(97, 130) // 2])
    together = session.run(None, {'photos': photos})[0]
    assert np.array_equal(together, np.concatenate([session.run(None, {'photos': rgb[None]})[0] for rgb in photos]))


@pytest.mark.parametrize(
    'pipeline',
    [
        ours(dict(type='Resize', size=72)),
        ours(dict(type='Resize', size=72, max_size=100), CROP[1]),
        ours(dict(type='Resize', size=(64, 64), interpolation='nearest')),
        ours(dict(type='Resize', size=(64, 64), interpolation='bicubic', antialias=False)),
        ours(*CROP, dict(type='Grayscale', num_output_channels=3)),
        theirs(dict(type='EfficientNetCenterCrop', crop_size=64)),
        theirs(dict(type='ResizeEdge', scale=60), dict(type='CenterCrop', crop_size=64)),
        theirs(dict(type='Resize', scale=(64, 64), keep_ratio=True)),
        theirs(),
    ],
    ids=str,
)
def test_what_cannot_be_written_exactly_is_refused(pipeline):
    with pytest.raises(ConfigError, match='Fix: train with'):
        onnx_graph.pipeline_steps(model_of(pipeline))


# ---------------------------------------------------------------- the network


def trained_like(network, size=64):
    """A network whose norm layers and head are not at their start, so that its answers differ from image to image."""
    generator = torch.Generator().manual_seed(3)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and (value.ndim == 1 or not value.any()) and 'running' not in name:
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        module.momentum = 1.0  # their statistics become those of these images
    with torch.no_grad():
        network.train().extract_feat(torch.randn(4, 3, size, size, generator=generator))
    return network.eval()


def compare(network, size, more=None, **outputs):
    """The graph, three images and its outputs for them; its probabilities are those of the network, in any batch."""
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        _, layer = classification_layer(network.backbone, network.head)
        logits = network.head(network.extract_feat(images))
        layer.weight /= np.ptp(logits.numpy(), axis=0).max()  # random networks answer nearly the same to everything
        layer.bias -= network.head(network.extract_feat(images)).mean(dim=0)
        expected = network.head.predict(network.extract_feat(images))
    expected = torch.stack([sample.pred_score for sample in expected]).numpy()
    model = SimpleNamespace(network=network, image_size=(size, size), source=Path('a.pth'), **(more or {}))
    graph = onnx_graph.network_graph(model, **outputs)
    session = session_of(graph)
    results = session.run(None, {'images': images.numpy()})
    assert np.ptp(expected, axis=0).max() > 0.05
    # Random weights enlarge each rounding: 1e-6 of the input became 0.002 of a probability in EfficientNetV2-S.
    assert np.abs(results[0] - expected).max() < 0.005
    assert np.abs(session.run(None, {'images': images[:1].numpy()})[0] - expected[:1]).max() < 0.005
    return graph, images, results


@pytest.fixture(scope='module')
def tiny():
    torch.manual_seed(0)
    backbone = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
    head = dict(type='LinearClsHead', num_classes=5, in_channels=64)
    return trained_like(
        MODELS.build(
            dict(type='StagedClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head,
                 precision='bf16', channels_last=True)
        )
    )  # fmt: skip


@pytest.mark.slow  # two exports, 3 s
def test_class_maps_and_distance_are_further_outputs(tiny):
    rng = np.random.default_rng(0)
    space = fit_feature_space(rng.random((60, 64), np.float32), np.arange(60) % 5)
    calibration = {'none_of_these': {'limit': 1.0}}
    tiny.precision = 'fp32'
    model = SimpleNamespace(network=tiny, calibration=calibration)
    assert onnx_graph.has_class_maps(model) and onnx_graph.has_distance(model)
    graph, images, (_, maps, distances) = compare(
        tiny, 64, class_maps=True, distance=True, more={'feature_space': space}
    )
    assert [output.name for output in graph.graph.output] == ['probabilities', 'class_maps', 'distance']
    with torch.no_grad():
        features = tiny.extract_feat(images, stage='pre_logits').numpy()
        logits = tiny.head(tiny.extract_feat(images)).numpy()
    assert np.allclose(distances, class_distances(features, space).min(axis=1), rtol=1e-3)
    # Zhou et al. 2016, equation 1: the mean of a class's map is its logit, but for the bias.
    assert np.allclose(maps.mean(axis=(2, 3)), logits - tiny.head.fc.bias.detach().numpy(), atol=1e-4)


@pytest.fixture(scope='module')
def written(tiny):
    return onnx_graph.network_graph(SimpleNamespace(network=tiny, image_size=(64, 64), source=Path('a.pth')))


def test_a_graph_names_no_folder_of_this_machine_and_is_checked(tiny, written):
    preprocessing = onnx_graph.preprocessing_graph(model_of(ours(*CROP)))
    graph = onnx_graph.joined_graph(preprocessing, written, {'a': ['ä'], 'b': 'c'})
    content = graph.SerializeToString()
    for trace in (str(Path(onnx_graph.__file__).parents[2]), 'site-packages', str(Path.home()), 'File "', '.py'):
        assert trace.encode() not in content
    assert {pair.key: pair.value for pair in graph.metadata_props} == {'a': '["ä"]', 'b': 'c'}
    assert [(each.domain, each.version) for each in graph.opset_import] == [('', 18)]
    shape = graph.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ['n', 'height', 'width', 3]
    onnx.checker.check_model(graph, full_check=True)
    assert tiny.precision in ('bf16', 'fp32') and tiny.channels_last  # the model itself is as it was


@pytest.mark.slow  # as above
def test_a_network_that_torch_cannot_export_says_so_in_a_line(tiny, monkeypatch, capfd):
    def forward(images):
        return (images.sum().item(),)

    monkeypatch.setattr(tiny.backbone, 'forward', forward)
    with pytest.raises(ConfigError, match='torch.onnx cannot export ResNet with LinearClsHead: .*Fix: ') as error:
        onnx_graph.network_graph(SimpleNamespace(network=tiny, image_size=(64, 64), source=Path('a.pth')))
    assert '\n' not in str(error.value) and capfd.readouterr() == ('', '')


@pytest.mark.slow  # as above
def test_a_batch_size_that_was_taken_for_a_constant_is_found(tiny, monkeypatch):
    """As the number of photos in mmpretrain's Swin is."""
    monkeypatch.setattr(onnx_graph, 'TRIED_BATCHES', (1,))
    neck = tiny.neck.forward
    monkeypatch.setattr(tiny.neck, 'forward', lambda inputs: tuple(x * int(len(x) / 1.0) for x in neck(inputs)))
    with pytest.raises(ConfigError, match='images get other probabilities'):
        onnx_graph.network_graph(SimpleNamespace(network=tiny, image_size=(64, 64), source=Path('a.pth')))


def test_a_head_with_scores_of_its_own_is_refused():
    head = MODELS.build(dict(type='mmpretrain.MultiLabelLinearClsHead', num_classes=5, in_channels=8))
    network = SimpleNamespace(head=head, backbone=None)
    with pytest.raises(ConfigError, match='MultiLabelLinearClsHead.*Fix: '):
        onnx_graph.network_graph(SimpleNamespace(network=network, source=Path('a.pth')))


def test_a_network_above_the_limit_of_the_format_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(onnx_graph, 'MAX_BYTES', 1000)
    with pytest.raises(ConfigError, match='2 GB.*Fix: '):
        onnx_graph.network_graph(SimpleNamespace(network=tiny, image_size=(64, 64), source=Path('a.pth')))


# Inputs below these cannot be computed.
IMAGE_SIZES = {'vit': 224, 'deit': 224, 'swin': 224, 'vgg': 224, 'inception': 299}


# The same layers as a smaller network, many more of them.
DEEPER = ('resnet101', 'resnet152', 'densenet161', 'densenet169', 'densenet201', 'vit_base')


@pytest.mark.parametrize(
    'name',
    [  # slow: networks in their real size
        pytest.param(name, marks=pytest.mark.exhaustive if any(d in name for d in DEEPER) else pytest.mark.slow)
        for name in NAMES
    ],
)
def test_every_network_that_is_shipped_can_be_exported(name):
    size = next((size for part, size in IMAGE_SIZES.items() if part in name), 64)
    compare(trained_like(build_real(name), size), size)
