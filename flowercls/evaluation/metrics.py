"""Thin mmengine metrics over the plain functions."""

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from flowercls.errors import DivergedError
from flowercls.evaluation.predictions import Predictions, image_name


@METRICS.register_module()
class ClassificationReport(BaseMetric):
    """Keeps every photo's scores of a pass over a set, and reports what accuracy alone does not say.

    Reports ``nll`` (nats), ``ece`` and ``macro_f1`` (percent). After a pass, ``predictions`` holds what `Predictions`
    describes; it is what predictions_val.csv and metrics.json are written from.
    """

    default_prefix = ''  # plain names; None would make mmengine warn
    predictions: Predictions | None = None

    def process(self, data_batch, data_samples: list[dict]) -> None:
        """Collect one batch of predicted samples."""
        for sample in data_samples:
            self.results.append(
                {
                    # Photo number first: several processes hand in their shares one after the other.
                    'number': sample['sample_idx'],
                    'image': image_name(sample['img_path']),
                    'label': int(sample['gt_label']),
                    'scores': sample['pred_score'].float().cpu().numpy(),
                }
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The figures of the whole set.

        Raises:
            DivergedError: if the network gave scores that are no numbers; no figure of them would mean anything.
        """
        results = sorted(results, key=lambda result: result['number'])
        scores = np.stack([result['scores'] for result in results])
        _check_finite(scores)
        self.predictions = Predictions(
            images=[result['image'] for result in results],
            labels=np.array([result['label'] for result in results]),
            scores=scores,
            class_names=list((self.dataset_meta or {}).get('classes') or map(str, range(scores.shape[1]))),
        )
        metrics = self.predictions.metrics()
        return {'nll': metrics['nll'], 'ece': metrics['ece'], 'macro_f1': metrics['macro']['f1']}


def _check_finite(scores: np.ndarray) -> None:
    broken = int((~np.isfinite(scores)).any(axis=1).sum())
    if broken:
        raise DivergedError(
            f'{broken} of {len(scores)} photos have scores that are no numbers. Fix: a lower learning rate '
            '(optim_wrapper.optimizer.lr), optim_wrapper.clip_grad=dict(max_norm=1.0), or larger batches.'
        )
