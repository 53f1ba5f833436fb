import numpy as np
import pytest
import torch

from flowercls.core.errors import DivergedError
from flowercls.evaluate.mm_metric import ClassificationReport


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
