"""The keys that each section of a config may have, where the set is fixed.

Sources: `Runner.from_cfg`, `Runner.build_dataloader`, the loops, `setup_env` and `set_randomness` of mmengine 0.10.7,
`torch.utils.data.DataLoader`, and mmpretrain 1.2.0's `ImageClassifier`, `ClsDataPreprocessor` and tools. What has a
`type` and is not listed here is checked against its class, see `components`.

What every run shares: hooks, seed, names. The same values as configs/_base_/default_runtime.py, for other bases.

Misspelt keys: in a config file, and in the values given with --cfg-options.

Values that can be judged without building anything: types and ranges of the sections with fixed keys.
"""

import copy
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from flowercls.config.suggest import did_you_mean, nearest_name
from flowercls.core.terminal import is_size

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


REGISTRATION = 'flowercls.registration'
CONSTRUCTOR = 'TrainableOptimWrapperConstructor'
DEFAULT_HOOKS = {
    'runtime_info': {'type': 'LazyRuntimeInfoHook'},
    'timer': {'type': 'IterTimerHook'},
    'logger': {'type': 'LoggerHook', 'interval': 10},
    'param_scheduler': {'type': 'ParamSchedulerHook'},
    'sampler_seed': {'type': 'DistSamplerSeedHook'},
    'sync_buffer': {'type': 'SyncBuffersHook'},
    'randomness': {'type': 'CounterRandomnessHook'},
    'progress': {'type': 'ProgressHook'},
    'results': {'type': 'ResultsHook'},
    'checkpoint': {
        'type': 'WholeCheckpointHook',
        'interval': 1,
        'max_keep_ckpts': 2,
        'save_best': 'accuracy/top1',
        'rule': 'greater',
    },
}
DEFAULTS = {
    'env_cfg': {
        'cudnn_benchmark': False,
        'mp_cfg': {'mp_start_method': 'fork', 'opencv_num_threads': 0},
        'dist_cfg': {'backend': 'nccl'},
    },
    'visualizer': {'type': 'UniversalVisualizer', 'vis_backends': [{'type': 'ScalarsBackend'}]},
    'log_level': 'INFO',
    'load_from': None,
    'resume': False,
    'randomness': {'seed': 0, 'deterministic': False},
    'photo_cache': {'budget': '8GB'},
    'feature_cache': {'views': 'auto', 'dtype': 'auto', 'budget': '8GB'},
    'cache_dir': 'work_dirs/cache',
}
MAY_BE_NONE = ('photo_cache', 'feature_cache')  # switched off
KEPT_CHECKPOINT_KEYS = ('interval', 'max_keep_ckpts', 'save_best', 'rule')


def derive_runtime(cfg: Any) -> list[str]:
    """Complete hooks, seed and names of a config in place; returns sentences about what was changed."""
    for key, value in DEFAULTS.items():
        if cfg.get(key) is None and not (key in cfg and key in MAY_BE_NONE):
            cfg[key] = copy.deepcopy(value)
    if cfg.get('optim_wrapper'):
        cfg['optim_wrapper'].setdefault('constructor', CONSTRUCTOR)
    return _scope(cfg) + _imports(cfg) + _seed(cfg) + _hooks(cfg) + _backends(cfg)


def _scope(cfg: Any) -> list[str]:
    found = cfg.get('default_scope')
    cfg['default_scope'] = 'mmpretrain'
    return [] if found in (None, 'mmpretrain') else [f"default_scope is 'mmpretrain' instead of '{found}'."]


def _imports(cfg: Any) -> list[str]:
    custom = dict(cfg.get('custom_imports') or {})
    given = custom.get('imports') or []
    given = [given] if isinstance(given, str) else list(given)
    cfg['custom_imports'] = {**custom, 'imports': given if REGISTRATION in given else [*given, REGISTRATION]}
    return []


