"""Values that can be judged without building anything: types and ranges of the sections with fixed keys."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

from flowercls.config.known_keys import LOADERS, PARTS, SECTIONS
from flowercls.config.runtime import CONSTRUCTOR
from flowercls.config.sizes import is_size
from flowercls.config.spelling import at_path

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
MAY_BE_NONE = ('end', 'T_max', 'step_size', 'eta_min', 'eta_min_ratio')
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
        if key in scheduler and not is_good(scheduler[key]) and not (key in MAY_BE_NONE and scheduler[key] is None)
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
