"""Makes our classes known to mmpretrain's registries; what ``custom_imports`` in a config names."""

import flowercls.datasets.image_folder
import flowercls.datasets.samplers
import flowercls.datasets.transforms
import flowercls.engine.hooks
import flowercls.engine.optimizer
import flowercls.engine.scalars_backend
import flowercls.evaluation.metrics
import flowercls.models.classifier
import flowercls.models.torchvision_backbone  # noqa: F401
