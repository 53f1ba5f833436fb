import contextlib
import functools
from unittest import mock

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import flowercls.models.classifier  # noqa: F401  registers StagedClassifier
from flowercls.models.freezing import classification_layer
from flowercls.models.stages import PARTS, cut

# Name: backbone config and number of channels it ends with. Stochastic parts are on, so that train mode is a real test.
TINY_BACKBONES = {
    'ResNet': (dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, drop_path_rate=0.2), 64),
    'ResNetV1c': (dict(type='ResNetV1c', depth=50, stem_channels=8, base_channels=8), 256),
    'ResNeXt': (dict(type='ResNeXt', depth=50, groups=2, width_per_group=4, stem_channels=8, base_channels=8), 256),
    'DenseNet': (
        dict(type='DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16), drop_rate=0.2),
        32,
    ),
    'MobileNetV2': (dict(type='MobileNetV2', widen_factor=0.25), 1280),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are faster without threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model_config():
    """Config of a tiny classifier; keyword arguments that are not named here go to the model."""

    def make(backbone='ResNet', num_classes=5, head=None, backbone_options=None, **model):
        backbone, channels = TINY_BACKBONES[backbone]
        head = head or dict(type='LinearClsHead')
        return dict(
            type='StagedClassifier',
            backbone=dict(backbone, **(backbone_options or {})),
            head=dict(head, num_classes=num_classes, in_channels=channels),
            **dict(dict(neck=dict(type='GlobalAveragePooling'), precision='fp32', channels_last=False), **model),
        )

    return make


@pytest.fixture
def build(model_config):
    """Build a tiny classifier with fixed weights."""

    def make(*args, **kwargs):
        torch.manual_seed(0)
        return MODELS.build(model_config(*args, **kwargs))

    return make


@pytest.fixture
def batch():
    """Four small images and their data samples."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 64, 64, generator=generator)
    return images, [DataSample().set_gt_label(label) for label in (0, 1, 2, 3)]


@pytest.fixture
def without_values():
    """A context in which networks are built without values, so in no time; only what they read off is real."""

    @contextlib.contextmanager
    def context():
        rates = functools.partial(torch.linspace, device='cpu')
        with mock.patch.object(torch, 'linspace', rates), torch.device('meta'):
            yield

    return context


@pytest.fixture
def on_meta(without_values):
    """The whole test runs so."""
    with without_values():
        yield


@pytest.fixture
def check_cuts():
    """Compare prefix and suffix with a backbone in eval mode, bit for bit, at every cut."""

    def check(backbone, images):
        stages = cut(backbone)
        with torch.no_grad():
            whole = _output(backbone(images))
            for n in range(5):
                assert torch.equal(_output(stages.suffix(stages.prefix(images, n), n)), whole), n
            assert torch.equal(_output(stages.run(images)), whole)

    return check


@pytest.fixture
def check_cuts_in_training():
    """Compare outputs, norm statistics and gradients; dropout and drop-path are drawn from the same seed."""

    def check(build, images, n=2):
        whole, parts = build().train().backbone, build().train().backbone
        stages, outputs = cut(parts), []
        for run in (whole, lambda x: stages.suffix(stages.prefix(x, n), n)):
            torch.manual_seed(7)
            outputs.append(_output(run(images)))
            outputs[-1].square().sum().backward()
        assert torch.equal(*outputs)
        assert all(torch.equal(a, b) for a, b in zip(parts.buffers(), whole.buffers(), strict=True))
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(parts.parameters(), whole.parameters(), strict=True))

    return check


@pytest.fixture
def check_freezing():
    """Train three steps: what is frozen keeps its bits, what has a gradient moves, every other part has some."""

    def check(model, images):
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        driven = _train_three_steps(model, images)
        moved = {name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])}
        frozen = _frozen_names(model, tensors)
        assert not moved & frozen
        assert driven and driven <= moved
        assert {name for name in tensors if name.endswith('num_batches_tracked')} - frozen <= moved
        for part in PARTS:
            free = {f'backbone.{name}' for name in model.stages.parameters_of(part)} - frozen
            assert not free or free & driven, part

    return check


def _output(outputs):
    """The one tensor that a backbone returns; mmpretrain's InceptionV3 returns None before it."""
    (output,) = [output for output in outputs if output is not None]
    return output


def _frozen_names(model, tensors):
    if model.frozen_stages == 'all':
        layer, _ = classification_layer(model.backbone, model.head)
        return {name for name in tensors if not name.startswith(f'{layer}.')}
    parts = PARTS[: model.frozen_stages + 1] if model.frozen_stages else ()
    modules = [module for part in parts for module in model.stages.modules_of(part).values()]
    buffers = {id(buffer) for module in modules for buffer in module.buffers()}  # by name, `norm1` hides a `bn1`
    parameters = {f'backbone.{name}' for part in parts for name in model.stages.parameters_of(part)}
    return parameters | {name for name, tensor in tensors.items() if id(tensor) in buffers}


def _train_three_steps(model, images):
    """With weight decay over all parameters; the names of those that ever had a gradient other than 0."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    samples = [DataSample().set_gt_label(label) for label in range(len(images))]
    driven = set()
    for _ in range(3):
        optimizer.zero_grad()
        model(images, samples, mode='loss')['loss'].backward()
        driven |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
    return driven
