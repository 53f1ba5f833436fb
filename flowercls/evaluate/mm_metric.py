"""The adapter to mmengine: a metric that collects predictions, and an evaluator that keeps them in little memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.structures import BaseDataElement
from mmpretrain.registry import METRICS

from flowercls.core.errors import DivergedError
from flowercls.evaluate.metrics import SCALARS
from flowercls.evaluate.predictions import Predictions, image_name


@METRICS.register_module()
class ClassificationReport(BaseMetric):
    """Collects every photo's scores of a pass over a set, and reports the figures beside accuracy.

    Reports the `SCALARS` and ``macro_f1`` (percent). After a pass, ``predictions`` holds the `Predictions` that
    predictions_val.csv and metrics.json are written from.
    """

    default_prefix = ''  # plain names; None would make mmengine warn
    predictions: Predictions | None = None

    def process(self, data_batch, data_samples: list[dict]) -> None:
        """Collect one batch of predicted samples."""
        for sample in data_samples:
            self.results.append(
                {
                    # Several processes hand in their shares one after the other; the number restores the order.
                    'number': sample['sample_idx'],
                    'image': image_name(sample['img_path']),
                    'label': int(sample['gt_label']),
                    'scores': sample['pred_score'].float().cpu().numpy(),
                }
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Return the figures of the whole set.

        Raises:
            DivergedError: if a score is NaN or infinite, so that no figure would mean anything.
        """
        results = sorted(results, key=lambda result: result['number'])
        scores = np.stack([result['scores'] for result in results])
        broken = int((~np.isfinite(scores)).any(axis=1).sum())
        if broken:
            raise DivergedError(
                f'{broken} of {len(scores)} photos have NaN or infinite scores. Fix: a lower learning rate '
                '(optim_wrapper.optimizer.lr), or optim_wrapper.clip_grad.max_norm=1.0, or larger batches.'
            )
        self.predictions = Predictions(
            images=[result['image'] for result in results],
            labels=np.array([result['label'] for result in results]),
            scores=scores,
            class_names=list((self.dataset_meta or {}).get('classes') or map(str, range(scores.shape[1]))),
        )
        metrics = self.predictions.metrics()
        return {**{key: metrics[key] for key in SCALARS}, 'macro_f1': metrics['macro']['f1']}


BLOCK_BYTES = 1 << 20


class CompactEvaluator(Evaluator):
    """mmengine's evaluator, with everything that metrics keep moved out of the memory of a batch.

    A model's labels and scores are allocated among the large buffers of their batch. While a metric keeps them, none of
    these buffers can be reused as a whole, and a test needs as much memory as all its photos together. This evaluator
    copies the numbers into blocks of their own first.

    Args:
        metrics: As for mmengine's evaluator.
        block_bytes: Size of a block.
    """

    def __init__(self, metrics: Any, block_bytes: int = BLOCK_BYTES) -> None:
        super().__init__(metrics)
        self._block_bytes = block_bytes
        self._blocks: dict[tuple, tuple[torch.Tensor, int]] = {}  # by kind of tensor: rows, and the number used

    def process(self, data_samples: Sequence[BaseDataElement | dict], data_batch: Any = None) -> None:
        """Hand a batch of predicted samples to all metrics."""
        contents = [s.to_dict() if isinstance(s, BaseDataElement) else s for s in data_samples]
        moved = [
            {key: self._moved(key, v) if isinstance(v, torch.Tensor) else v for key, v in content.items()}
            for content in contents
        ]
        super().process(moved, data_batch)

    def _moved(self, key: str, value: torch.Tensor) -> torch.Tensor:
        kind = (key, value.dtype, value.shape)
        block, used = self._blocks.get(kind, (None, 0))
        if block is None or used == len(block):
            num_rows = max(1, self._block_bytes // max(1, value.nbytes))
            block, used = torch.empty((num_rows, *value.shape), dtype=value.dtype), 0
        self._blocks[kind] = block, used + 1
        return block[used].copy_(value.detach())
