"""An exported file in use: its answers, what it needs, and what a stranger's file may not do."""

import json
import random
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.use import onnx_model
from flowercls.use.export import onnx_file
from flowercls.use.load import load
from flowercls.use.onnx_model import OnnxModel

CLASSES = ['red', 'green', 'blue']
GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
tiny (uint8[n, h, w, 3] photos) => (float[n, 3] probabilities)
<int64[2] axes = {1, 2}, float[3] bias = {0, 0, 0}>
{
    floats = Cast <to = 1> (photos)
    colours = ReduceMean <keepdims = 0> (floats, axes)
    scale = Constant <value_float = 10.0> ()
    logits = Div (colours, scale)
    shifted = Add (logits, bias)
    probabilities = Softmax <axis = 1> (shifted)
}
"""


def tiny(**metadata):
    """A model that answers with a photo's mean colour."""
    model = parser.parse_model(GRAPH)
    given = {'flowercls': json.dumps({'name': 'tiny'}), 'classes': json.dumps(CLASSES), **metadata}
    for key, value in given.items():
        if value is not None:
            model.metadata_props.add(key=key, value=value)
    return model


@pytest.fixture
def opened(tmp_path):
    """Open a model from its file."""

    def open_model(model):
        (tmp_path / 'x.onnx').write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return load(tmp_path / 'x.onnx')

    return open_model


def photo(colour, height=4, width=6):
    return np.full((height, width, 3), colour, np.uint8)


def test_photos_of_any_sizes_are_answered_in_their_order_whatever_they_are_computed_with(opened):
    model = opened(tiny())
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 50, (*rng.integers(2, 5, 2), 3), np.uint8) for _ in range(50)]
    scores = model.scores(photos)
    logits = np.array([rgb.mean(axis=(0, 1)) for rgb in photos]) / 10
    assert scores.dtype == np.float32
    assert np.allclose(scores, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-6)
    assert np.abs(np.concatenate([model.scores([rgb]) for rgb in photos]) - scores).max() <= 1e-6
    assert model.predict(photo((0, 200, 0))).pred == 'green' and model.scores([]).shape == (0, 3)


def test_large_photos_of_one_size_are_not_all_computed_at_once(opened, monkeypatch):
    model, sizes = opened(tiny()), []
    monkeypatch.setattr(onnx_model, 'MAX_STACKED_BYTES', 2 * photo(0).nbytes)
    monkeypatch.setattr(
        OnnxModel, '_run', lambda _, __, photos: sizes.append(len(photos)) or [np.zeros((len(photos), 3))]
    )
    model.classify([photo(0)] * 5)
    assert sizes == [2, 2, 1]


def test_metadata_are_read(opened):
    model = opened(tiny(calibration='{"temperature": 2}', pipeline='[{"rule": "short", "size": [8]}]'))
    assert (model.class_names, model.facts, model.calibration) == (CLASSES, {'name': 'tiny'}, {'temperature': 2})
    assert model.steps == [{'rule': 'short', 'size': [8]}] and opened(tiny()).calibration is None


