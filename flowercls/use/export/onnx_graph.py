"""A classifier as one ONNX graph that takes photos as they are decoded.

The graph is two graphs joined: the preprocessing, written here node by node, and the network, which torch.onnx writes.
Photos are resized on uint8 with antialias, as the test pipeline does it. A resize in floating point, which exporters
usually write, gives another value for most pixels.
"""

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

import mmcv.transforms
import numpy as np
import onnx
import torch
from mmpretrain.datasets.transforms import PackInputs, ResizeEdge
from mmpretrain.models.heads import ClsHead, LinearClsHead
from mmpretrain.models.necks import GlobalAveragePooling
from mmpretrain.models.utils import ShiftWindowMSA
from onnx import compose, numpy_helper, parser
from torch import Tensor, nn
from torchvision.transforms import v2

import flowercls
from flowercls.core.errors import ConfigError
from flowercls.data.transforms import LoadImage, TorchvisionTransforms
from flowercls.evaluate.calibration import FeatureSpace, class_distances
from flowercls.use.export.onnx_file import CLASS_MAPS, DISTANCE, INPUT, PROBABILITIES
from flowercls.use.torch_model import TorchModel

OPSET = 18  # the first whose Resize has antialias
IMAGES = 'images'
MAX_BYTES = 2**31 - 2**24  # protobuf holds 2 GB; the rest is for the graph
TRIED_BATCHES = (1, 3)  # sizes other than that of the export's own example
MAX_CORE_DIFFERENCE = 0.01  # of a probability on noise; a deep network with random weights differed by 0.002
INTERPOLATIONS = {'bilinear': 'linear', 'bicubic': 'cubic'}  # torchvision's and mmpretrain's names -> ONNX's


# ---------------------------------------------------------------- the test pipeline as steps


@dataclass(frozen=True)
class Resize:
    """A resize of the whole photo.

    Attributes:
        rule: ``'exact'`` (to ``size``), ``'short'`` or ``'long'`` (that edge to ``size[0]``), or ``'shrink'``: the
            short edge to ``size[0]`` unless it is shorter.
        size: Height and width in pixels, or the length of one edge.
        mode: ``'linear'`` or ``'cubic'``.
        antialias: Whether the filter widens where a photo gets smaller.
    """

    rule: str
    size: tuple[int, ...]
    mode: str = 'linear'
    antialias: bool = True

    def nodes(self, k: int) -> str:
        """Return the nodes that turn ``x{k-1}``, (N, H, W, 3), and its size ``hw{k-1}`` into ``x{k}`` and ``hw{k}``."""
        before = k - 1
        if self.rule == 'exact':
            size = f'hw{k} = {_ints(*self.size)}'
        else:
            # Integers, rounded down, as torchvision does it.
            edge = 'ReduceMax' if self.rule == 'long' else 'ReduceMin'
            limit = f'Min (limit{k}, edge{k})' if self.rule == 'shrink' else f'Identity (limit{k})'
            size = f"""
                limit{k} = {_ints(*self.size)}
                edge{k} = {edge} <keepdims = 1> (hw{before})
                target{k} = {limit}
                scaled{k} = Mul (hw{before}, target{k})
                hw{k} = Div (scaled{k}, edge{k})"""
        # Not the attribute `axes`: onnxruntime 1.32 confuses it with the transpose that it moves past the resize.
        sizes = f'sizes{k} = Concat <axis = 0> (number, hw{k}, channels)'
        how = f'mode = "{self.mode}", coordinate_transformation_mode = "half_pixel"'
        if self.antialias:  # on uint8: onnxruntime rounds after each direction then, as torchvision and Pillow do
            how += ', antialias = 1, exclude_outside = 1, cubic_coeff_a = -0.5'
            return f'{size}\n{sizes}\nx{k} = Resize <{how}> (x{before}, , , sizes{k})'
        return f"""
            {size}
            {sizes}
            floats{k} = Cast <to = 1> (x{before})
            resized{k} = Resize <{how}> (floats{k}, , , sizes{k})
            rounded{k} = Round (resized{k})
            x{k} = Cast <to = 2> (rounded{k})"""


