"""Eight bits: what the file holds, and its gate."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from PIL import Image

from flowercls.core.errors import ConfigError
from flowercls.use.export import int8
from flowercls.use.export.exporter import export
from flowercls.use.load import load


@pytest.fixture(scope='module')
def exported(trained_run, tmp_path_factory):
    folder, lines = tmp_path_factory.mktemp('int8'), []
    export(trained_run[1], ['onnx', 'html'], out=folder, int8=True, allow_mismatch=True, report=lines.append)
    return folder / 'run_int8.onnx', lines


@pytest.mark.slow  # writes a network and calibrates it
def test_the_network_is_in_eight_bits_and_the_rest_is_exact(exported):
    graph = onnx.load(exported[0]).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = [
        kinds[node.input[0]] for node in graph.node if node.op_type == 'DequantizeLinear' and node.input[0] in kinds
    ]
    assert weights.count(onnx.TensorProto.INT8) >= 20  # each convolution and the last layer
    scales = [
        len(onnx.numpy_helper.to_array(tensor).reshape(-1)) for tensor in graph.initializer if 'scale' in tensor.name
    ]
    assert max(scales) == 128  # one of each channel
    before = {node.op_type for node in graph.node if node.name.startswith('preprocessing/') or not node.name}
    assert not before & {'QuantizeLinear', 'DequantizeLinear'} and 'Resize' in before
    (softmax,) = (node for node in graph.node if node.op_type == 'Softmax')
    assert softmax.output[0] == 'probabilities'


@pytest.mark.slow  # as above
def test_it_is_compared_with_the_file_in_fp32(exported, trained_run):
    path, lines = exported
    record = json.loads((path.parent / 'export.json').read_text())
    assert record.keys() == {'onnx_int8', 'html_int8'} and record['onnx_int8']['parity']['measured']
    compared = record['onnx_int8']['int8']
    assert compared['photos'] == 15 and 0 < compared['max_difference'] < 0.2 and len(compared['worst']) == 3
    assert compared['bytes']['int8'] == path.stat().st_size < 0.4 * compared['bytes']['fp32']
    assert compared['ms'].keys() == compared['top1'].keys() == {'fp32', 'int8'}
    assert any(line.startswith('int8 ') and 'ms a photo' in line for line in lines)
    assert load(path).class_names == load(trained_run[1]).class_names and load(path).calibration is None


class Answers(SimpleNamespace):
    """A model that is right about so many photos."""

    source, batch_size = Path('x.onnx'), 64

    def prepare(self, rgb):
        return rgb

    def classify(self, photos):
        is_right = np.arange(len(photos)) < self.right
        return np.stack([is_right, ~is_right], axis=1).astype(np.float32)

    def run(self, output, photos):
        return self.classify(photos)


@pytest.mark.parametrize(('right', 'is_refused'), [(40, False), (36, False), (10, True)])
def test_a_loss_beyond_chance_is_a_problem(right, is_refused, tmp_path):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    record = int8.int8_record(Answers(right=40), Answers(right=right), [(tmp_path / 'a.png', 0)] * 50)
    low, _ = record['loss_interval']
    assert record['loss'] == pytest.approx(2 * (40 - right)) and (low > 2) is is_refused
    assert bool(record['problems']) is is_refused


def test_eight_bits_need_a_format_with_a_graph(trained_run, tmp_path):
    with pytest.raises(ConfigError, match='--int8: holds no ONNX graph.*Fix: '):
        export(trained_run[1], ['slim'], out=tmp_path, int8=True)
