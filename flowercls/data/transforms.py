"""Transforms of a pipeline: load a photo with the one decoder, then torchvision's transforms v2 by name.

Between transforms a photo has the form that mmcv's and mmpretrain's transforms expect: ``img``, uint8, shape (H, W, 3),
in BGR order. So ours and theirs can be mixed in one pipeline.
"""

import os

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS
from torchvision import tv_tensors
from torchvision.transforms import v2

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.decode import decode_rgb
from flowercls.data.image_formats import read_content


def load_rgb(path: str | os.PathLike) -> np.ndarray:
    """Decode a photo of a prepared folder: (H, W, 3) uint8 RGB.

    Raises:
        DataError: if the file cannot be read or decoded.
    """
    return load_with_content(path)[0]


def load_with_content(path: str | os.PathLike) -> tuple[np.ndarray, bytes]:
    """Decode a photo as `load_rgb`; returns the pixels, and the bytes of the file that they come from."""
    try:
        content = read_content(path)
        return decode_rgb(content, os.fspath(path)), content
    except DataError as error:
        # Plain DataError: a loader worker's error is rebuilt from its text alone.
        hint = 'If it lies in a prepared folder: prepare again, which leaves such files out.'
        raise DataError(f'{error} {hint}') from error


def to_tensor(rgb: np.ndarray) -> tv_tensors.Image:
    """Return a photo as torchvision's transforms take it: (3, H, W) in the memory of ``rgb``."""
    return tv_tensors.Image(torch.from_numpy(rgb).permute(2, 0, 1))


def shrunk(rgb: np.ndarray, size: int) -> np.ndarray:
    """Return a photo with its short side resized to ``size`` pixels, unless it is shorter: (H, W, 3) uint8."""
    if min(rgb.shape[:2]) <= size:
        return rgb
    # The same function on the same tensor layout as a `Resize` in a pipeline, so the same bits.
    return v2.functional.resize(to_tensor(rgb), [size]).permute(1, 2, 0).numpy()


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Decode ``img_path`` with the one decoder; a sample that already has an ``img`` passes through.

    Adds ``img`` (H, W, 3) uint8 BGR, ``img_shape`` and ``ori_shape`` (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Load the photo of one sample.

        Raises:
            DataError: if the file cannot be read or decoded.
        """
        if results.get('img') is None:
            results['img'] = load_rgb(results['img_path'])[..., ::-1]  # a view: BGR order, RGB memory
        results['img_shape'] = results['img'].shape[:2]
        results.setdefault('ori_shape', results['img_shape'])  # a cached photo may have been larger
        return results


@TRANSFORMS.register_module()
class TorchvisionTransforms(BaseTransform):
    """Transforms of ``torchvision.transforms.v2`` in order, on the photo as an RGB uint8 tensor (3, H, W).

    Args:
        transforms: Dicts with ``type``, a class name of ``torchvision.transforms.v2``, and that class's arguments;
            ``interpolation`` as text, such as ``'bilinear'``.
    """

    def __init__(self, transforms: list[dict]) -> None:
        if not isinstance(transforms, list | tuple) or not all(isinstance(transform, dict) for transform in transforms):
            raise ConfigError(
                f'TorchvisionTransforms: transforms={transforms!r} is not a list of dicts. '
                "Fix: transforms=[dict(type='Resize', size=224), ...]."
            )
        self.compose = v2.Compose([self.build(transform) for transform in transforms])
        self.writes_in_place = any(transform.get('inplace') for transform in transforms)

    @staticmethod
    def build(transform: dict) -> v2.Transform:
        """Build one transform from its config dict.

        Raises:
            ConfigError: if it refuses its arguments, or would not work on uint8 photos.
        """
        arguments = dict(transform)
        if isinstance(arguments.get('interpolation'), str):  # a config holds plain values only
            arguments['interpolation'] = v2.InterpolationMode(arguments['interpolation'])
        if arguments.get('type') == 'RandomErasing' and arguments.get('value') == 'random':
            raise ConfigError(
                "RandomErasing value='random' draws numbers around 0, which are black in photos of 0-255. "
                'Fix: value=[124, 116, 104], or any other colour.'
            )
        try:
            return getattr(v2, arguments.pop('type'))(**arguments)
        except (TypeError, ValueError) as error:
            raise ConfigError(f'{dict(transform)} of a pipeline: {error}. Fix: correct the value.') from error

    def transform(self, results: dict) -> dict:
        """Transform the photo of one sample."""
        rgb = np.ascontiguousarray(results['img'][..., ::-1])
        borrowed = None if rgb.flags.writeable else rgb  # from the photo cache
        if borrowed is not None and self.writes_in_place:
            rgb = rgb.copy()
        rgb = self.compose(to_tensor(rgb)).permute(1, 2, 0).numpy()
        if borrowed is not None and np.may_share_memory(rgb, borrowed):
            rgb = rgb.copy()  # later transforms may write into it
        results['img'] = rgb[..., ::-1]
        results['img_shape'] = rgb.shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.compose})'