@dataclass(frozen=True)
class Crop:
    """The centre of a photo; where that is smaller, zeros are put around it, as torchvision does.

    Attributes:
        size: Height and width in pixels.
        pads: Whether a photo can be smaller.
    """

    size: tuple[int, int]
    pads: bool

    def nodes(self, k: int) -> str:
        """Return nodes as `Resize.nodes`."""
        before = k - 1
        source, padding = f'x{before}', f'inner{k} = Identity (hw{before})'
        if self.pads:
            source = f'padded{k}'
            padding = f"""
                zero{k} = {_ints(0)}
                missing{k} = Sub (hw{k}, hw{before})
                lacking{k} = Max (missing{k}, zero{k})
                two{k} = {_ints(2)}
                above{k} = Div (lacking{k}, two{k})
                below{k} = Sub (lacking{k}, above{k})
                pads{k} = Concat <axis = 0> (zero{k}, above{k}, zero{k}, zero{k}, below{k}, zero{k})
                padded{k} = Pad (x{before}, pads{k})
                inner{k} = Max (hw{before}, hw{k})"""
        # Round is half to even, as Python's, which torchvision and mmcv call.
        return f"""
            hw{k} = {_ints(*self.size)}
            {padding}
            free{k} = Sub (inner{k}, hw{k})
            float_free{k} = Cast <to = 1> (free{k})
            half{k} = Constant <value_float = 0.5> ()
            halved{k} = Mul (float_free{k}, half{k})
            rounded{k} = Round (halved{k})
            start{k} = Cast <to = 7> (rounded{k})
            end{k} = Add (start{k}, hw{k})
            axes{k} = {_ints(1, 2)}
            x{k} = Slice ({source}, start{k}, end{k}, axes{k})"""


def _ints(*numbers: int) -> str:
    return f'Constant <value_ints = [{", ".join(map(str, numbers))}]> ()'


