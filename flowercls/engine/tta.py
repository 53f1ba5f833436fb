"""Test-time augmentation: the scores of a photo averaged with those of its mirror image, or as the config says."""

from copy import deepcopy

import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from flowercls.engine.building import building
from flowercls.errors import ConfigError


def use_tta_pipeline(cfg: Config) -> None:
    """Give the test set the config's ``tta_pipeline``, or its own pipeline with a flip before the last transform."""
    cfg.test_dataloader = deepcopy(cfg.test_dataloader)
    dataset = cfg.test_dataloader.dataset
    if cfg.get('tta_pipeline'):
        dataset.pipeline = cfg.tta_pipeline
        return
    if not dataset.get('pipeline'):
        raise ConfigError(
            '--tta: test_dataloader.dataset has no pipeline of its own to add a flip to. '
            'Fix: name the transforms in tta_pipeline = [...], with a TestTimeAug among them.'
        )
    flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (0.0, 1.0)]
    *before, last = dataset.pipeline
    dataset.pipeline = [*before, {'type': 'TestTimeAug', 'transforms': [flips, [last]]}]


def averaging_model(cfg: Config, model: torch.nn.Module) -> torch.nn.Module:
    """``model`` in the config's ``tta_model``, or in mmpretrain's average of the scores."""
    settings = {'type': 'AverageClsScoreTTA', **(cfg.get('tta_model') or {}), 'module': model}
    with building('tta_model'):
        return MODELS.build(settings)
