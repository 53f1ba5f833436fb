"""Photos → vectors of a network: what its last layer would classify."""

from collections.abc import Sequence

import numpy as np
import torch
from mmpretrain.structures import DataSample
from PIL import Image

from flowercls.models.classifier import StagedClassifier


class PhotoVectors:
    """Computes the pooled features of photos.

    Args:
        network: With its weights.
        image_size: Height and width of the images that it gets, in pixels. Every photo is resized to them as a whole,
            whatever its shape, so that no border is lost.
    """

    def __init__(self, network: StagedClassifier, image_size: tuple[int, int]) -> None:
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self._network, self._image_size = network.to(self._device).eval(), image_size

    @torch.no_grad()
    def __call__(self, photos: Sequence[np.ndarray]) -> np.ndarray:
        """Return the features, shape (N, D), float32, of N photos, each (H, W, 3) uint8 RGB."""
        size = self._image_size[::-1]
        resized = [np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)) for photo in photos]
        inputs = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).flip(1)  # BGR, as pipelines give them
        batch = {'inputs': inputs, 'data_samples': [DataSample() for _ in photos]}
        images = self._network.data_preprocessor(batch, False)['inputs']
        return self._network.extract_feat(images, stage='pre_logits').flatten(1).float().cpu().numpy()
