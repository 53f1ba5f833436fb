"""The keys of a config: one table says which exist and what values they take.

Sources: `Runner.from_cfg`, `Runner.build_dataloader`, the loops, `setup_env` and `set_randomness` of mmengine 0.10.7,
`torch.utils.data.DataLoader`, and mmpretrain 1.2.0's `ImageClassifier`, `ClsDataPreprocessor` and tools. A class that
is not listed here is checked against its own arguments, see `components`. Defaults stand in
`configs/_base_/default_runtime.py`, which `loader.default_runtime` reads.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from mmengine.config import Config

from flowercls.config.suggest import did_you_mean, nearest_name
from flowercls.core.terminal import is_size


class Key(NamedTuple):
    """One key of a config.

    Attributes:
        accepts: Whether a value can be used.
        expected: The values that can be used, in words.
    """

    accepts: Callable[[Any], bool] = lambda value: True
    expected: str = 'anything'


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(least: int = 1, unit: str = '') -> Key:
    expected = f'a whole number of {unit}, at least {least}' if unit else f'a whole number of at least {least}'
    return Key(lambda value: _is_int(value) and value >= least, expected)


def _one_of(*choices: Any) -> Key:
    expected = ' or '.join(', '.join(map(repr, choices)).rsplit(', ', 1))
    return Key(lambda value: any(value == c and type(value) is type(c) for c in choices), expected)


def _list_of(key: Key) -> Key:
    return Key(lambda v: isinstance(v, list | tuple) and all(map(key.accepts, v)), f'a list of {key.expected}')


def _any_of(*keys: Key, expected: str = '') -> Key:
    texts = ' or '.join(key.expected for key in keys)
    return Key(lambda value: any(key.accepts(value) for key in keys), expected or texts)


def _keys(names: str, key: Key) -> dict[str, Key]:
    return dict.fromkeys(names.split(), key)


REGISTRATION = 'flowercls.registration'
CONSTRUCTOR = 'TrainableOptimWrapperConstructor'
FROZEN_STAGES = (0, 1, 2, 3, 4, 'all')
# The rows of the stage table; 'backbone' is the only row of a backbone that cannot be cut.
PARTS = ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'head', 'backbone', 'neck', 'classifier')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Variables that configs of mmengine's family keep at the top level for use further down; nothing reads them later.
HELPERS = frozenset(
    ['train_pipeline', 'val_pipeline', 'test_pipeline', 'dataset_type', 'vis_backends', 'bgr_mean', 'bgr_std']
)

ANY = Key()
NONE = _one_of(None)
SWITCH = _one_of(True, False)
WHOLE = Key(_is_int, 'a whole number')
POSITIVE = Key(lambda value: _is_finite(value) and value > 0, 'a number above 0')
NOT_NEGATIVE = Key(lambda value: _is_finite(value) and value >= 0, 'a number of at least 0')
PART = Key(lambda value: _is_finite(value) and 0 <= value <= 1, 'a number between 0 and 1')
SEED = Key(lambda value: _is_int(value) and 0 <= value < 2**32, 'a whole number from 0 to 4294967295')
NAME = Key(lambda value: isinstance(value, str), 'a name as text')
PATH = Key(lambda value: isinstance(value, str) and value != '', 'a path as text')
FOLDER = Key(
    lambda value: PATH.accepts(value) and not any(path.is_file() for path in (Path(value), *Path(value).parents)),
    'the path of a folder, as text; neither it nor one above it may be a file',
)
SET_DICT = Key(lambda value: isinstance(value, dict), 'dict(...)')
DICT = _any_of(SET_DICT, NONE, expected='dict(...)')
LIST = _any_of(_list_of(SET_DICT), NONE, expected='a list of dict(...)')
DICTS = _any_of(DICT, LIST, expected='dict(...) or a list of them')
SIZE = Key(is_size, "a size as '8GB' or '500MB', or a whole number of bytes")
TOPK = _any_of(_whole(), _list_of(_whole()), expected='a whole number of at least 1, or a tuple of them')

_LOADER = {
    'batch_size': _whole(),
    'num_workers': _whole(0),
    'dataset': SET_DICT,
    **_keys('pin_memory persistent_workers drop_last', SWITCH),
    **_keys('sampler batch_sampler collate_fn', DICT),
    **_keys('worker_init_fn prefetch_factor timeout multiprocessing_context generator in_order', ANY),
    **_keys('pin_memory_device num_batch_per_epoch disable_subprocess_warning', ANY),
}
_DATASET = {'data_root': _any_of(NAME, NONE, expected='a path as text or None'), 'metainfo': DICT, '*': ANY}
_PREPROCESSOR = _keys('type mean std to_rgb num_classes to_onehot batch_augments pad_size_divisor pad_value', ANY)
# The keys of a section, by its dotted path. Where '*' stands the class takes further ones; '' is the top level.
SECTIONS: dict[str, dict[str, Key]] = {
    '': {
        'data_root': PATH,
        'load_from': _any_of(NAME, NONE, expected='an address, a path or None'),
        **_keys('resume find_unused_parameters', SWITCH),
        'work_dir': _any_of(NAME, NONE, expected='a path as text'),
        'cache_dir': FOLDER,
        'input_size': _whole(1, 'pixels'),  # of the photos that the starting weights were made for
        'default_scope': _any_of(NAME, NONE),
        'log_level': _one_of('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'),
        'custom_hooks': LIST,
        **_keys('param_scheduler val_evaluator test_evaluator', DICTS),
        **_keys(
            'train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg model data_preprocessor', DICT
        ),
        **_keys('optim_wrapper auto_scale_lr custom_imports default_hooks env_cfg randomness', DICT),
        **_keys('drawn feature_cache photo_cache calibration visualizer', DICT),
        **_keys('tta_model tta_pipeline launcher experiment_name log_processor compile', ANY),
        **_keys('model_wrapper_cfg sync_bn activation_checkpointing efficient_conv_bn_eval', ANY),
        'data_manifest': ANY,  # the hash of the data's manifest, which a run writes into its config
    },
    'visualizer': {'vis_backends': LIST, '*': ANY},
    'model': {
        'frozen_stages': _one_of(*FROZEN_STAGES),
        'precision': _one_of('auto', 'bf16', 'fp32'),
        'channels_last': _one_of('auto', True, False),
        **_keys('backbone head train_cfg data_preprocessor', DICT),
        **_keys('type neck pretrained init_cfg', ANY),
    },
    'model.backbone': {
        'widen_factor': POSITIVE,
        'num_classes': _any_of(WHOLE, NONE),
        '*': ANY,
    },
    'model.head': {'topk': TOPK, '*': ANY},
    'model.head.loss': {
        'loss_weight': POSITIVE,
        'class_weight': _any_of(
            _one_of('balanced', None),
            _list_of(NOT_NEGATIVE),
            expected="'balanced', one number of at least 0 a class, or None",
        ),
        '*': ANY,
    },
    'model.train_cfg': _keys('augments probs', ANY),
    'model.data_preprocessor': _PREPROCESSOR,
    'data_preprocessor': _PREPROCESSOR,
    **dict.fromkeys(LOADERS, _LOADER),
    **dict.fromkeys(['val_dataloader.dataset', 'test_dataloader.dataset'], _DATASET),
    'train_dataloader.dataset': {
        **_DATASET,
        'views': _any_of(_whole(), NONE, expected='a whole number of at least 1, or None for a new view each epoch'),
    },
    'train_dataloader.sampler': {'balanced': SWITCH, '*': ANY},
    'train_cfg': {
        **_keys('max_epochs val_interval', _whole()),
        'by_epoch': SWITCH,
        **_keys('type max_iters val_begin dynamic_intervals', ANY),
    },
    **dict.fromkeys(('val_cfg', 'test_cfg'), {'type': ANY, 'fp16': SWITCH}),
    'optim_wrapper': {
        'accumulative_counts': _whole(1, 'batches'),
        'optimizer': DICT,
        'paramwise_cfg': DICT,
        **_keys('type constructor clip_grad loss_scale dtype use_fsdp', ANY),
    },
    'optim_wrapper.optimizer': {'lr': POSITIVE, '*': ANY},
    'optim_wrapper.paramwise_cfg': {
        'stage_lr_mult': DICT,
        **_keys('custom_keys bias_lr_mult bias_decay_mult norm_decay_mult dwconv_decay_mult', ANY),
        **_keys('flat_decay_mult dcn_offset_lr_mult bypass_duplicate layer_decay_rate', ANY),
    },
    'optim_wrapper.paramwise_cfg.stage_lr_mult': dict.fromkeys(
        PARTS, POSITIVE._replace(expected='a factor above 0 (model.frozen_stages freezes)')
    ),
    'auto_scale_lr': {'enable': SWITCH, 'base_batch_size': _whole()},
    'default_hooks': {
        **_keys('runtime_info timer logger param_scheduler sampler_seed sync_buffer', DICT),
        **_keys('randomness progress results checkpoint visualization', DICT),
    },
    'default_hooks.logger': {'interval': _whole(1, 'iterations'), '*': ANY},
    'default_hooks.checkpoint': {
        'interval': _whole(1, 'epochs'),
        'max_keep_ckpts': _any_of(_whole(), _one_of(-1), expected='a whole number of at least 1, or -1 to keep all'),
        'save_best': _any_of(NAME, NONE, expected='the name of a metric or None'),
        'rule': _one_of('greater', 'less', None),
        '*': ANY,
    },
    'env_cfg': {
        'cudnn_benchmark': SWITCH,
        **_keys('mp_cfg dist_cfg', DICT),
        'resource_limit': ANY,
    },
    'env_cfg.mp_cfg': {'mp_start_method': ANY, 'opencv_num_threads': _whole(0)},
    'env_cfg.dist_cfg': {
        'backend': NAME,
        **_keys('init_backend init_method timeout port world_size rank device_id store', ANY),
    },
    'randomness': {
        'seed': _any_of(SEED, NONE),
        **_keys('deterministic diff_rank_seed', SWITCH),
    },
    'custom_imports': {
        'imports': _any_of(NAME, _list_of(NAME), NONE, expected='the name of a module, or a list of such names'),
        'allow_failed_imports': ANY,
    },
    'photo_cache': {
        'budget': SIZE._replace(expected=f'{SIZE.expected} (photo_cache=None reads photos from their files)')
    },
    'calibration': {
        'precision': Key(
            lambda value: _is_finite(value) and 0.5 <= value < 1,
            'a share from 0.5 to below 1 (calibration=None computes nothing)',
        )
    },
    'feature_cache': {
        'views': _any_of(
            _whole(0),
            _one_of('auto', 'all'),
            expected="a whole number, 'all' for one each epoch, 0 to keep nothing, or 'auto'",
        ),
        'dtype': _one_of('auto', 'bf16', 'fp16', 'fp32'),
        'budget': SIZE,
    },
    'drawn': {
        'num_per_class': _whole(2),
        'image_size': _whole(16, 'pixels'),
        'seed': SEED,
        'val_ratio': Key(lambda value: _is_finite(value) and 0 < value < 1, 'a share between 0 and 1'),
    },
}
SCHEDULER = {
    'begin': _whole(0),
    'milestones': _list_of(WHOLE)._replace(expected='a list of whole numbers'),
    **_keys('end T_max step_size', _any_of(_whole(), NONE)),
    'gamma': POSITIVE,
    **_keys('factor start_factor end_factor', PART),
    'eta_min_ratio': _any_of(PART, NONE),
    'eta_min': _any_of(NOT_NEGATIVE, NONE),
    **_keys('by_epoch convert_to_iter_based', SWITCH),
}
# The keys of each entry of these sections, which are a dict or a list of them.
ENTRIES = {'param_scheduler': SCHEDULER, 'val_evaluator': {'topk': TOPK}, 'test_evaluator': {'topk': TOPK}}
# The sections above belong to these types; any other type is checked against its own class.
TYPES = {
    'model': ('StagedClassifier', 'ImageClassifier'),
    'data_preprocessor': ('ClsDataPreprocessor',),
    'model.data_preprocessor': ('ClsDataPreprocessor',),
    'train_cfg': ('EpochBasedTrainLoop', 'IterBasedTrainLoop'),
    'val_cfg': ('ValLoop',),
    'test_cfg': ('TestLoop',),
    'optim_wrapper': ('OptimWrapper', 'AmpOptimWrapper'),
}
CLOSE_ONLY = ('', 'default_hooks')  # other names are free here, and a mistake only if they are close to a known one


def at_path(cfg: Any, path: str) -> Any:
    """Return the value at the dotted ``path`` ('' is ``cfg`` itself), or None if there is none."""
    cfg = cfg._cfg_dict if isinstance(cfg, Config) else cfg
    for part in path.split('.') if path else ():
        if isinstance(cfg, list | tuple) and part.isdigit() and int(part) < len(cfg):
            cfg = cfg[int(part)]
        elif isinstance(cfg, dict) and part in cfg:
            cfg = cfg[part]
        else:
            return None
    return cfg


def walk(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yield everything inside a dict or list, at any depth, with its dotted path; a part before its content."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in children:
        inner = f'{path}.{key}'.removeprefix('.')
        yield inner, value
        yield from walk(value, inner)


def type_name(part: Any) -> str:
    """Return the `type` of a dict without its package: 'SGD' for ``dict(type='torch.optim.SGD')``, '' without one."""
    return str(part.get('type') or '').rpartition('.')[2] if isinstance(part, Mapping) else ''


# ---------------------------------------------------------------- names


def known_keys(section: str, content: Any = None) -> frozenset[str] | None:
    """Return the keys that a section may have, or None where its class decides."""
    keys = SECTIONS.get(section, {'*': ANY})
    if '*' in keys or (section in TYPES and type_name(content) not in ('', *TYPES[section])):
        return None
    if section == 'optim_wrapper.paramwise_cfg' and isinstance(content, Mapping) and 'constructor' in content:
        return None
    return frozenset(keys)


def is_misspelt(section: str, key: str, known: frozenset[str]) -> bool:
    """Return whether ``key`` is a mistake in a section with the keys ``known``."""
    if key in known or key in ('_delete_', '_scope_'):
        return False
    return section not in CLOSE_ONLY or nearest_name(key, known) is not None


def misspelt_keys(cfg: dict, used_names: set[str]) -> dict[str, str]:
    """Return a message for every key that its section does not know, by dotted path.

    Args:
        cfg: The config, as read from its files.
        used_names: Names that the files use as variables; these may be called anything.
    """
    mistakes = {}
    for section in SECTIONS:
        content = at_path(cfg, section)
        known = known_keys(section, content)
        if known is None or not isinstance(content, dict):
            continue
        free = frozenset() if section else used_names | HELPERS
        for key in content:
            if is_misspelt(section, key, known | free):
                where = f' in {section}' if section else ''
                path = f'{section}.{key}'.removeprefix('.')
                mistakes[path] = f"unknown key '{key}'{where}{did_you_mean(key, known)}"
    return mistakes


# ---------------------------------------------------------------- values


def wrong_values(cfg: dict) -> list[str]:
    """Return one line for each value of a wrong type or out of range."""
    mistakes = []
    sections = [(section, at_path(cfg, section), keys) for section, keys in SECTIONS.items()]
    for name, keys in ENTRIES.items():
        entries = cfg.get(name) if isinstance(cfg.get(name), list | tuple) else [cfg.get(name)]
        sections += [(f'{name}.{i}', entry, keys) for i, entry in enumerate(entries)]
    for section, content, keys in sections:
        others = DICT if section == 'default_hooks' else ANY
        for key, value in content.items() if isinstance(content, dict) else ():
            check = keys.get(key, others)
            if not check.accepts(value):
                mistakes.append(f'{section}.{key}: expected {check.expected}, got {value!r}'.removeprefix('.'))
    for path, value in walk(cfg):  # a dumped config holds text, numbers, lists and dicts
        if isinstance(value, float) and math.isnan(value):
            mistakes.append(f'{path}: expected a number, got nan')
        elif not isinstance(value, str | int | float | bool | None | dict | list | tuple):
            fix = 'str(...)' if isinstance(value, PurePath) else 'text, numbers, lists and dicts'
            mistakes.append(f'{path}: a config cannot hold a {type(value).__name__} ({value!r}). Fix: use {fix}')
    return mistakes + _contradictions(cfg)


def _contradictions(cfg: dict) -> list[str]:
    """Return a line for each value that another one makes useless."""
    mistakes = []
    backbone = at_path(cfg, 'model.backbone')
    frozen = backbone.get('frozen_stages', -1) if isinstance(backbone, dict) else -1
    if frozen not in (-1, 0):  # one of the two freezes nothing; models/freezing.py knows which, once it is built
        mistakes.append(
            f'model.backbone.frozen_stages={frozen!r}: has another meaning in every backbone. '
            "Fix: set model.frozen_stages (0-4 or 'all') instead"
        )
    if at_path(cfg, 'auto_scale_lr.enable') and not at_path(cfg, 'auto_scale_lr.base_batch_size'):
        mistakes.append(
            'auto_scale_lr.enable: needs base_batch_size, the batch size that the learning rate is meant for'
        )
    constructor = at_path(cfg, 'optim_wrapper.constructor') or CONSTRUCTOR
    if at_path(cfg, 'optim_wrapper.paramwise_cfg.stage_lr_mult') and constructor != CONSTRUCTOR:
        mistakes.append(
            f'optim_wrapper.paramwise_cfg.stage_lr_mult: {constructor} does not know this key. '
            f'Fix: constructor={CONSTRUCTOR!r}'
        )
    return mistakes
