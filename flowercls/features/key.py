"""The cache key: everything that decides which bits a set of features has.

Two sets of features share a key only if the same network computes them, on the same photos, in the same batches.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import mmcv
import mmpretrain
import PIL
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader

from flowercls.data.randomness import SampleKey
from flowercls.models.classifier import StagedClassifier
from flowercls.models.freezing import frozen_parts

VERSION = 1  # of the cached arrays and their layout; raise it when either changes
HASH_DIGITS = 24
LIBRARIES = (torch, torchvision, mmpretrain, mmcv, cv2, PIL)  # those that read and augment photos, too
# Attributes of a module that may differ although its output is the same.
IGNORED_ATTRIBUTES = {'training', 'frozen_stages', 'norm_eval', 'init_cfg', '_is_init', '_is_full_backward_hook'}


class FeatureKeys:
    """Makes the keys of one network's features. Its frozen weights are hashed once, when it is made.

    Args:
        model: The classifier, with its weights loaded and its preprocessor for photos.
        dtype: As ``feature_cache.dtype``.
    """

    def __init__(self, model: StagedClassifier, dtype: str) -> None:
        device = next(model.parameters()).device
        preprocessor = model.data_preprocessor
        buffers = {name: buffer.tolist() for name, buffer in preprocessor.named_buffers()}
        self._network = {
            'version': VERSION,
            'frozen_part': fingerprint(model),
            'pooled': model.caches_pooled,
            'precision': model.precision,
            'channels_last': model.channels_last,
            'dtype': dtype,
            'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type,
            'libraries': {library.__name__: library.__version__ for library in LIBRARIES},
            'preprocess': {'type': type(preprocessor).__name__, **_plain_attributes(preprocessor), **buffers},
        }

    def key_of(
        self, loader: DataLoader, pipeline: list[dict], samples: Sequence[int], counters: Mapping[str, int]
    ) -> str:
        """Return the name of a set of features in the cache.

        Args:
            loader: The loader of the photos, for their files and the batch size.
            pipeline: The transforms of the photos, as in the config.
            samples: The sample keys in the order of the set.
            counters: The seed and the view that augmentation is drawn from; empty without augmentation.
        """
        photos = {
            'photos': _hash(_file_identity(loader.dataset, sample) for sample in samples),
            'views': _hash((int(s), s.occurrence) if isinstance(s, SampleKey) else int(s) for s in samples),
            'store': loader.dataset.photo_cache,  # photos may be shrunk in it
            'pipeline': repr(pipeline),
            'batch_size': loader.batch_size,
            **counters,
        }
        content = json.dumps([self._network, photos], sort_keys=True, default=repr)
        return f'features-{hashlib.sha256(content.encode()).hexdigest()[:HASH_DIGITS]}'


def fingerprint(model: StagedClassifier) -> str:
    """Return a hash of the structure, settings, weights and buffers of everything that is frozen."""
    stages, digest = model.stages, hashlib.sha256()
    for part in frozen_parts(model.frozen_stages):
        modules = stages.modules_of(part)
        digest.update(repr((part, stages.parts[part], modules)).encode())
        inner_modules = [inner for module in modules.values() for inner in module.modules()]
        digest.update(repr([_plain_attributes(inner) for inner in inner_modules]).encode())
        for name, tensor in stages.state_of(part).items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    digest.update(repr((type(model.backbone), _plain_attributes(model.backbone))).encode())
    digest.update(repr(model.neck if model.caches_pooled else None).encode())
    return digest.hexdigest()


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    """Return a module's settings, such as a ViT's way to fit its positions to an image size."""
    return {
        name: repr(value) for name, value in vars(module).items() if name not in IGNORED_ATTRIBUTES and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _file_identity(dataset: Any, sample: int) -> tuple:
    path = Path(dataset.get_data_info(int(sample))['img_path'])
    status = path.stat()
    return path.parent.name, path.name, status.st_size, status.st_mtime_ns


def _hash(items: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(item).encode())
    return digest.hexdigest()
