import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from flowercls.models.freezing import classification_layer
from flowercls.models.stages import PARTS, cut
from helpers.model_configs import TINY_BACKBONES, without_values


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
def on_meta():
    """The whole test builds networks without values."""
    with without_values():
        yield


@pytest.fixture
def check_cuts():
    """Compare prefix and suffix with a backbone in eval mode, bit for bit, at every cut; each value is in one part."""

    def check(backbone, images):
        stages = cut(backbone)
        names = [name for part in PARTS for name in stages.parameters_of(part)]
        assert sorted(names) == sorted(name for name, _ in backbone.named_parameters())
        with torch.no_grad():
            whole = _output(backbone(images))
            for n in range(5):
                assert torch.equal(_output(stages.suffix(stages.prefix(images, n), n)), whole), n
            assert torch.equal(_output(stages.run(images)), whole)

    return check


@pytest.fixture
def check_cuts_in_training():
    """Compare outputs, norm statistics and gradients; dropout and drop-path are drawn from the same seed."""

    def check(build, images, cuts=range(5)):
        def train(backbone, run):
            torch.manual_seed(7)
            output = _output(run(images))
            output.square().sum().backward()
            return [output, *backbone.buffers(), *(parameter.grad for parameter in backbone.parameters())]

        whole = build().train().backbone
        expected = train(whole, whole)
        for n in cuts:
            stages = cut(build().train().backbone)
            tensors = train(stages.backbone, lambda x, s=stages, n=n: s.suffix(s.prefix(x, n), n))
            assert all(torch.equal(a, b) for a, b in zip(tensors, expected, strict=True)), n

    return check


@pytest.fixture
def check_freezing():
    """Train three steps: what is frozen keeps its bits, what has a gradient moves, every other part has some.

    Returns the names of the parameters that had a gradient.
    """

    def check(model, images):
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        driven = _train_three_steps(model, images)
        moved = {name for name, tensor in tensors.items() if not torch.equal(tensor, before[name])}
        frozen = _frozen_names(model, tensors)
        parameters = dict(model.named_parameters())
        assert {name for name, p in parameters.items() if not p.requires_grad} == frozen & parameters.keys()
        assert not moved & frozen
        assert driven and driven <= moved
        assert {name for name in tensors if name.endswith('num_batches_tracked')} - frozen <= moved
        for part in PARTS:
            free = {f'backbone.{name}' for name in model.stages.parameters_of(part)} - frozen
            assert not free or free & driven, part
        return driven

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
