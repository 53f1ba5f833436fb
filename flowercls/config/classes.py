"""The class names of `classes.txt`, and their number, written wherever a config has to agree with them."""

from collections.abc import Iterator
from typing import Any

BARE_HEAD = 'ClsHead'  # takes finished scores: the classification layer is in the backbone
SCORES_IN_BACKBONE = ('VGG', 'InceptionV3', 'TorchvisionBackbone')


def derive_num_classes(cfg: Any, num_classes: int) -> list[str]:
    """Set the number of classes in head, preprocessor, backbone and metrics; returns what had another number."""
    notes = []
    for path, section, must_have in _counting_sections(cfg):
        if not must_have and 'num_classes' not in section:
            continue
        if section.get('num_classes') not in (None, num_classes):
            notes.append(f'{path}.num_classes is {num_classes} instead of {section["num_classes"]}: see classes.txt.')
        section['num_classes'] = num_classes
    return notes


def derive_topk(cfg: Any, num_classes: int) -> list[str]:
    """Drop every top-k that is 100 % by definition: k at or above the number of classes."""
    notes = []
    for path, section in [('model.head', _part(cfg, 'model', 'head')), *evaluator_entries(cfg)]:
        topk = section.get('topk')
        if topk is None:
            continue
        wanted = (topk,) if isinstance(topk, int) else tuple(topk)
        kept = tuple(k for k in wanted if k < num_classes) or (1,)
        if kept != wanted:
            section['topk'] = kept
            always = max(wanted)
            notes.append(f'{path}.topk is {kept}: top-{always} of {num_classes} classes is always 100 %.')
    return notes


def evaluator_entries(cfg: Any) -> list[tuple[str, dict]]:
    """Every metric of a config with its dotted path."""
    entries = []
    for name in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(name)
        if isinstance(evaluator, dict):
            entries.append((name, evaluator))
        elif isinstance(evaluator, (list, tuple)):
            entries += [(f'{name}.{i}', metric) for i, metric in enumerate(evaluator) if isinstance(metric, dict)]
    return entries


def _counting_sections(cfg: Any) -> Iterator[tuple[str, dict, bool]]:
    """(path, section, whether it must have `num_classes` or only agrees if it has)."""
    head, backbone = _part(cfg, 'model', 'head'), _part(cfg, 'model', 'backbone')
    is_bare = head.get('type') == BARE_HEAD
    yield 'model.head', head, bool(head) and not is_bare
    yield from ((path, part, False) for path, part in dicts_inside(head, 'model.head'))
    if backbone.get('num_classes', 0) > 0 or (is_bare and backbone.get('type') in SCORES_IN_BACKBONE):
        yield 'model.backbone', backbone, True
    inner = cfg['model'].get('data_preprocessor')
    yield ('model.data_preprocessor', inner, True) if inner else ('data_preprocessor', cfg['data_preprocessor'], True)
    yield from ((path, part, False) for path, part in dicts_inside(_part(cfg, 'model', 'train_cfg'), 'model.train_cfg'))
    yield from ((path, metric, False) for path, metric in evaluator_entries(cfg))


def dicts_inside(node: Any, path: str) -> Iterator[tuple[str, dict]]:
    """Every dict in a dict or list, at any depth, with its dotted path."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in children:
        if isinstance(value, dict):
            yield f'{path}.{key}', value
        yield from dicts_inside(value, f'{path}.{key}')


def _part(cfg: Any, *names: str) -> dict:
    for name in names:
        cfg = cfg.get(name) or {}
    return cfg
