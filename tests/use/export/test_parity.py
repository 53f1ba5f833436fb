"""The gate of an export on hand-made probabilities, and on a run whose graph is made wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from flowercls.core.errors import ConfigError
from flowercls.evaluate.intervals import paired_interval
from flowercls.use.export import onnx_graph
from flowercls.use.export.exporter import export
from flowercls.use.export.onnx_graph import Crop, Resize
from flowercls.use.export.parity import distance, loss_text, paired_record, parity_record
from flowercls.use.load import load

PHOTOS = [Path(f'daisy/{i}.jpg') for i in range(5)]
LABELS = np.array([0, 0, 1, 1, 1])


def scores(*firsts):
    """Probabilities of two classes."""
    return np.array([[first, 1 - first] for first in firsts], np.float32)


REFERENCE = scores(0.9, 0.51, 0.502, 0.2, 0.1)


def problems_of(other):
    return parity_record(REFERENCE, other, LABELS, PHOTOS)['problems']


def test_distances_are_counted():
    record = distance(REFERENCE, scores(0.9, 0.505, 0.498, 0.2, 0.1))
    assert record == {
        'max_difference': pytest.approx(0.005, abs=1e-6),
        'mean_difference': pytest.approx((0.005 + 0.004) / 5, abs=1e-6),
        'same_answer': 4,
    }


def test_a_close_export_passes_and_a_tie_may_tip():
    assert problems_of(REFERENCE) == [] and problems_of(scores(0.9, 0.51, 0.4985, 0.2, 0.1)) == []


@pytest.mark.parametrize(
    ('other', 'reason'),
    [
        (scores(0.9115, 0.51, 0.502, 0.2, 0.1), 'a probability differs by 0.0115'),
        (scores(0.902, 0.512, 0.504, 0.202, 0.102), 'by 0.00200 on average'),
        (scores(0.9, 0.499, 0.502, 0.2, 0.1), '1 photo gets another answer'),
    ],
)
def test_each_limit_is_kept(other, reason):
    assert any(reason in problem for problem in problems_of(other))


def test_the_worst_photos_are_named_those_with_another_answer_first():
    other = scores(0.95, 0.499, 0.502, 0.21, 0.1)
    worst = parity_record(REFERENCE, other, LABELS, PHOTOS)['worst']
    assert [photo['image'] for photo in worst] == ['daisy/1.jpg', 'daisy/0.jpg', 'daisy/3.jpg']
    assert worst[1]['max_difference'] == pytest.approx(0.05, abs=1e-6)


def test_accuracies_are_compared_photo_by_photo():
    labels = np.zeros(100, int)
    first = scores(*[0.9] * 90, *[0.1] * 10)
    second = scores(*[0.9] * 80, *[0.1] * 12, *[0.9] * 8)  # loses 10, wins 8
    record = paired_record(first, second, labels, ('fp32', 'int8'))
    assert record['top1'] == {'fp32': 90.0, 'int8': 88.0} and record['loss'] == pytest.approx(2)
    low, high = (100 * limit for limit in paired_interval(10, 8, 100, 1.959964))
    assert record['loss_interval'] == pytest.approx([low, high], abs=0.01)
    assert record['p_value'] == pytest.approx(binomtest(10, 18).pvalue, abs=0.05)
    assert loss_text(record) == f'2.0 points worse, 95 % interval {low:.1f} to {high:.1f}'
    back = loss_text(paired_record(second, first, labels, ('a', 'b')))
    assert back == f'2.0 points better, 95 % interval {low:.1f} to {high:.1f}'
    assert loss_text(paired_record(first, first, labels, ('a', 'b'))).startswith('as many right')


# ---------------------------------------------------------------- the story


@pytest.fixture(scope='module')
def network(trained_run):
    return onnx_graph.network_graph(load(trained_run[1], device='cpu'), class_maps=True)


@pytest.fixture
def one_graph(network, monkeypatch):
    """The network is written once: that takes seconds."""
    monkeypatch.setattr(onnx_graph, 'network_graph', lambda *_, **__: network)


@pytest.fixture
def crops_beside(monkeypatch):
    """The crop is at the wrong place, as where another rule rounds."""
    nodes = Crop.nodes
    monkeypatch.setattr(Crop, 'nodes', lambda self, k: nodes(self, k).replace('value_float = 0.5', 'value_float = 0.2'))


@pytest.mark.slow  # writes a network with torch.onnx
def test_a_graph_that_answers_otherwise_is_not_written(trained_run, tmp_path, one_graph, crops_beside):
    with pytest.raises(ConfigError, match=r'does not answer as the checkpoint: .*differ most: \w+/\S+\.jpg .*Fix: '):
        export(trained_run[1], ['onnx'], out=tmp_path / 'new')
    assert not (tmp_path / 'new').exists()
    lines = []
    export(trained_run[1], ['onnx'], out=tmp_path / 'new', allow_mismatch=True, report=lines.append)
    parity = json.loads((tmp_path / 'new' / 'export.json').read_text())['onnx']['parity']
    assert parity['problems'] and parity['measured'] and lines[0].startswith('parity')


@pytest.mark.slow  # as above
def test_another_way_to_resize_is_seen(trained_run, tmp_path, one_graph, monkeypatch):
    """In floating point without antialias, as exporters usually write it; the photos are drawn at another size."""
    monkeypatch.setattr(
        onnx_graph,
        'pipeline_steps',
        lambda model: [Resize('short', (80,), antialias=False), Crop(tuple(model.image_size), pads=False)],
    )
    with pytest.raises(ConfigError, match='does not answer as the checkpoint'):
        export(trained_run[1], ['onnx'], out=tmp_path)
    assert list(tmp_path.iterdir()) == []