def pipeline_steps(model: TorchModel) -> list[Resize | Crop]:
    """Return what a model does to a decoded photo before the network.

    Raises:
        ConfigError: if a step cannot be written as ONNX, or the images do not all have one size.
    """
    steps = [Resize('shrink', (model.cache_size,))] if model.cache_size else []
    smallest = None  # known height and width, at least
    is_fixed = False
    for transform in _flat(model.pipeline.transforms):
        if isinstance(transform, LoadImage | PackInputs):
            continue
        step = _step_of(transform, smallest)
        if isinstance(step, Resize) and step.rule == 'short' and is_fixed:
            step = Resize('exact', tuple(step.size[0] * edge // min(smallest) for edge in smallest), *_how(step))
        if isinstance(step, Crop) or step.rule == 'exact':
            smallest, is_fixed = step.size, True
        else:
            smallest, is_fixed = (step.size * 2 if step.rule == 'short' else None), False
        if steps and isinstance(step, Resize) and steps == [Resize('shrink', step.size)] and step.rule == 'short':
            steps = [] if _how(step) == _how(steps[0]) else steps  # the photo cache has done this step already
        steps.append(step)
    if not is_fixed:
        raise ConfigError(
            f'{model.source}: its test pipeline gives images of different sizes, which an ONNX file cannot hold in one '
            'batch. Fix: train with a pipeline that ends with a CenterCrop, or a Resize to a height and a width.'
        )
    return steps


def described(steps: list[Resize | Crop]) -> list[dict]:
    """Return steps as plain values: ``rule`` (of `Resize`, or ``'crop'``), ``size``, ``mode`` and ``antialias``."""
    return [asdict(step) if isinstance(step, Resize) else {'rule': 'crop', 'size': step.size} for step in steps]


def _flat(transforms: list) -> Iterator[Any]:
    for transform in transforms:
        if isinstance(transform, TorchvisionTransforms):
            yield from transform.compose.transforms
        else:
            yield transform


def _how(step: Resize) -> tuple[str, bool]:
    return step.mode, step.antialias


def _step_of(transform: Any, smallest: tuple[int, int] | None) -> Resize | Crop:
    if isinstance(transform, v2.CenterCrop):
        size = tuple(transform.size)
        return Crop(size, pads=smallest is None or any(a < b for a, b in zip(smallest, size, strict=True)))
    if isinstance(transform, v2.Resize):
        mode = INTERPOLATIONS.get(v2.InterpolationMode(transform.interpolation).value)
        if transform.size and transform.max_size is None and mode and (transform.antialias or mode == 'linear'):
            size = tuple(transform.size)
            return Resize('short' if len(size) == 1 else 'exact', size, mode, bool(transform.antialias))
    if isinstance(transform, mmcv.transforms.CenterCrop) and not transform.auto_pad:
        size = transform.crop_size[::-1]  # theirs is (width, height)
        if smallest and all(a >= b for a, b in zip(smallest, size, strict=True)):
            return Crop(size, pads=False)
    if isinstance(transform, ResizeEdge | mmcv.transforms.Resize):
        mode, antialias = INTERPOLATIONS.get(transform.interpolation), transform.backend == 'pillow'
        if mode and (antialias or mode == 'linear'):
            if isinstance(transform, ResizeEdge) and transform.edge in ('short', 'long'):
                return Resize(transform.edge, (transform.scale,), mode, antialias)
            if isinstance(transform, mmcv.transforms.Resize) and transform.scale and not transform.keep_ratio:
                return Resize('exact', tuple(transform.scale[::-1]), mode, antialias)
    raise ConfigError(
        f'test pipeline: {transform} cannot be written into an ONNX file as it is computed here. What can: Resize '
        '(bilinear, or bicubic with antialias) and CenterCrop of torchvision; Resize, ResizeEdge and CenterCrop of '
        'mmpretrain. Fix: train with one of these in val_dataloader.dataset.pipeline.'
    )


def preprocessing_graph(model: TorchModel) -> onnx.ModelProto:
    """Return the graph that makes normalised images, float32 (N, 3, h, w), of photos, uint8 (N, H, W, 3).

    Raises:
        ConfigError: as `pipeline_steps`, or if the normalisation is of an unknown kind.
    """
    steps = pipeline_steps(model)
    settings = model.config.model.data_preprocessor or {}
    height, width = steps[-1].size
    if any(edge % settings.get('pad_size_divisor', 1) for edge in (height, width)):
        raise ConfigError(
            f'{model.source}: data_preprocessor.pad_size_divisor pads images of {height} x {width} px, which cannot '
            'be exported. Fix: train with an image size that needs no padding.'
        )
    last = f'x{len(steps)}'
    order = [0, 1, 2] if settings.get('to_rgb') else [2, 1, 0]  # pipelines hand over BGR, photos are RGB
    nodes = '\n'.join(step.nodes(k) for k, step in enumerate(steps, start=1))
    graph = parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : {OPSET}]>
        preprocessing (uint8[n, height, width, 3] {INPUT}) => (float[n, 3, {height}, {width}] {IMAGES})
        {{
            number = Shape <start = 0, end = 1> ({INPUT})
            hw0 = Shape <start = 1, end = 3> ({INPUT})
            channels = {_ints(3)}
            x0 = Identity ({INPUT})
            {nodes}
            planes = Transpose <perm = [0, 3, 1, 2]> ({last})
            order = {_ints(*order)}
            ordered = Gather <axis = 1> (planes, order)
            floats = Cast <to = 1> (ordered)
            centred = Sub (floats, mean)
            {IMAGES} = Div (centred, std)
        }}""")
    buffers = model.network.data_preprocessor
    for name, default in (('mean', 0.0), ('std', 1.0)):
        values = getattr(buffers, name, torch.full((3, 1, 1), default))
        graph.graph.initializer.append(numpy_helper.from_array(values.float().cpu().numpy(), name))
    return graph


# ---------------------------------------------------------------- the network


class Network(nn.Module):
    """Backbone, neck, head and softmax, as ``StagedClassifier.predict`` computes them in fp32; see `network_graph`."""

    def __init__(self, model: TorchModel, class_maps: bool, distance: bool) -> None:
        super().__init__()
        network = copy.deepcopy(model.network).float().cpu().to(memory_format=torch.contiguous_format)
        self.backbone, self.head = network.backbone, network.head
        self.neck = network.neck if network.with_neck else None
        self.class_maps, self.distance = class_maps, distance
        if distance:
            for name, array in model.feature_space._asdict().items():
                self.register_buffer(name, torch.from_numpy(array.copy()))
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities (N, C); if asked class activation maps (N, C, h, w), and distances (N,)."""
        features = self.backbone(images)
        pooled = features if self.neck is None else self.neck(features)
        outputs = [self.head(pooled).softmax(dim=1)]
        if self.class_maps:
            outputs.append(nn.functional.conv2d(features[-1], self.head.fc.weight[:, :, None, None]))
        if self.distance:
            space = FeatureSpace(*(getattr(self, name) for name in FeatureSpace._fields))
            outputs.append(class_distances(self.head.pre_logits(pooled).flatten(1), space).amin(dim=1))
        return tuple(outputs)


def has_class_maps(model: TorchModel) -> bool:
    """Return whether pooling and one linear layer follow the backbone, so that the layer makes a map of each class.

    Source:
        Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2.
    """
    network = model.network
    return type(network.neck if network.with_neck else None) is GlobalAveragePooling and (
        type(network.head) is LinearClsHead
    )


def has_distance(model: TorchModel) -> bool:
    """Return whether the calibration tells photos of the classes from others."""
    return bool((model.calibration or {}).get('none_of_these'))


def network_graph(model: TorchModel, *, class_maps: bool = False, distance: bool = False) -> onnx.ModelProto:
    """Return the graph that makes probabilities, float32 (N, C), of normalised images, float32 (N, 3, h, w).

    Args:
        model: On any device, in any precision; the graph computes in fp32.
        class_maps: Add the output ``class_maps``, float32 (N, C, h', w'); see `has_class_maps`.
        distance: Add the output ``distance`` to the nearest class, float32 (N,); see `has_distance`.

    Raises:
        ConfigError: if the network cannot be exported.
    """
    head = model.network.head
    kind = f'{type(model.network.backbone).__name__} with {type(head).__name__}'
    is_softmax = all(
        getattr(type(head), name, None) is getattr(ClsHead, name) for name in ('predict', '_get_predictions')
    )
    if not is_softmax:
        raise ConfigError(
            f'{model.source}: {type(head).__name__} makes scores of its own from the logits, which export does not '
            'know. Fix: train with LinearClsHead.'
        )
    network = Network(model, class_maps, distance)
    names = [PROBABILITIES, *[CLASS_MAPS] * class_maps, *[DISTANCE] * distance]
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise ConfigError(
            f'{model.source}: its weights are {size / 1e9:.1f} GB; one ONNX file holds 2 GB. '
            'Fix: export --format safetensors, or use the checkpoint.'
        )
    example = torch.randn(2, 3, *model.image_size, generator=torch.Generator().manual_seed(0))
    try:
        with quiet(), _windows_of_any_batch():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=[IMAGES],
                output_names=names,
                dynamic_shapes={'images': {0: torch.export.Dim('n')}},
                verbose=False,
            )
        graph = program.model_proto
    except Exception as error:  # the exporter can fail in any way
        reason = ' '.join(str(error.__cause__ or error).split())[:200]
        raise ConfigError(
            f'{model.source}: torch.onnx cannot export {kind}: {reason}. Fix: use the checkpoint, or --format slim.'
        ) from error
    _strip(graph)
    _check_batches(graph, network, example, kind)
    return graph


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings and log lines of torch.onnx from the terminal; an error is reported by its exception."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _windows_of_any_batch() -> Iterator[None]:
    """Let mmpretrain's Swin be exported for any number of photos.

    Its `window_reverse` computes the number as ``int(windows / windows_per_photo)``. torch.export takes the result for
    a constant, and photos of another batch are mixed up without an error.
    """

    def window_reverse(windows: Tensor, height: int, width: int, size: int) -> Tensor:
        rows, columns = height // size, width // size
        x = windows.view(-1, rows, columns, size, size, windows.shape[-1])
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, windows.shape[-1])

    with mock.patch.object(ShiftWindowMSA, 'window_reverse', staticmethod(window_reverse)):
        yield


