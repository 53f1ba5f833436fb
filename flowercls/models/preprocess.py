"""Photos as a loader gives them → normalised images on the network's device, in its memory layout, without waiting.

What stands before a network that is given kept features instead of images.
"""

from typing import Any

import torch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class PhotoPreprocessor(ClsDataPreprocessor):
    """`ClsDataPreprocessor` with the same results to the bit, with fewer copies.

    Channels are exchanged and the layout is chosen while a batch is uint8, and it is normalised in place. To a GPU
    photos and labels are copied while it is still at work on the batch before.

    Args:
        mean: Of each channel, 0-255, in the order of the images that are given on; with ``std`` or not at all.
        std: Of each channel.
        to_rgb: Whether photos come in BGR order and shall leave in RGB order.
        **kwargs: As `ClsDataPreprocessor`.
    """

    def __init__(self, mean: list | None = None, std: list | None = None, to_rgb: bool = False, **kwargs: Any) -> None:
        super().__init__(mean, std, to_rgb=to_rgb, **kwargs)
        self.channels_last = False  # the network says so, once it knows
        # What the parent would do after us.
        self._reverses, self._normalizes = to_rgb, self._enable_normalize
        self.to_rgb = self._enable_normalize = False

    def forward(self, data: dict, training: bool = False) -> dict:
        """As `ClsDataPreprocessor`: ``inputs`` uint8 (N, 3, H, W), or a list of (3, H, W), → float32 (N, 3, H, W)."""
        inputs = data['inputs']
        images = (
            self._image(inputs) if isinstance(inputs, Tensor) else [self._image(image[None])[0] for image in inputs]
        )
        return super().forward(
            {**data, 'inputs': images, 'data_samples': self._moved(data.get('data_samples'))}, training
        )

    def _image(self, photos: Tensor) -> Tensor:
        photos = photos.to(self.device, non_blocking=True)
        if self.channels_last:
            photos = photos.contiguous(memory_format=torch.channels_last)
        if self._reverses and photos.shape[1] == 3:
            photos = photos.flip(1)
        images = photos.to(torch.float32, copy=True)
        return images.sub_(self.mean).div_(self.std) if self._normalizes else images

    def _moved(self, samples: list | None) -> list | None:
        """Labels on the GPU, all in one copy that does not wait for what the GPU is doing."""
        if self.device.type != 'cuda' or not samples or 'gt_label' not in samples[0]:
            return samples
        labels = [sample.gt_label for sample in samples]
        moved = torch.cat(labels).pin_memory().to(self.device, non_blocking=True)
        for sample, label in zip(samples, moved.split([len(label) for label in labels]), strict=True):
            sample.set_gt_label(label)
        return samples


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
