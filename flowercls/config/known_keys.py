"""The keys that each section of a config may have, where the set is fixed.

Sources: `Runner.from_cfg`, `Runner.build_dataloader`, the loops, `setup_env` and `set_randomness` of mmengine 0.10.7,
`torch.utils.data.DataLoader`, and mmpretrain 1.2.0's `ImageClassifier`, `ClsDataPreprocessor` and tools. What has a
`type` and is not listed here is checked against its class, see `components`.
"""

from collections.abc import Mapping
from typing import Any

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

TOP = frozenset(
    LOADERS
    + ('model', 'data_preprocessor', 'data_root', 'drawn', 'load_from', 'resume', 'work_dir', 'experiment_name')
    + ('input_size',)  # pixels that the starting weights were made for
    + ('data_manifest',)  # written into a run folder's config by the engine
    + ('cache_dir', 'feature_cache', 'photo_cache')
    + ('train_cfg', 'val_cfg', 'test_cfg', 'val_evaluator', 'test_evaluator', 'tta_model', 'tta_pipeline')
    + ('optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'default_hooks', 'custom_hooks', 'custom_imports')
    + ('default_scope', 'env_cfg', 'launcher', 'log_processor', 'log_level', 'visualizer', 'randomness')
    + ('model_wrapper_cfg', 'sync_bn', 'find_unused_parameters', 'activation_checkpointing')
    + ('efficient_conv_bn_eval', 'compile', 'runner_type', 'strategy')
)
# Variables that configs of mmengine's family keep at the top level for use further down; nothing reads them later.
HELPERS = frozenset(
    ('train_pipeline', 'val_pipeline', 'test_pipeline', 'dataset_type', 'vis_backends', 'bgr_mean', 'bgr_std')
)

_LOADER = frozenset(
    ('batch_size', 'num_workers', 'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'pin_memory')
    + ('persistent_workers', 'drop_last', 'prefetch_factor', 'timeout', 'multiprocessing_context', 'generator')
    + ('pin_memory_device', 'in_order', 'num_batch_per_epoch', 'disable_subprocess_warning')
)
_OPTIM_WRAPPER = frozenset(
    ('type', 'optimizer', 'constructor', 'paramwise_cfg', 'clip_grad', 'accumulative_counts')
    + ('loss_scale', 'dtype', 'use_fsdp')
)
_PARAMWISE = frozenset(
    ('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult')
    + ('dcn_offset_lr_mult', 'bypass_duplicate', 'layer_decay_rate', 'stage_lr_mult')
)
# The rows of the stage table; 'backbone' is the one row of a backbone that cannot be cut.
PARTS = ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'head', 'backbone', 'neck', 'classifier')
_PREPROCESSOR = frozenset(
    ('type', 'mean', 'std', 'to_rgb', 'num_classes', 'to_onehot', 'batch_augments', 'pad_size_divisor', 'pad_value')
)
_MODEL = frozenset(
    ('type', 'frozen_stages', 'precision', 'channels_last', 'backbone', 'neck', 'head', 'pretrained', 'train_cfg')
    + ('data_preprocessor', 'init_cfg')
)
_HOOKS = frozenset(
    (
        'runtime_info',
        'timer',
        'logger',
        'param_scheduler',
        'sampler_seed',
        'sync_buffer',
        'randomness',
        'progress',
        'results',
    )
    + ('checkpoint', 'visualization')
)

SECTIONS: dict[str, frozenset[str]] = {
    '': TOP,
    'model': _MODEL,
    'model.train_cfg': frozenset(('augments', 'probs')),
    'data_preprocessor': _PREPROCESSOR,
    'model.data_preprocessor': _PREPROCESSOR,
    **dict.fromkeys(LOADERS, _LOADER),
    'train_cfg': frozenset(
        ('type', 'by_epoch', 'max_epochs', 'max_iters', 'val_begin', 'val_interval', 'dynamic_intervals')
    ),
    'val_cfg': frozenset(('type', 'fp16')),
    'test_cfg': frozenset(('type', 'fp16')),
    'optim_wrapper': _OPTIM_WRAPPER,
    'optim_wrapper.paramwise_cfg': _PARAMWISE,
    'optim_wrapper.paramwise_cfg.stage_lr_mult': frozenset(PARTS),
    'auto_scale_lr': frozenset(('enable', 'base_batch_size')),
    'default_hooks': _HOOKS,
    'env_cfg': frozenset(('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')),
    'env_cfg.mp_cfg': frozenset(('mp_start_method', 'opencv_num_threads')),
    'env_cfg.dist_cfg': frozenset(
        ('backend', 'init_backend', 'init_method', 'timeout', 'port', 'world_size', 'rank', 'device_id', 'store')
    ),
    'randomness': frozenset(('seed', 'deterministic', 'diff_rank_seed')),
    'custom_imports': frozenset(('imports', 'allow_failed_imports')),
    'feature_cache': frozenset(('views', 'dtype', 'budget')),
    'photo_cache': frozenset(('budget',)),
    'drawn': frozenset(('num_per_class', 'image_size', 'seed', 'val_ratio')),
}
# Sections with a `type`: the keys above belong to these types; any other type is checked against its own class.
TYPES = {
    'model': ('StagedClassifier', 'ImageClassifier'),
    'data_preprocessor': ('ClsDataPreprocessor',),
    'model.data_preprocessor': ('ClsDataPreprocessor',),
    'train_cfg': ('EpochBasedTrainLoop', 'IterBasedTrainLoop'),
    'val_cfg': ('ValLoop',),
    'test_cfg': ('TestLoop',),
    'optim_wrapper': ('OptimWrapper', 'AmpOptimWrapper'),
}
CLOSE_ONLY = ('', 'default_hooks')  # names are free here; only one that is close to a known name is a mistake


def known_keys(section: str, content: Any) -> frozenset[str] | None:
    """The keys that ``section`` (a dotted path, '' for the top level) may have, or None where the set is not fixed."""
    keys = SECTIONS.get(section)
    own_type = content.get('type') if isinstance(content, Mapping) else None
    if section in TYPES and own_type is not None and str(own_type).rpartition('.')[2] not in TYPES[section]:
        return None
    if section == 'optim_wrapper.paramwise_cfg' and isinstance(content, Mapping) and 'constructor' in content:
        return None
    return keys
