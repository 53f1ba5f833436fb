"""Features of the frozen part of a network, computed once for each photo and view, and kept on disk."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import mmcv
import mmpretrain
import numpy as np
import PIL
import torch
import torchvision
from torch import Tensor, nn

from flowercls.data.array_store import ArrayStore, Building
from flowercls.models.classifier import StagedClassifier
from flowercls.models.freezing import frozen_parts

VERSION = 1  # of what is kept and how: another one never reads what this one has written
DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16, 'fp32': torch.float32}
IN_ORDER, CHANNELS_LAST = 'in_order', 'channels_last'
HASH_DIGITS = 24
LIBRARIES = (torch, torchvision, mmpretrain, mmcv, cv2, PIL)  # those that read and change photos, too
# Of a module, what may differ between two that give the same features.
CHANGING = {'training', 'frozen_stages', 'norm_eval', 'init_cfg', '_is_init', '_is_full_backward_hook'}


class FeatureStore:
    """Reads features, and computes those that are not there yet.

    Args:
        folder: Where they are kept.
        model: Whose frozen part makes them.
        preprocess: What stands before it, for photos.
        dtype: ``'bf16'``, ``'fp16'``, ``'fp32'``, or ``'auto'``: as the network computes, so nothing is lost.
    """

    def __init__(self, folder: str | Path, model: StagedClassifier, preprocess: nn.Module, dtype: str = 'auto') -> None:
        self._store = ArrayStore(folder)
        self._model, self._preprocess, self._dtype = model, preprocess, DTYPES.get(dtype)
        self._maker = {**_maker(model, dtype), 'preprocess': _settings(preprocess)}

    def key_of(self, photos: dict[str, Any]) -> str:
        """The name of a set of features: another one for everything that makes other features.

        Args:
            photos: Plain values that say which photos, which view of them, and in which batches.
        """
        content = json.dumps([self._maker, photos], sort_keys=True, default=repr)
        return f'features-{hashlib.sha256(content.encode()).hexdigest()[:HASH_DIGITS]}'

    def bytes_each(self, batch: dict) -> int:
        """Room that the features of a photo take, judged by a batch as a loader gives it."""
        features = self._compute(batch)
        return features.element_size() * features[0].numel()

    def has(self, key: str) -> bool:
        """Whether the set is there."""
        return self._store.read(key) is not None

    def size_of(self, key: str) -> int:
        """Bytes of the set on disk."""
        return self._store.size_of(key)

    def bytes_free(self) -> int:
        """Of the disk that the sets lie on."""
        return self._store.bytes_free()

    def build(self, key: str, about: dict, batches: Iterable[dict], num_photos: int) -> None:
        """Compute a set, unless it is there; where another process is at it, wait for that.

        Args:
            key: Of `key_of`.
            about: What it is, for people.
            batches: As a loader gives them; they are not asked for if the set is there.
            num_photos: In all of them.

        Raises:
            DiskError: if the disk is full or may not be written to.
        """
        with self._store.building(key, about) as building:
            if building is not None:
                self._fill(building, batches, num_photos)

    def read(self, key: str) -> tuple[Tensor, bool]:
        """A set: the map of its features, shape (rows, ...), and whether channels are the last dimension of a row."""
        ((name, array),) = self._store.read(key).items()
        dtype, layout = name.split('.')
        if dtype == 'bfloat16':  # numpy has none
            array = array.view(np.int16)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # it may not be written to, and it is not
            return torch.from_numpy(array).view(getattr(torch, dtype)), layout == CHANNELS_LAST

    def _fill(self, building: Building, batches: Iterable[dict], num_photos: int) -> None:
        array, done = None, 0
        for batch in batches:
            name, rows = _as_rows(self._compute(batch))
            if array is None:
                array = building.array(name, (num_photos, *rows.shape[1:]), rows.dtype)
            array[done : done + len(rows)] = rows
            done += len(rows)

    def _compute(self, batch: dict) -> Tensor:
        # A batch augmentation would mix photos: there is none, or features would not be kept.
        features = self._model.kept_features(self._preprocess(batch, training=True)['inputs'])
        return features if self._dtype is None else features.to(self._dtype)


def _as_rows(features: Tensor) -> tuple[str, np.ndarray]:
    """What is written to disk, in the order of memory, and a name that tells how to read it."""
    layout = IN_ORDER
    if (
        features.ndim == 4
        and not features.is_contiguous()
        and features.is_contiguous(memory_format=torch.channels_last)
    ):
        features, layout = features.permute(0, 2, 3, 1), CHANNELS_LAST
    name = f'{str(features.dtype).removeprefix("torch.")}.{layout}'
    features = features.cpu().contiguous()
    if features.dtype == torch.bfloat16:
        return name, features.view(torch.int16).numpy().view(np.uint16)
    return name, features.numpy()


def _maker(model: StagedClassifier, dtype: str) -> dict[str, Any]:
    """Everything about the network, the libraries and the machine that decides which bits come out."""
    device = next(model.parameters()).device
    return {
        'version': VERSION,
        'frozen_part': _fingerprint(model),
        'pooled': model.keeps_pooled,
        'precision': model.precision,
        'channels_last': model.channels_last,
        'dtype': dtype,
        'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type,
        'libraries': {library.__name__: library.__version__ for library in LIBRARIES},
    }


def _settings(preprocess: nn.Module) -> dict[str, Any]:
    """How photos are normalised."""
    buffers = {name: buffer.tolist() for name, buffer in preprocess.named_buffers()}
    return {'type': type(preprocess).__name__, **_plain(preprocess), **buffers}


def _plain(module: nn.Module) -> dict[str, Any]:
    """The settings of a module that are no modules and no tensors, such as how a ViT fits its positions to a size."""
    return {name: repr(value) for name, value in vars(module).items() if name not in CHANGING and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _fingerprint(model: StagedClassifier) -> str:
    """Of structure, weights and buffers of what is frozen."""
    stages, digest = model.stages, hashlib.sha256()
    for part in frozen_parts(model.frozen_stages):
        modules = stages.modules_of(part)
        digest.update(repr((part, stages.parts[part], modules)).encode())
        digest.update(repr([_plain(inner) for module in modules.values() for inner in module.modules()]).encode())
        for name, tensor in stages.state_of(part).items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    digest.update(repr((type(model.backbone), _plain(model.backbone))).encode())
    digest.update(repr(model.neck if model.keeps_pooled else None).encode())
    return digest.hexdigest()