def _seed(cfg: Any) -> list[str]:
    notes = []
    if cfg['randomness'].get('diff_rank_seed'):
        cfg['randomness'] = {**cfg['randomness'], 'diff_rank_seed': False}
        notes = ['randomness.diff_rank_seed is False: processes draw differently anyway, from one seed.']
    if cfg['randomness'].get('seed') is not None:
        return notes
    cfg['randomness'] = {**cfg['randomness'], 'seed': 0}
    return [*notes, 'randomness.seed is 0: without a seed a run can be neither repeated nor resumed exactly.']


def _hooks(cfg: Any) -> list[str]:
    hooks = dict(cfg.get('default_hooks') or {})
    added = [name for name in DEFAULT_HOOKS if name not in hooks]  # an entry that is None is switched off, and stays so
    if 'checkpoint' in hooks:
        hooks['checkpoint'], notes = _checkpoint(hooks['checkpoint'])
    else:
        notes = []
    cfg['default_hooks'] = {**hooks, **{name: copy.deepcopy(DEFAULT_HOOKS[name]) for name in added}}
    return ([f'default_hooks: {", ".join(added)} added.'] if added else []) + notes


def _checkpoint(hook: Any) -> tuple[Any, list[str]]:
    if not isinstance(hook, dict) or str(hook.get('type')).rpartition('.')[2] != 'CheckpointHook':
        return hook, []
    kept = {key: hook[key] for key in KEPT_CHECKPOINT_KEYS if hook.get(key) is not None}
    if kept.get('save_best') == 'auto':
        del kept['save_best']  # the first metric: accuracy/top1, which is our default
    default = dict(DEFAULT_HOOKS['checkpoint'])
    if 'loss' in str(kept.get('save_best')):
        default['rule'] = 'less'
    dropped = [key for key in hook if key not in (*KEPT_CHECKPOINT_KEYS, 'type')]
    note = 'default_hooks.checkpoint: CheckpointHook replaced by WholeCheckpointHook'
    note += f', without {", ".join(dropped)}.' if dropped else '.'
    return {**default, **kept}, [note]


def _backends(cfg: Any) -> list[str]:
    backends = cfg['visualizer'].get('vis_backends') or []
    for backend in backends:
        if backend.get('type') == 'LocalVisBackend':
            backend['type'] = 'ScalarsBackend'
            return ['visualizer: LocalVisBackend replaced by ScalarsBackend, which writes into the run folder itself.']
    return []


pass


# Among the arguments of one class near names are common (in_channels, mid_channels), and `components` knows them all.
LIKE_A_SIBLING = 0.92


def misspelt_keys(cfg: dict, used_names: set[str]) -> dict[str, str]:
    """Every key of a config that no section knows: its dotted path and what to say about it.

    Args:
        cfg: The config, as read from its files.
        used_names: Names its files use as variables; these may be called anything.
    """
    mistakes = {}
    for section in SECTIONS:
        content = at_path(cfg, section)
        known = known_keys(section, content)
        if known is None or not isinstance(content, dict):
            continue
        free = used_names | HELPERS if not section else set()
        for key in content:
            if _is_wrong(section, key, known | free):
                mistakes[f'{section}.{key}'.strip('.')] = _unknown(section, key, known)
    return mistakes


def misplaced_helpers(cfg: dict) -> list[str]:
    """Names of top-level variables that a reader could take for a misspelt key; only the file's own code needs them."""
    known = known_keys('', cfg)
    return [key for key in cfg if _is_wrong('', key, known | HELPERS)]


def unused_names(cfg: dict, used_names: set[str]) -> list[str]:
    """Top-level names that nothing reads: not the Runner, not flowercls, not the file itself."""
    return [key for key in cfg if key not in known_keys('', cfg) | HELPERS | used_names]


def unknown_overrides(cfg: dict, overrides: dict) -> list[str]:
    """One line for each override whose key neither exists in the config nor is known for its section."""
    mistakes = []
    for key in overrides:
        wrong = _unknown_part(cfg, key.split('.'), overrides)
        if wrong is not None:
            mistakes.append(f"--cfg-options: unknown key '{key}'{wrong or _hint_path(cfg, key)}")
        elif key.partition('.')[0] not in known_keys('', cfg):
            mistakes.append(_without_effect(cfg, key))
    return mistakes


