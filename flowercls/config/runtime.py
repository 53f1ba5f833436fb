"""What every run shares: hooks, seed, names. The same values as configs/_base_/default_runtime.py, for other bases."""

import copy
from typing import Any

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
