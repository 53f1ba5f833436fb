"""The classifier: mmpretrain's `ImageClassifier` with one meaning of "freeze N stages", precision and memory layout."""

import contextlib
from typing import Any, Self

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor

from flowercls.core.errors import ConfigError
from flowercls.core.hardware import resolve_channels_last, resolve_precision
from flowercls.models.freezing import (
    check_frozen_stages,
    check_native_freezing_off,
    frozen_modules,
    frozen_parameters,
    num_frozen_stages,
)
from flowercls.models.preprocess import FeaturePreprocessor
from flowercls.models.stages import StagedBackbone, cut

STOCK_PREPROCESSOR = 'ClsDataPreprocessor'


@MODELS.register_module()
class StagedClassifier(ImageClassifier):
    """An image classifier whose first stages can be frozen, in the same way for every backbone.

    Frozen parts have no gradient, fixed norm statistics, no dropout and no drop-path, and no autograd graph is built
    for them. ``precision`` decides how backbone and neck compute, in training, validation and mmpretrain's tools. Head,
    scores and loss are always float32.

    Args:
        backbone: As `ImageClassifier`; so are all arguments up to ``init_cfg``.
        neck: Between backbone and head, mostly the pooling.
        head: Computes logits and losses.
        pretrained: mmpretrain's way to load weights; ``load_from`` in the config is the verified one.
        train_cfg: Batch augmentations such as mixup (``augments``).
        data_preprocessor: Normalisation of the images.
        init_cfg: mmengine's initialisation.
        frozen_stages: 0 freezes nothing, 1 to 4 the stem and that many stages, ``'all'`` everything but the last
            classification layer.
        precision: ``'bf16'`` (autocast), ``'fp32'``, or ``'auto'``: bf16 where the hardware gains from it.
        channels_last: Memory layout of weights and images; ``'auto'`` takes the faster one. Backbones that cannot be
            cut into stages keep torch's default.

    Raises:
        ConfigError: if a value is unknown, a backbone to freeze cannot be cut into stages, its own ``frozen_stages``
            is set, or no parameter is left to train.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict | None = None,
        head: dict | None = None,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        *,
        frozen_stages: int | str = 0,
        precision: str = 'auto',
        channels_last: str | bool = 'auto',
    ) -> None:
        check_frozen_stages(frozen_stages)
        if isinstance(backbone, dict):
            backbone = MODELS.build(backbone)
        check_native_freezing_off(backbone)
        try:
            stages = cut(backbone)
        except ConfigError:
            if frozen_stages:
                raise
            stages = None  # a backbone that cannot be cut is used as a whole
        # A backbone that cannot be cut may call view() on features, which needs torch's default layout.
        channels_last = resolve_channels_last(channels_last) and stages is not None
        data_preprocessor = data_preprocessor or {}
        if data_preprocessor.get('type', STOCK_PREPROCESSOR) in (STOCK_PREPROCESSOR, 'PhotoPreprocessor'):
            # The same as the stock one, faster.
            data_preprocessor = {**data_preprocessor, 'type': 'PhotoPreprocessor', 'channels_last': channels_last}
        super().__init__(backbone, neck, head, pretrained, train_cfg, data_preprocessor, init_cfg)
        self.frozen_stages = frozen_stages
        self.precision = resolve_precision(precision)
        self.input_is_features = False
        self.stages: StagedBackbone | None = stages
        if frozen_stages:
            self._freeze()
        # Whether the cache can hold pooled features: nothing before the output of the pooling is trained.
        is_frozen = num_frozen_stages(frozen_stages) == 4 and not stages.parameters_of('head')
        self.caches_pooled = is_frozen and self.with_neck and not any(p.requires_grad for p in self.neck.parameters())
        self.channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def _freeze(self) -> None:
        # In the constructor, because optimizers and DDP read requires_grad when they are made.
        for parameter in frozen_parameters(self, self.stages, self.frozen_stages):
            parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise ConfigError(
                f'`model.frozen_stages={self.frozen_stages!r}` leaves no parameter to train. '
                'Fix: freeze less, or use a head with a linear layer.'
            )
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; frozen parts stay in evaluation mode."""
        super().train(mode)
        if self.frozen_stages:
            for module in frozen_modules(self, self.stages, self.frozen_stages):
                module.training = False  # not eval(), which visits children that are yielded anyway
        return self

    def accept_features(self) -> None:
        """Take outputs of `extract_frozen` as inputs from now on, instead of images."""
        photos = self.data_preprocessor
        features = FeaturePreprocessor(self.precision == 'fp32', photos.to_onehot, photos.num_classes)
        for name, buffer in photos.named_buffers():  # an EMAHook pairs the buffers of two models by their order
            features.register_buffer(name, buffer, persistent=False)
        self.data_preprocessor = features.to(photos.device)
        self.input_is_features = True

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Any:
        """Return features of a batch in float32, as `ImageClassifier` does.

        Args:
            inputs: Normalised images, shape (N, 3, H, W); after `accept_features`, outputs of `extract_frozen`.
            stage: ``'backbone'`` or ``'neck'`` (a tuple of features), or ``'pre_logits'`` (the input of the head's
                last linear layer).
        """
        if stage not in ('backbone', 'neck', 'pre_logits'):
            raise ValueError(f'stage is {stage!r}, expected "backbone", "neck" or "pre_logits"')
        features = inputs if self.input_is_features else self.run_frozen(inputs)
        is_pooled = self.input_is_features and self.caches_pooled
        with self.body_precision(features):
            if is_pooled:
                x = (features,)
            elif self.frozen_stages:
                x = self.stages.suffix(features, num_frozen_stages(self.frozen_stages))
            elif self.stages is not None:
                x = self.stages.run(features)
            else:
                x = self.backbone(features)
            if stage != 'backbone' and self.with_neck and not is_pooled:
                x = self.neck(x)
        x = as_float32(x)
        if stage != 'pre_logits':
            return x
        with _autocast(features, enabled=False):
            return self.head.pre_logits(x)

    def run_frozen(self, inputs: Tensor) -> Any:
        """Return the frozen stages' output; without frozen stages the images, in the model's memory layout."""
        if self.channels_last and inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        if not self.frozen_stages:
            return inputs
        with torch.no_grad(), self.body_precision(inputs):
            return self.stages.prefix(inputs, num_frozen_stages(self.frozen_stages))

    @torch.no_grad()
    def extract_frozen(self, inputs: Tensor) -> Tensor:
        """Return the input of the first trained layer, which the feature cache stores.

        Args:
            inputs: Normalised images, shape (N, 3, H, W).

        Returns:
            Features of the frozen stages, pooled if `caches_pooled`; shape (N, ...), in the precision of the network.

        Raises:
            ConfigError: if the frozen stages return more than one tensor.
        """
        features = self.run_frozen(inputs)
        if self.caches_pooled:
            with self.body_precision(features):
                features = self.neck(self.stages.suffix(features, 4))
        if isinstance(features, tuple) and len(features) == 1:
            features = features[0]
        if not isinstance(features, Tensor):
            raise ConfigError(
                f'feature_cache: the frozen stages of {type(self.backbone).__name__} return more than one tensor, '
                'which the cache cannot hold. Fix: feature_cache.views=0'
            )
        return features

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return losses as `ImageClassifier` does, and the training accuracy of mixed photos too.

        A photo mixed from several counts with the share of its predicted label, as in the program of mixup's authors
        (Zhang et al. 2018).
        """
        features = self.extract_feat(inputs)
        losses = self.head.loss(features, data_samples)
        if 'gt_score' in data_samples[0] and 'accuracy_top-1' not in losses:
            with torch.no_grad():
                predicted = self.head(features).argmax(dim=1, keepdim=True)
                shares = torch.stack([sample.gt_score for sample in data_samples])
                losses['accuracy_top-1'] = 100 * shares.gather(1, predicted).mean()
        return losses

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """Return features or logits ("tensor"), losses ("loss") or data samples ("predict"), as `ImageClassifier`."""
        # Head, scores and loss are float32 also inside an autocast, such as that of mmengine's AmpOptimWrapper.
        with _autocast(inputs, enabled=False):
            return super().forward(inputs, data_samples, mode)

    def body_precision(self, like: Tensor) -> contextlib.AbstractContextManager:
        """Return the autocast that backbone and neck run in, for inputs on the device of ``like``."""
        return _autocast(like, enabled=self.precision == 'bf16')


def _autocast(like: Tensor, *, enabled: bool) -> contextlib.AbstractContextManager:
    device_type = like.device.type
    if not torch.amp.is_autocast_available(device_type):
        return contextlib.nullcontext()
    return torch.autocast(device_type, torch.bfloat16, enabled=enabled)


def as_float32(features: Any) -> Any:
    """Convert a backbone's output to float32; InceptionV3's contains a None."""
    if isinstance(features, tuple | list):
        return tuple(as_float32(entry) for entry in features)
    return features.float() if isinstance(features, Tensor) else features