def at_path(cfg: Any, path: str) -> Any:
    """What stands at the dotted ``path`` ('' is ``cfg`` itself), or None if nothing does."""
    for part in path.split('.') if path else ():
        if isinstance(cfg, (list, tuple)) and part.isdigit() and int(part) < len(cfg):
            cfg = cfg[int(part)]
        elif isinstance(cfg, dict) and part in cfg:
            cfg = cfg[part]
        else:
            return None
    return cfg


def _is_wrong(section: str, key: str, known: set[str] | frozenset[str]) -> bool:
    if key in known or key in ('_delete_', '_scope_'):
        return False
    return section not in CLOSE_ONLY or nearest_name(key, known) is not None


def _unknown(section: str, key: str, known: frozenset[str]) -> str:
    where = f' in {section}' if section else ''
    return f"unknown key '{key}'{where}{did_you_mean(key, known)}"


def _unknown_part(cfg: Any, parts: list[str], overrides: dict) -> str | None:
    """None if the path is fine, else why it is not ('': no such key, and the nearest one is worth naming)."""
    section: list[str] = []
    for i, part in enumerate(parts):
        path = '.'.join(section)
        if isinstance(cfg, (list, tuple)):
            if not part.isdigit() or int(part) >= len(cfg):
                return f": '{path}' is a list of {len(cfg)}, its parts are numbered from 0"
            cfg = cfg[int(part)]
        elif isinstance(cfg, dict) and part in cfg:
            cfg = cfg[part]
        elif cfg is None or isinstance(cfg, dict):
            return _new_key(path, part, cfg or {}, parts[i + 1 :], overrides)
        else:
            return f": '{path}' is {cfg!r} and has no parts"
        section.append(part)
    return None


def _new_key(path: str, part: str, content: dict, rest: list[str], overrides: dict) -> str | None:
    known = known_keys(path, content)
    if known is not None:
        free_hook = path == 'default_hooks' and not _is_wrong(path, part, known)
        if part not in known and not free_hook:
            return ''
        return _inside_new(f'{path}.{part}'.strip('.'), rest) if rest else None
    if f'{path}.type' in overrides:
        return None  # the old type's arguments are no measure for the new type's
    return '' if nearest_name(part, content, cutoff=LIKE_A_SIBLING) else None


def _inside_new(path: str, parts: list[str]) -> str | None:
    # The section does not exist in the config yet; where its keys are fixed they are known all the same.
    known = known_keys(path, {})
    if known is not None and parts[0] not in known and path not in CLOSE_ONLY:
        return ''
    return _inside_new(f'{path}.{parts[0]}', parts[1:]) if parts[1:] else None


def _hint_path(cfg: dict, key: str) -> str:
    paths = set(_paths(cfg)) | {f'{section}.{name}'.strip('.') for section, names in SECTIONS.items() for name in names}
    ends_same = [path for path in paths if path.rpartition('.')[2] == key.rpartition('.')[2]]
    if '.' not in key and len(ends_same) == 1:
        return f" (did you mean '{ends_same[0]}'?)"
    return did_you_mean(key, ends_same, cutoff=0.5) or did_you_mean(key, paths, cutoff=0.6)


