"""An evaluator that lets metrics keep a few numbers of every photo, of any number of photos."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

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