def _check_batches(graph: onnx.ModelProto, network: Network, example: Tensor, kind: str) -> None:
    """Compare with the network for other numbers of images than the exporter saw."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=['CPUExecutionProvider'])
    for number in TRIED_BATCHES:
        images = example.repeat(2, 1, 1, 1)[:number] * torch.linspace(1, 2, number)[:, None, None, None]
        with torch.no_grad():
            expected = network(images)[0].numpy()
        try:
            (found,) = session.run([PROBABILITIES], {IMAGES: images.numpy()})
            is_same = np.allclose(found, expected, rtol=0, atol=MAX_CORE_DIFFERENCE)
        except Exception:  # the number is fixed in the graph; onnxruntime's exceptions have no common base
            is_same = False
        if not is_same:
            raise ConfigError(
                f'torch.onnx writes {kind} so that {number} images get other probabilities than in torch. '
                'Fix: use the checkpoint, or --format slim.'
            )


def _strip(graph: onnx.ModelProto) -> None:
    """Remove notes of the exporter, such as stack traces with the paths of this machine."""
    graph.doc_string = ''
    del graph.metadata_props[:]
    pending = [graph.graph, *graph.functions]
    while pending:
        part = pending.pop()
        part.doc_string = ''
        values = [*getattr(part, 'initializer', []), *part.value_info]
        values += [] if isinstance(part, onnx.FunctionProto) else [*part.input, *part.output]
        for noted in (part, *part.node, *values):
            noted.doc_string = ''
            del noted.metadata_props[:]
        pending += [attribute.g for node in part.node for attribute in node.attribute if attribute.HasField('g')]


# ---------------------------------------------------------------- joined


def joined_graph(preprocessing: onnx.ModelProto, network: onnx.ModelProto, metadata: dict) -> onnx.ModelProto:
    """Return one checked graph from photos to probabilities.

    Args:
        preprocessing: Of `preprocessing_graph`.
        network: Of `network_graph`.
        metadata: Texts, or plain values that are written as JSON.
    """
    before = compose.add_prefix(preprocessing, 'preprocessing/', rename_inputs=False, rename_outputs=False)
    before.ir_version = network.ir_version
    graph = compose.merge_models(before, network, io_map=[(IMAGES, IMAGES)])
    del graph.opset_import[:]  # quantization names operators that it does not use
    graph.opset_import.append(onnx.helper.make_opsetid('', OPSET))
    graph.graph.name = 'flowercls'
    graph.producer_name, graph.producer_version = 'flowercls', flowercls.__version__
    del graph.metadata_props[:]
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
        graph.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(graph, full_check=True)
    return graph
