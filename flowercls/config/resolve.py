"""The steps from a loaded config to a complete config, in order, with the flags of the command line and the machine.

A derived config is complete: written down and loaded again it is the same, and mmpretrain's own tools can run it.
"""

import os
from dataclasses import dataclass

from mmengine.config import Config, ConfigDict

from flowercls.config.components import check_components, missing_types
from flowercls.config.data_keys import (
    datasets_in,
    derive_class_weights,
    derive_loaders,
    derive_num_classes,
    derive_topk,
)
from flowercls.config.loader import default_runtime, load_with_notes
from flowercls.config.model_keys import derive_feature_cache, derive_model, derive_starting_weights
from flowercls.config.overrides import Overrides, strip_leftovers
from flowercls.config.schedule import derive_schedules
from flowercls.config.schema import CONSTRUCTOR, LOADERS, REGISTRATION, at_path, known_keys, type_name
from flowercls.config.suggest import raise_mistakes
from flowercls.core.errors import ConfigError
from flowercls.core.prepared_folder import class_names, manifest_hash
from flowercls.core.terminal import silence_false_alarms, tool_command
from flowercls.core.workers import usable_cpus

REQUIRED = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
REQUIRED_PARTS = ('model.backbone', 'model.head', 'train_dataloader.dataset', 'val_dataloader.dataset') + (
    ('optim_wrapper.optimizer',)  # each where its section is there
)
SWITCHABLE = ('photo_cache', 'feature_cache', 'calibration')  # None switches it off


def resolve_config(path: str | os.PathLike, overrides: Overrides = ()) -> tuple[Config, list[str]]:
    """Load and derive a config.

    Returns:
        The config, and notes on each change that the user did not ask for.

    Raises:
        ConfigError: as `load_config`, or if its values contradict each other.
        DataError: if `data_root` is not a prepared folder.
    """
    cfg, notes = load_with_notes(path, overrides)
    return cfg, notes + derive_config(cfg)


def derive_config(cfg: Config) -> list[str]:
    """Complete a config in place: what it leaves open follows from its prepared folder, epochs and frozen stages.

    Deriving twice changes nothing more.

    Returns:
        Notes on each change that the user did not ask for.

    Raises:
        ConfigError: if a section is missing, or two places name different data folders.
        DataError: if `data_root` is not a prepared folder.
    """
    _check_sections(cfg)
    notes = _derive_data_root(cfg)
    names = class_names(cfg.data_root)
    derive_starting_weights(cfg)
    notes += derive_model(cfg)
    runtime = default_runtime()
    notes += _derive_hooks(cfg, runtime.pop('default_hooks'))
    notes += _derive_runtime(cfg, runtime)
    notes += derive_loaders(cfg, names)
    notes += derive_num_classes(cfg, len(names))
    notes += derive_topk(cfg, len(names))
    notes += derive_class_weights(cfg, names)
    notes += derive_feature_cache(cfg)
    if 'type' in cfg.train_cfg:
        cfg.train_cfg.pop('by_epoch', None)  # mmengine refuses both; the type says more
    else:
        cfg.train_cfg.setdefault('by_epoch', True)
        cfg.train_cfg.setdefault('val_interval', 1)
    if cfg.get('param_scheduler'):
        cfg.param_scheduler, schedule_notes = derive_schedules(cfg.param_scheduler, cfg.train_cfg.max_epochs)
        notes += schedule_notes
    strip_leftovers(cfg._cfg_dict)
    for key, value in list(cfg.items()):
        cfg[key] = ConfigDict._hook(value)
    return notes


