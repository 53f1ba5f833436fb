"""Thin mmengine metrics over the plain functions.

An evaluator that lets metrics keep a few numbers of every photo, of any number of photos.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.structures import BaseDataElement
from mmpretrain.registry import METRICS

from flowercls.core.errors import DivergedError
from flowercls.evaluate.predictions import Predictions, image_name


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


BLOCK_BYTES = 1 << 20


class CompactEvaluator(Evaluator):
    """mmengine's, but nothing that a metric keeps lies in the memory of a batch.

    Labels and scores, as a model gives them, are allocated among the large buffers of their batch. While a metric keeps
    them, these buffers cannot be used again as a whole, and a test needs as much memory as all its photos together.
    Here the numbers are moved to blocks of their own first.

    Args:
        metrics: As mmengine's.
    """

    def __init__(self, metrics: Any) -> None:
        super().__init__(metrics)
        self._blocks: dict[tuple, tuple[torch.Tensor, int]] = {}  # of each sort of tensor: rows, and how many are used

    def process(self, data_samples: Sequence[BaseDataElement | dict], data_batch: Any = None) -> None:
        """Hand a batch of predicted samples to all metrics."""
        super().process([self._moved(sample) for sample in data_samples], data_batch)

    def _moved(self, sample: BaseDataElement | dict) -> dict:
        content = sample.to_dict() if isinstance(sample, BaseDataElement) else sample
        return {
            key: self._row(key, value) if isinstance(value, torch.Tensor) else value for key, value in content.items()
        }

    def _row(self, key: str, value: torch.Tensor) -> torch.Tensor:
        sort = (key, value.dtype, value.shape)
        block, used = self._blocks.get(sort, (None, 0))
        if block is None or used == len(block):
            num_rows = max(1, BLOCK_BYTES // max(1, value.nbytes))
            block, used = torch.empty((num_rows, *value.shape), dtype=value.dtype), 0
        self._blocks[sort] = block, used + 1
        return block[used].copy_(value.detach())
