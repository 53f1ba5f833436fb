"""Values that can be judged without building anything: types and ranges of the sections with fixed keys."""

import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

from flowercls.config.known_keys import LOADERS
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
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _one_of(*choices: Any) -> Callable[[Any], bool]:
    return lambda value: any(value == choice and type(value) is type(choice) for choice in choices)


def _is_topk(value: Any) -> bool:
    several = value if isinstance(value, (list, tuple)) else [value]
    return all(_is_int(k) and k >= 1 for k in several)


# path: (test, what is expected); a path that is absent is not tested
EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    'data_root': (lambda value: isinstance(value, str) and value != '', 'a path as text'),
    'train_cfg.max_epochs': (_at_least(1), 'a whole number of at least 1'),
    'train_cfg.val_interval': (_at_least(1), 'a whole number of at least 1'),
    'optim_wrapper.optimizer.lr': (_is_positive, 'a number above 0'),
    'load_from': (lambda value: value is None or isinstance(value, str), 'an address, a path or None'),
    'work_dir': (lambda value: value is None or isinstance(value, str), 'a path as text'),
    'auto_scale_lr.base_batch_size': (_at_least(1), 'a whole number of at least 1'),
    'model.frozen_stages': (_one_of(*FROZEN_STAGES), "0, 1, 2, 3, 4 or 'all'"),
    'model.precision': (_one_of('auto', 'bf16', 'fp32'), "'auto', 'bf16' or 'fp32'"),
    'model.channels_last': (_one_of('auto', True, False), "'auto', True or False"),
    'randomness.seed': (lambda value: value is None or _at_least(0)(value), 'a whole number of at least 0'),
    'default_hooks.checkpoint.interval': (_at_least(1), 'a whole number of epochs, at least 1'),
    'default_hooks.checkpoint.max_keep_ckpts': (
        lambda value: value == -1 or _at_least(1)(value),
        'a whole number of at least 1, or -1 to keep all',
    ),
    'default_hooks.checkpoint.rule': (_one_of('greater', 'less', None), "'greater' or 'less'"),
    'model.head.topk': (_is_topk, 'a whole number of at least 1, or a tuple of them'),
    **{f'{loader}.batch_size': (_at_least(1), 'a whole number of at least 1') for loader in LOADERS},
    **{f'{loader}.num_workers': (_at_least(0), 'a whole number of at least 0') for loader in LOADERS},
}
SECTIONS_AS_DICTS = LOADERS + ('model', 'train_cfg', 'optim_wrapper', 'default_hooks', 'randomness', 'env_cfg')


def wrong_values(cfg: dict) -> list[str]:
    """One line for each value of a wrong type or out of range."""
    mistakes = [
        f'{name}: expected dict(...), got {cfg[name]!r}'
        for name in SECTIONS_AS_DICTS
        if cfg.get(name) is not None and not isinstance(cfg[name], dict)
    ]
    for path, (is_good, expected) in EXPECTED.items():
        section, _, key = path.rpartition('.')
        content = at_path(cfg, section)
        if isinstance(content, dict) and key in content and not is_good(content[key]):
            mistakes.append(f'{path}: expected {expected}, got {content[key]!r}')
    return mistakes + _frozen_in_backbone(cfg) + list(_not_plain(cfg))


def _frozen_in_backbone(cfg: dict) -> list[str]:
    backbone = at_path(cfg, 'model.backbone')
    frozen = backbone.get('frozen_stages', -1) if isinstance(backbone, dict) else -1
    zero_is_none = ZERO_FREEZES_NOTHING.match(str(backbone.get('type')).rpartition('.')[2]) if backbone else None
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
    elif not isinstance(node, PLAIN):
        fix = 'str(...)' if isinstance(node, PurePath) else 'text, numbers, lists and dicts'
        yield f'{path}: a config cannot hold a {type(node).__name__} ({node!r}). Fix: use {fix}'