def _check_sections(cfg: Config) -> None:
    """Raise `ConfigError` if a section that everything else follows from is missing or contradicts another one."""
    missing = [name for name in REQUIRED if not cfg.get(name)]
    for path in REQUIRED_PARTS:
        section = path.partition('.')[0]
        of_a_foreign_class = section == 'model' and known_keys('model', cfg.get('model')) is None
        if cfg.get(section) and not of_a_foreign_class and not at_path(cfg, path):
            missing.append(path)
    if missing:
        fix = 'Fix: add a _base_ file that sets it, as configs/resnet50_flower.py does.'
        if 'grid' in cfg and 'seeds' in cfg:
            fix = f'It is a sweep file. Fix: {tool_command("sweep", cfg.filename)}'
        raise ConfigError(f'{cfg.filename}: {", ".join(missing)} missing. {fix}')
    raise_mistakes(missing_types(cfg._cfg_dict), cfg.filename or 'the config')
    train = cfg.train_cfg
    if 'max_iters' in train or train.get('by_epoch') is False or type_name(train) == 'IterBasedTrainLoop':
        raise ConfigError(
            f'{cfg.filename}: train_cfg counts iterations ({dict(train)}); runs, checkpoints and results here count '
            'epochs. Fix: train_cfg = dict(max_epochs=..., val_interval=1), with _delete_=True over a base.'
        )
    if 'max_epochs' not in train:
        raise ConfigError(f'{cfg.filename}: train_cfg.max_epochs is missing. Fix: train_cfg = dict(max_epochs=...).')
    off = [name for name in ('val_dataloader', 'val_evaluator') if cfg.get(name) is None]
    on = [name for name in ('val_dataloader', 'val_evaluator', 'val_cfg') if cfg.get(name) is not None]
    if off and on:
        raise ConfigError(
            f'{cfg.filename}: {" and ".join(off)} is missing or None, but {" and ".join(on)} is set. '
            'Fix: set val_dataloader and val_evaluator, or leave both in the config and add --no-validate.'
        )


def _derive_data_root(cfg: Config) -> list[str]:
    if cfg.get('data_root'):
        return []
    roots = {dataset.get('data_root') for _, dataset in datasets_in(cfg.train_dataloader, '')} - {None, ''}
    if len(roots) != 1:
        raise ConfigError(f"{cfg.filename}: data_root is missing. Fix: set data_root = 'data/NAME', a prepared folder.")
    cfg.data_root = roots.pop()
    return [f'data_root is {cfg.data_root}, from train_dataloader.dataset.data_root.']


def _derive_runtime(cfg: Config, runtime: dict) -> list[str]:
    """Complete names, seed, logging and caches, and replace the values of foreign bases."""
    notes = []
    for key, value in runtime.items():
        if key in SWITCHABLE and key in cfg:
            cfg[key] = cfg[key] if cfg[key] is None else {**value, **cfg[key]}
        elif cfg.get(key) is None:
            cfg[key] = value
    cfg.setdefault('load_from', None)
    cfg.optim_wrapper.setdefault('constructor', CONSTRUCTOR)
    cfg.optim_wrapper.setdefault('type', 'OptimWrapper')
    if cfg.default_scope != 'mmpretrain':
        notes.append(f"default_scope is 'mmpretrain' instead of '{cfg.default_scope}'.")
    cfg.default_scope = 'mmpretrain'
    imports = at_path(cfg, 'custom_imports.imports') or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    cfg.custom_imports['imports'] = imports + [name for name in [REGISTRATION] if name not in imports]
    if cfg.randomness.get('diff_rank_seed'):
        cfg.randomness.diff_rank_seed = False
        notes.append('randomness.diff_rank_seed is False: processes draw different numbers from one seed anyway.')
    if cfg.randomness.get('seed') is None:
        cfg.randomness.seed = 0
        notes.append('randomness.seed is 0: without a seed a run can be neither repeated nor resumed exactly.')
    for backend in cfg.visualizer.get('vis_backends') or []:
        if backend.get('type') == 'LocalVisBackend':
            backend['type'] = 'ScalarsBackend'
            notes.append(
                'visualizer: LocalVisBackend replaced by ScalarsBackend, which writes into the run folder itself.'
            )
    return notes