def test_it_needs_neither_torch_nor_mmpretrain(opened, tmp_path):
    opened(tiny())
    code = f"""
import sys, flowercls, numpy
model = flowercls.load({str(tmp_path / 'x.onnx')!r})
model.predict(numpy.zeros((5, 5, 3), numpy.uint8))
print([name for name in ('torch', 'torchvision', 'mmengine', 'mmpretrain', 'mmcv', 'onnx') if name in sys.modules])
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == '[]'


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, 'onnxruntime', None)
    with pytest.raises(ConfigError, match=r'flowercls\[export\]'):
        OnnxModel(tmp_path / 'x.onnx', b'')


# ---------------------------------------------------------------- what a stranger's file may not do


def with_external_weights(model):
    bias = model.graph.initializer[1]
    bias.ClearField('float_data')
    bias.data_location = TensorProto.EXTERNAL
    bias.external_data.add(key='location', value='../../etc/passwd')


def with_external_constant(model):
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), 'c')
    tensor.ClearField('raw_data')
    tensor.external_data.add(key='location', value='weights.bin')
    model.graph.node.insert(0, helper.make_node('Constant', [], ['c'], value=tensor))


def with_foreign_operator(model):
    model.graph.node.append(helper.make_node('Gelu', ['logits'], ['x'], domain='com.microsoft'))


def with_foreign_domain(model):
    model.opset_import.append(helper.make_opsetid('evil.example', 1))


def with_function(model):
    node = helper.make_node('Identity', ['a'], ['b'])
    model.functions.append(helper.make_function('local', 'F', ['a'], ['b'], [node], [helper.make_opsetid('', 18)]))


def with_branch(model):
    branch = parser.parse_graph('g () => (float y) { y = Constant <value_float = 1.0> () }')
    model.graph.node.append(helper.make_node('If', ['c'], ['y'], then_branch=branch, else_branch=branch))


def with_sparse(model):
    model.graph.sparse_initializer.add()


def with_texts(model):
    model.graph.initializer.append(helper.make_tensor('t', TensorProto.STRING, [1], [b'x']))


def with_huge_shape(model):
    model.graph.initializer.append(TensorProto(name='t', dims=[2**40, 2**40], data_type=1, raw_data=b'1234'))


def with_negative_shape(model):
    model.graph.initializer.append(TensorProto(name='t', dims=[-1], data_type=1, raw_data=b''))


def with_less_than_declared(model):
    model.graph.initializer.append(TensorProto(name='t', dims=[1000, 1000], data_type=1, raw_data=b'1234'))


def with_fewer_numbers_than_declared(model):
    model.graph.initializer.append(TensorProto(name='t', dims=[1000, 1000], data_type=1, float_data=[1.0]))


def with_filled_tensor(model):
    model.graph.initializer.append(numpy_helper.from_array(np.array([10**6, 10**6]), 's'))
    model.graph.node.append(helper.make_node('ConstantOfShape', ['s'], ['big']))


def with_expanded_tensor(model):
    model.graph.node.insert(0, helper.make_node('Constant', [], ['s'], value_ints=[10**5, 10**5, 3]))
    model.graph.node.append(helper.make_node('Expand', ['bias', 's'], ['big']))


def with_huge_output(model):
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2**60


def with_other_input(model):
    model.graph.input[0].name = model.graph.node[0].input[0] = 'image'


def with_float_input(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def with_other_output(model):
    model.graph.output[0].name = model.graph.node[-1].output[0] = 'scores'


HOSTILE = {
    with_external_weights: 'weights in other files',
    with_external_constant: 'weights in other files',
    with_foreign_operator: "operators of 'com.microsoft'",
    with_foreign_domain: "operators of 'evil.example'",
    with_function: 'functions',
    with_branch: 'graphs inside of a node',
    with_sparse: 'sparse',
    with_texts: 'type 8',
    with_huge_shape: 'declares a tensor of the shape',
    with_negative_shape: 'declares a tensor of the shape',
    with_less_than_declared: 'holds 4 bytes',
    with_fewer_numbers_than_declared: 'holds less',
    with_filled_tensor: 'ConstantOfShape would fill',
    with_expanded_tensor: 'Expand would fill',
    with_huge_output: 'declares a tensor of the shape',
    with_other_input: 'does not turn photos into probabilities',
    with_float_input: 'does not turn photos into probabilities',
    with_other_output: 'does not turn photos into probabilities',
}


@pytest.mark.parametrize('change', HOSTILE, ids=lambda change: change.__name__)
def test_a_hostile_file_is_refused(change, opened):
    model = tiny()
    change(model)
    with pytest.raises(CheckpointError, match=f'{HOSTILE[change]}.*Fix: '):
        opened(model)


@pytest.mark.parametrize('change', list(HOSTILE)[:15], ids=lambda change: change.__name__)
def test_it_is_refused_before_onnxruntime_sees_it(change, opened, monkeypatch):
    model = tiny()
    change(model)
    monkeypatch.setattr(onnxruntime, 'InferenceSession', pytest.fail)
    with pytest.raises(CheckpointError):
        opened(model)


@pytest.mark.parametrize(
    'metadata',
    [
        dict(flowercls=None),
        dict(classes=None),
        dict(classes='["red", "green"]'),
        dict(classes='["red", "red", "blue"]'),
        dict(classes='["red", 1, "blue"]'),
        dict(classes='{"red": 1}'),
        dict(classes='[]'),
        dict(classes='[' * 100_000),
        dict(classes='["red"'),
        dict(flowercls='[1]'),
        dict(calibration='3'),
        dict(pipeline='"x"'),
        dict(classes='["red", "green", "\\ud800"]'),  # half of a letter, which no file in UTF-8 can hold
        dict(flowercls='{"parameters": NaN}'),
        dict(flowercls='{"name": 5}'),
        dict(flowercls='{"classes": ["red"]}'),
        dict(calibration='{"temperature": Infinity}'),
    ],
    ids=str,
)
def test_a_file_of_another_program_or_with_other_metadata_is_refused(metadata, opened):
    with pytest.raises(CheckpointError, match='Fix: '):
        opened(tiny(**metadata))


@pytest.mark.parametrize(
    'content', [b'', b'PK\x03\x04', b'\x89PNG\r\n', b'hello', b'\xff' * 100, b'\x3a\xff\xff\xff\xff\x0f']
)
def test_what_is_no_onnx_file_is_refused(content, opened):
    with pytest.raises(CheckpointError, match='damaged, or no ONNX file.*Fix: '):
        opened(content)


def test_a_file_that_is_too_large_is_not_read_to_its_end(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, 'MAX_BYTES', 50)
    monkeypatch.setattr(onnx_file, 'MAX_BYTES', 50)
    with pytest.raises(CheckpointError, match='more than 50 bytes'):
        opened(tiny())
    assert len(onnx_model.read_content(tmp_path / 'x.onnx')) == 51


def test_every_truncated_file_is_refused(opened):
    content = tiny().SerializeToString()
    for length in range(0, len(content), 7):
        with pytest.raises(CheckpointError, match='Fix: '):
            opened(content[:length])


def test_a_damaged_file_is_refused_or_answers(opened):
    content, rng = tiny().SerializeToString(), random.Random(0)
    for _ in range(500):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] = rng.randrange(256)
        try:
            opened(bytes(damaged)).scores([photo(3)])
        except CheckpointError as error:
            assert 'Fix: ' in str(error)
