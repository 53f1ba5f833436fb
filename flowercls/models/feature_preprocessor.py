"""What stands before a network that is given kept features instead of images."""

import torch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import MODELS


@MODELS.register_module()
class FeaturePreprocessor(ClsDataPreprocessor):
    """Brings features and labels to the network's device; there is nothing to normalise.

    Args:
        in_float32: Features arrive in float32 whatever they were kept in.
        to_onehot: As `ClsDataPreprocessor`.
        num_classes: As `ClsDataPreprocessor`.
    """

    def __init__(self, in_float32: bool, to_onehot: bool = False, num_classes: int | None = None) -> None:
        super().__init__(to_onehot=to_onehot, num_classes=num_classes)
        self._in_float32 = in_float32

    def forward(self, data: dict, training: bool = False) -> dict:
        """A batch with ``inputs``, shape (N, ...), and ``data_samples``; see `ClsDataPreprocessor`."""
        features = self.cast_data(data['inputs'])
        labels = super().forward({**data, 'inputs': torch.empty(0)}, training)  # only they are its business here
        return {**labels, 'inputs': features.float() if self._in_float32 else features}
