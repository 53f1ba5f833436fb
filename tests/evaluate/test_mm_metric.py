"""The adapter to mmengine: the order of photos, its figures, and the memory that it keeps."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmpretrain.evaluation import Accuracy
from mmpretrain.structures import DataSample

from flowercls.core.errors import DivergedError
from flowercls.evaluate.mm_metric import ClassificationReport, CompactEvaluator


def sample(number, label, scores):
    return {
        'sample_idx': number,
        'img_path': f'/data/val_set/rose/{number}.jpg',
        'gt_label': torch.tensor([label]),
        'pred_score': torch.tensor(scores),
    }


def test_report_puts_photos_back_into_the_order_of_the_set():
    report = ClassificationReport()
    report.dataset_meta = {'classes': ['rose', 'tulip']}
    report.process({}, [sample(2, 1, [0.4, 0.6])])
    report.process({}, [sample(0, 0, [0.9, 0.1]), sample(1, 0, [0.2, 0.8])])
    figures = report.evaluate(size=3)
    assert report.predictions.images == ['rose/0.jpg', 'rose/1.jpg', 'rose/2.jpg']
    assert report.predictions.labels.tolist() == [0, 0, 1]
    assert report.predictions.class_names == ['rose', 'tulip']
    expected = -np.mean(np.log(np.array([0.9, 0.2, 0.6], np.float32)))
    assert figures['nll'] == pytest.approx(expected)
    assert figures['macro_f1'] == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize('broken', [float('nan'), float('inf')])
def test_scores_that_are_no_numbers_are_a_divergence_and_no_result(broken):
    report = ClassificationReport()
    report.process({}, [sample(0, 1, [0.4, 0.6]), sample(1, 1, [0.5, broken])])
    with pytest.raises(DivergedError, match='1 of 2 photos .* lower learning rate'):
        report.evaluate(size=2)
    assert report.predictions is None


class Keep(BaseMetric):
    default_prefix = 'keep'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return {}


def batches(num_batches, batch_size=4):
    """Labels and scores as a model gives them: views into the tensors of a batch."""
    generator = torch.Generator().manual_seed(0)
    for number in range(num_batches):
        scores = torch.rand(batch_size, 3, generator=generator).softmax(dim=1)
        labels = torch.randint(3, (batch_size, 1), generator=generator)
        samples = []
        for i in range(batch_size):
            sample = DataSample(metainfo={'sample_idx': number * batch_size + i, 'img_path': f'/v/rose/{i}.jpg'})
            samples.append(sample.set_pred_score(scores[i]).set_gt_label(labels[i]))
        yield samples


def test_the_figures_are_mmengines():
    metrics = [Accuracy(topk=(1, 2)), ClassificationReport()]
    compact, plain = CompactEvaluator(metrics), Evaluator([Accuracy(topk=(1, 2)), ClassificationReport()])
    for samples in batches(5):
        compact.process(samples, {})
        plain.process(samples, {})
    figures = compact.evaluate(20)
    assert figures == plain.evaluate(20) and figures['accuracy/top1'] > 0
    assert (metrics[1].predictions.scores == plain.metrics[1].predictions.scores).all()


@pytest.mark.parametrize('rows', [1, 8, 100])
def test_a_metric_keeps_blocks_of_many_photos_and_no_memory_of_a_batch(rows):
    keep, all_samples = Keep(), list(batches(4))
    evaluator = CompactEvaluator(keep, block_bytes=rows * 3 * 4)
    for samples in all_samples:
        evaluator.process(samples)
    flat = [sample for samples in all_samples for sample in samples]
    assert all(
        torch.equal(kept['pred_score'], sample.pred_score) for kept, sample in zip(keep.results, flat, strict=True)
    )
    blocks = {kept['pred_score'].untyped_storage().data_ptr() for kept in keep.results}
    assert len(blocks) == -(-16 // rows)
    assert not blocks & {sample.pred_score.untyped_storage().data_ptr() for sample in flat}


def test_a_block_is_freed_with_the_last_photo_in_it():
    evaluator = CompactEvaluator(Keep(), block_bytes=24)
    for samples in batches(10):
        evaluator.process(samples)
        evaluator.metrics[0].results.clear()
    assert sum(block.nbytes for block, _ in evaluator._blocks.values()) <= 2 * 24
