"""What metrics keep of many photos: the same numbers, in few blocks of memory."""

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmpretrain.evaluation import Accuracy
from mmpretrain.structures import DataSample

from flowercls.evaluate import mm_metric as module
from flowercls.evaluate.mm_metric import ClassificationReport, CompactEvaluator


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
    mine, theirs = CompactEvaluator(metrics), Evaluator([Accuracy(topk=(1, 2)), ClassificationReport()])
    for samples in batches(5):
        mine.process(samples, {})
        theirs.process(samples, {})
    found = mine.evaluate(20)
    assert found == theirs.evaluate(20) and found['accuracy/top1'] > 0
    assert (metrics[1].predictions.scores == theirs.metrics[1].predictions.scores).all()


@pytest.mark.parametrize('rows', [1, 8, 100])
def test_what_is_kept_lies_in_blocks_of_many_photos_and_not_in_those_of_a_batch(rows, monkeypatch):
    monkeypatch.setattr(module, 'BLOCK_BYTES', rows * 3 * 4)
    keep, given = Keep(), list(batches(4))
    evaluator = CompactEvaluator(keep)
    for samples in given:
        evaluator.process(samples)
    flat = [sample for samples in given for sample in samples]
    assert all(
        torch.equal(kept['pred_score'], sample.pred_score) for kept, sample in zip(keep.results, flat, strict=True)
    )
    blocks = {kept['pred_score'].untyped_storage().data_ptr() for kept in keep.results}
    assert len(blocks) == -(-16 // rows)
    assert not blocks & {sample.pred_score.untyped_storage().data_ptr() for sample in flat}


def test_a_block_is_freed_with_the_last_photo_in_it(monkeypatch):
    monkeypatch.setattr(module, 'BLOCK_BYTES', 24)
    evaluator = CompactEvaluator(Keep())
    for samples in batches(10):
        evaluator.process(samples)
        evaluator.metrics[0].results.clear()
    assert sum(block.nbytes for block, _ in evaluator._blocks.values()) <= 2 * 24