def _derive_hooks(cfg: Config, default_hooks: dict) -> list[str]:
    """Add the hooks that are missing, and put ours in the place of mmengine's checkpoint hook."""
    hooks = dict(cfg.get('default_hooks') or {})
    added = [name for name in default_hooks if name not in hooks]  # a hook that is None is switched off, and stays so
    notes = [f'default_hooks: {", ".join(added)} added.'] if added else []
    hook, default = hooks.get('checkpoint'), default_hooks['checkpoint']
    if type_name(hook) == 'WholeCheckpointHook':
        hooks['checkpoint'] = {**default, **hook}
    elif type_name(hook) == 'CheckpointHook':
        kept = {key: hook[key] for key in default if key != 'type' and hook.get(key) is not None}
        if kept.get('save_best') == 'auto':
            del kept['save_best']  # the first metric: accuracy/top1, our default
        if 'loss' in str(kept.get('save_best')):
            default['rule'] = 'less'
        dropped = ', '.join(key for key in hook if key not in default)
        hooks['checkpoint'] = {**default, **kept}
        note = 'default_hooks.checkpoint: CheckpointHook replaced by WholeCheckpointHook'
        notes.append(f'{note}, without {dropped}.' if dropped else f'{note}.')
    cfg.default_hooks = {**hooks, **{name: default_hooks[name] for name in added}}
    return notes


@dataclass(frozen=True)
class Flags:
    """The options of a command line that change any config.

    Attributes:
        amp: Compute in bfloat16, also where the hardware does not gain from it.
        no_validate: Skip validation; then there is no best checkpoint either.
        auto_scale_lr: Scale the learning rate with the batch size.
        deterministic: Use only deterministic operations on a GPU.
        launcher: ``'none'``, or mmengine's name of the program that started several processes.
    """

    amp: bool = False
    no_validate: bool = False
    auto_scale_lr: bool = False
    deterministic: bool = False
    launcher: str = 'none'


def apply_flags(cfg: Config, flags: Flags) -> None:
    """Change a derived config in place as the command line says.

    Raises:
        ConfigError: if ``auto_scale_lr`` is asked for without a batch size to scale from.
    """
    cfg.launcher = flags.launcher
    if flags.amp:
        cfg.model.precision = 'bf16'
    if flags.deterministic:
        cfg.randomness.deterministic = True
    if flags.auto_scale_lr:
        if not cfg.get('auto_scale_lr'):
            raise ConfigError(
                '--auto-scale-lr: the config does not say which batch size its learning rate is meant for. '
                'Fix: auto_scale_lr = dict(base_batch_size=32)'
            )
        cfg.auto_scale_lr.enable = True
    if flags.no_validate:
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        if cfg.default_hooks.get('checkpoint'):
            cfg.default_hooks.checkpoint.save_best = None


def complete_config(cfg: Config, flags: Flags = Flags()) -> list[str]:
    """Derive a loaded config in place, apply the flags and check every class, in the same way on every machine.

    Returns:
        Notes on each change that the user did not ask for.

    Raises:
        ConfigError: naming every mistake.
        DataError: if `data_root` is not a prepared folder.
    """
    schedulers = cfg.get('param_scheduler')
    notes = derive_config(cfg)
    apply_flags(cfg, flags)
    silence_false_alarms()
    # Also those schedulers that are left out as they begin after the run.
    check_components(Config({**cfg, 'param_scheduler': schedulers}, filename=cfg.filename))
    return notes


def fit_to_machine(cfg: Config) -> None:
    """Replace what depends on the hardware by its value here, so that the run folder's config says what was used."""
    import torch

    from flowercls.core.hardware import resolve_channels_last, resolve_precision

    on_gpu = torch.cuda.is_available()
    if on_gpu and cfg.randomness.get('deterministic'):
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # cuBLAS refuses to be deterministic without
    if cfg.model.type == 'StagedClassifier':
        cfg.model.precision = resolve_precision(cfg.model.precision)
        cfg.model.channels_last = resolve_channels_last(cfg.model.channels_last)
    for name in LOADERS:
        if cfg.get(name):
            cfg[name].setdefault('pin_memory', on_gpu)
            # More workers only wait for each other. Their number changes no result.
            cfg[name].num_workers = min(cfg[name].get('num_workers', 0), usable_cpus())
    # None switches a hook off; mmengine accepts it only for its own hooks.
    of_mmengine = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
    for name in [name for name, hook in cfg.default_hooks.items() if hook is None and name not in of_mmengine]:
        del cfg.default_hooks[name]
    cfg.data_manifest = manifest_hash(cfg.get('data_root', '.'))
