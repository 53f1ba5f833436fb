"""What a user of mmpretrain has for the same photos, model, batch, optimizer and frozen modules."""

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from flowercls.models.freezing import frozen_modules, frozen_parameters
from flowercls.models.stages import cut

OWN_KEYS = ('frozen_stages', 'precision', 'channels_last')  # of our model


def stock_runner(cfg: Config, frozen: int | str, work_dir: str) -> Runner:
    """The training of mmpretrain as its own train.py builds it, in float32 with its own classes and transforms.

    Args:
        cfg: Ours, complete and checked.
        frozen: As ``model.frozen_stages``; the same modules are fixed as mmpretrain's backbones fix theirs: without
            gradient, in evaluation mode.
        work_dir: A folder for its log.
    """
    runner = Runner.from_cfg(stock_config(cfg, work_dir))
    if frozen:
        stages = cut(runner.model.backbone)
        for parameter in frozen_parameters(runner.model, stages, frozen):
            parameter.requires_grad_(False)
        runner.register_hook(_KeepInEval(list(frozen_modules(runner.model, stages, frozen))))
    return runner


def stock_config(cfg: Config, work_dir: str) -> Config:
    """A config in mmpretrain's own words for what ``cfg`` says in ours."""
    model = {key: value for key, value in cfg.model.to_dict().items() if key not in OWN_KEYS}
    return Config(
        {
            'default_scope': 'mmpretrain',
            'custom_imports': {'imports': ['flowercls.registration']},  # a torchvision backbone is ours
            'model': {**model, 'type': 'ImageClassifier'},
            'data_preprocessor': cfg.data_preprocessor.to_dict(),
            'train_dataloader': _loader(cfg),
            'train_cfg': cfg.train_cfg.to_dict(),
            'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': cfg.optim_wrapper.optimizer.to_dict()},
            'default_hooks': {
                'timer': {'type': 'IterTimerHook'},
                'logger': {'type': 'LoggerHook', 'interval': 100},
                'param_scheduler': {'type': 'ParamSchedulerHook'},
                'sampler_seed': {'type': 'DistSamplerSeedHook'},
                'checkpoint': None,  # by both, as it is written once an epoch
            },
            'log_level': 'WARNING',
            'work_dir': work_dir,
        }
    )


def _loader(cfg: Config) -> dict:
    ours, size = cfg.train_dataloader, cfg.get('input_size', 224)
    workers = ours.get('num_workers', 0)
    return {
        'batch_size': ours.batch_size,
        'num_workers': workers,
        'persistent_workers': workers > 0,
        'pin_memory': torch.cuda.is_available(),
        'collate_fn': {'type': 'default_collate'},
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'dataset': {
            'type': 'CustomDataset',
            'data_root': cfg.data_root,
            'data_prefix': ours.dataset.data_prefix,
            'with_label': True,
            'pipeline': [  # of mmpretrain's configs/_base_/datasets/imagenet_bs32.py
                {'type': 'LoadImageFromFile'},
                {'type': 'RandomResizedCrop', 'scale': size},
                {'type': 'RandomFlip', 'prob': 0.5, 'direction': 'horizontal'},
                {'type': 'PackInputs'},
            ],
        },
    }


class _KeepInEval(Hook):
    """As ``train()`` of mmpretrain's backbones does."""

    def __init__(self, modules: list) -> None:
        self._modules = modules

    def before_train_epoch(self, runner) -> None:
        for module in self._modules:
            module.training = False
