"""Makes our classes known to mmpretrain's registries; what ``custom_imports`` in a config names."""

import flowercls.data.image_folder
import flowercls.data.sampler
import flowercls.data.transforms
import flowercls.evaluate.mm_metric
import flowercls.models.backbones.torchvision_backbone  # noqa: F401
import flowercls.models.classifier
import flowercls.train.checkpoint
import flowercls.train.hooks
import flowercls.train.optimizer  # noqa: F401