def _paths(node: Any, start: str = '') -> Iterator[str]:
    """Dotted paths of everything in a config, lists by number."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in children:
        path = f'{start}.{key}'.strip('.')
        yield path
        yield from _paths(value, path)


def _without_effect(cfg: dict, key: str) -> str:
    name = key.partition('.')[0]
    uses = [path for path, value in ((p, at_path(cfg, p)) for p in _paths(cfg)) if value == cfg[name]]
    uses = [
        use
        for use in uses
        if use.partition('.')[0] in known_keys('', cfg) and type(at_path(cfg, use)) is type(cfg[name])
    ]
    instead = f' Fix: set {" or ".join(uses[:3])}.' if uses else ''
    return f"--cfg-options: '{key}' only names a variable of the file, which is already used up.{instead}"


pass
pass

pass

FROZEN_STAGES = (0, 1, 2, 3, 4, 'all')
# These backbones freeze nothing at 0; for all others 0 already freezes the stem and -1 is their "nothing".
ZERO_FREEZES_NOTHING = re.compile(
    r'DenseNet|EfficientNet|ConvNeXt|Conformer|ConvMixer|EdgeNeXt|HorNet|PoolFormer|RIFormer|TinyViT|Vig|PyramidVig'
)
PLAIN = (str, int, float, bool, type(None))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _at_least(least: int) -> Callable[[Any], bool]:
    return lambda value: _is_int(value) and value >= least


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _is_not_negative(value: Any) -> bool:
    return _is_positive(value) or (isinstance(value, (int, float)) and value == 0 and not isinstance(value, bool))


def _is_part(value: Any) -> bool:
    return _is_not_negative(value) and value <= 1


def _is_folder(value: Any) -> bool:
    if not isinstance(value, str) or value == '':
        return False
    return not any(path.is_file() for path in (Path(value), *Path(value).parents))


def _is_seed(value: Any) -> bool:
    return _is_int(value) and 0 <= value < 2**32


def _is_share(value: Any) -> bool:
    return _is_positive(value) and value < 1


def _is_list_of_dicts(value: Any) -> bool:
    return value is None or isinstance(value, (list, tuple)) and all(isinstance(entry, dict) for entry in value)


def _one_of(*choices: Any) -> Callable[[Any], bool]:
    return lambda value: any(value == choice and type(value) is type(choice) for choice in choices)


def _is_topk(value: Any) -> bool:
    several = value if isinstance(value, (list, tuple)) else [value]
    return all(_is_int(k) and k >= 1 for k in several)


def _is_texts(value: Any) -> bool:
    return value is None or isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value)


LOG_LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')
SWITCHES = ('resume', 'auto_scale_lr.enable', 'train_cfg.by_epoch', 'env_cfg.cudnn_benchmark') + (
    *('randomness.deterministic', 'randomness.diff_rank_seed', 'find_unused_parameters', 'val_cfg.fp16'),
    *(f'{loader}.{key}' for loader in LOADERS for key in ('pin_memory', 'persistent_workers', 'drop_last')),
)
# path: (test, what is expected); a path that is absent is not tested
EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    'data_root': (lambda value: isinstance(value, str) and value != '', 'a path as text'),
    'train_cfg.max_epochs': (_at_least(1), 'a whole number of at least 1'),
    'train_cfg.val_interval': (_at_least(1), 'a whole number of at least 1'),
    'train_dataloader.dataset.views': (
        lambda value: value is None or _at_least(1)(value),
        'a whole number of at least 1, or None for a new view each epoch',
    ),
    'train_dataloader.sampler.balanced': (_one_of(True, False), 'True or False'),
    'optim_wrapper.optimizer.lr': (_is_positive, 'a number above 0'),
    **{
        f'optim_wrapper.paramwise_cfg.stage_lr_mult.{part}': (
            _is_positive,
            'a factor above 0 (model.frozen_stages freezes)',
        )
        for part in PARTS
    },
    'optim_wrapper.accumulative_counts': (_at_least(1), 'a whole number of batches, at least 1'),
    'model.head.loss.class_weight': (
        lambda value: value in (None, 'balanced') or isinstance(value, (list, tuple)),
        "'balanced', one number a class, or None",
    ),
    'model.head.loss.loss_weight': (_is_positive, 'a number above 0'),
    'env_cfg.mp_cfg.opencv_num_threads': (_at_least(0), 'a whole number of at least 0'),
    'env_cfg.dist_cfg.backend': (lambda value: isinstance(value, str), 'a name as text'),
    'log_level': (_one_of(*LOG_LEVELS), ', '.join(LOG_LEVELS)),
    'default_scope': (lambda value: value is None or isinstance(value, str), 'a name as text'),
    'input_size': (_at_least(1), 'a whole number of pixels, at least 1'),
    'load_from': (lambda value: value is None or isinstance(value, str), 'an address, a path or None'),
    'work_dir': (lambda value: value is None or isinstance(value, str), 'a path as text'),
    'auto_scale_lr.base_batch_size': (_at_least(1), 'a whole number of at least 1'),
    'model.frozen_stages': (_one_of(*FROZEN_STAGES), "0, 1, 2, 3, 4 or 'all'"),
    'model.precision': (_one_of('auto', 'bf16', 'fp32'), "'auto', 'bf16' or 'fp32'"),
    'model.channels_last': (_one_of('auto', True, False), "'auto', True or False"),
    'randomness.seed': (lambda value: value is None or _is_seed(value), 'a whole number from 0 to 4294967295'),
    'default_hooks.logger.interval': (_at_least(1), 'a whole number of iterations, at least 1'),
    'default_hooks.checkpoint.interval': (_at_least(1), 'a whole number of epochs, at least 1'),
    'default_hooks.checkpoint.max_keep_ckpts': (
        lambda value: value == -1 or _at_least(1)(value),
        'a whole number of at least 1, or -1 to keep all',
    ),
    'default_hooks.checkpoint.rule': (_one_of('greater', 'less', None), "'greater' or 'less'"),
    'model.head.topk': (_is_topk, 'a whole number of at least 1, or a tuple of them'),
    'feature_cache.views': (
        lambda value: value in ('auto', 'all') or _at_least(0)(value),
        "a whole number, 'all' for one each epoch, 0 to keep nothing, or 'auto'",
    ),
    'feature_cache.dtype': (_one_of('auto', 'bf16', 'fp16', 'fp32'), "'auto', 'bf16', 'fp16' or 'fp32'"),
    'feature_cache.budget': (is_size, "a size as '8GB' or '500MB', or a whole number of bytes"),
    'drawn.num_per_class': (_at_least(2), 'a whole number of at least 2'),
    'drawn.image_size': (_at_least(16), 'a whole number of pixels, at least 16'),
    'drawn.seed': (_is_seed, 'a whole number from 0 to 4294967295'),
    'drawn.val_ratio': (_is_share, 'a share between 0 and 1'),
    'cache_dir': (_is_folder, 'the path of a folder, as text; neither it nor one above it may be a file'),
    'photo_cache.budget': (
        is_size,
        "a size as '8GB' or '500MB', or a whole number of bytes (photo_cache=None reads photos from their files)",
    ),
    **dict.fromkeys(('custom_hooks', 'visualizer.vis_backends'), (_is_list_of_dicts, 'a list of dict(...)')),
    'model.backbone.widen_factor': (_is_positive, 'a number above 0'),
    'custom_imports.imports': (
        lambda value: _is_texts([value] if isinstance(value, str) else value),
        'the name of a module, or a list of such names',
    ),
    **{name: (_one_of(True, False), 'True or False') for name in SWITCHES},
    **{
        name: (lambda value: isinstance(value, dict) or _is_list_of_dicts(value), 'dict(...) or a list of them')
        for name in ('param_scheduler', 'val_evaluator', 'test_evaluator')
    },
    **{f'{loader}.dataset': (lambda value: isinstance(value, dict), 'dict(...)') for loader in LOADERS},
    **{f'{loader}.batch_size': (_at_least(1), 'a whole number of at least 1') for loader in LOADERS},
    **{f'{loader}.num_workers': (_at_least(0), 'a whole number of at least 0') for loader in LOADERS},
}
MAY_BE_NONE_values = ('end', 'T_max', 'step_size', 'eta_min', 'eta_min_ratio')
EXPECTED_OF_SCHEDULERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'begin': (_at_least(0), 'a whole number of at least 0'),
    **dict.fromkeys(('end', 'T_max', 'step_size'), (_at_least(1), 'a whole number of at least 1')),
    'gamma': (_is_positive, 'a number above 0'),
    **dict.fromkeys(('factor', 'start_factor', 'end_factor', 'eta_min_ratio'), (_is_part, 'a number between 0 and 1')),
    'eta_min': (_is_not_negative, 'a learning rate of at least 0'),
    **dict.fromkeys(('by_epoch', 'convert_to_iter_based'), (_one_of(True, False), 'True or False')),
}
# Sections that are dicts, besides those with fixed keys.
SECTIONS_AS_DICTS = ('model.backbone', 'model.head', 'optim_wrapper.optimizer', 'visualizer') + (
    *(f'{loader}.{part}' for loader in LOADERS for part in ('sampler', 'batch_sampler', 'collate_fn')),
)


def wrong_values(cfg: dict) -> list[str]:
    """One line for each value of a wrong type or out of range."""
    hooks = cfg.get('default_hooks')
    hook_paths = [f'default_hooks.{name}' for name in hooks] if isinstance(hooks, dict) else []
    mistakes = [
        f'{name}: expected dict(...), got {at_path(cfg, name)!r}'
        for name in (*SECTIONS, *SECTIONS_AS_DICTS, *hook_paths)
        if not isinstance(at_path(cfg, name), (dict, type(None)))
    ]
    for path, (is_good, expected) in EXPECTED.items():
        section, _, key = path.rpartition('.')
        content = at_path(cfg, section)
        if isinstance(content, dict) and key in content and not is_good(content[key]):
            mistakes.append(f'{path}: expected {expected}, got {content[key]!r}')
    return mistakes + _frozen_in_backbone(cfg) + _schedules(cfg) + _rates(cfg) + list(_not_plain(cfg))


def _schedules(cfg: dict) -> list[str]:
    given = cfg.get('param_scheduler')
    listed = [given] if isinstance(given, dict) else given if _is_list_of_dicts(given) else []
    return [
        f'param_scheduler.{i}.{key}: expected {expected}, got {scheduler[key]!r}'
        for i, scheduler in enumerate(listed or [])
        for key, (is_good, expected) in EXPECTED_OF_SCHEDULERS.items()
        if key in scheduler
        and not is_good(scheduler[key])
        and not (key in MAY_BE_NONE_values and scheduler[key] is None)
    ]


def _rates(cfg: dict) -> list[str]:
    """Learning rates that would not be what the config says."""
    wrapper, scaling = cfg.get('optim_wrapper'), cfg.get('auto_scale_lr')
    mistakes = []
    if isinstance(scaling, dict) and scaling.get('enable') and not scaling.get('base_batch_size'):
        mistakes.append('auto_scale_lr.enable: needs base_batch_size, the photos a step that the rate is meant for')
    if isinstance(wrapper, dict) and at_path(wrapper, 'paramwise_cfg.stage_lr_mult'):
        constructor = wrapper.get('constructor') or CONSTRUCTOR
        if constructor != CONSTRUCTOR:
            mistakes.append(
                f'optim_wrapper.paramwise_cfg.stage_lr_mult: {constructor} does not know it. Fix: constructor='
                f'{CONSTRUCTOR!r}'
            )
    return mistakes


def _frozen_in_backbone(cfg: dict) -> list[str]:
    backbone = at_path(cfg, 'model.backbone')
    if not isinstance(backbone, dict):
        return []
    frozen = backbone.get('frozen_stages', -1)
    zero_is_none = ZERO_FREEZES_NOTHING.match(str(backbone.get('type')).rpartition('.')[2])
    if frozen == -1 or (frozen == 0 and zero_is_none):
        return []
    return [
        f'model.backbone.frozen_stages={frozen!r}: counts differently in every backbone. '
        "Fix: set model.frozen_stages (0-4 or 'all') instead"
    ]


def _not_plain(node: Any, path: str = '') -> Iterator[str]:
    """What a config cannot be written down with: only text, numbers, lists and dicts come back the same."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _not_plain(value, f'{path}.{key}'.strip('.'))
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from _not_plain(value, f'{path}.{i}')
    elif isinstance(node, float) and math.isnan(node):
        yield f'{path}: expected a number, got nan'
    elif not isinstance(node, PLAIN):
        fix = 'str(...)' if isinstance(node, PurePath) else 'text, numbers, lists and dicts'
        yield f'{path}: a config cannot hold a {type(node).__name__} ({node!r}). Fix: use {fix}'
