"""Where a config names classes: every `dict(type=...)`, with the registry that will build it and what it is given."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flowercls.config.known_keys import LOADERS
from flowercls.config.nearest import nearest_name
from flowercls.config.spelling import at_path

# Arguments that mmengine's Runner adds when it builds the part, unless the config gives them.
SUPPLIED = {
    'sampler': ('dataset', 'seed'),
    'batch_sampler': ('sampler', 'batch_size'),
    'optimizer': ('params',),
    'optim_wrapper': ('optimizer',),
    'param_scheduler': ('optimizer',),
    'train_cfg': ('runner', 'dataloader'),
    'val_cfg': ('runner', 'dataloader', 'evaluator'),
    'test_cfg': ('runner', 'dataloader', 'evaluator'),
    'model_wrapper_cfg': ('module',),
    'tta_model': ('module',),
    'vis_backend': ('save_dir',),
}
# Keys that mmengine takes out of the dict before the class sees it.
TAKEN_OUT = {
    'hook': ('priority',),
    'param_scheduler': ('convert_to_iter_based',),
    'optim_wrapper': ('optimizer', 'constructor', 'paramwise_cfg'),
    'policy': ('magnitude_key', 'magnitude_range'),
}
# Inside a model only these are built as they stand; others (conv_cfg, norm_cfg, …) get further arguments on the way.
BUILT_AS_WRITTEN = ('model', 'backbone', 'neck', 'head', 'loss', 'data_preprocessor', 'augments', 'tta_model')
# Their type may be left out; inside a transform, dicts are built only if they have one.
TYPE_BY_DEFAULT = ('optim_wrapper', 'train_cfg', 'val_cfg', 'test_cfg', 'log_processor', 'policy', 'inside')
ANY_MODEL_KIND = ('MODELS', 'WEIGHT_INITIALIZERS', 'TASK_UTILS')
MODEL_KINDS = {
    **dict.fromkeys(BUILT_AS_WRITTEN, ('MODELS',)),
    'augments': ('BATCH_AUGMENTS',),
    'init_cfg': ('WEIGHT_INITIALIZERS',),
}
LIKE_TYPE = 0.7  # how near a key must be to be taken for a misspelt `type`; 'tpye' is at 0.75
IN_A_PIPELINE = re.compile(r'(pipeline|transforms)(\.\d+)+$')


@dataclass(frozen=True)
class Place:
    """One `dict(type=...)` of a config.

    Attributes:
        path: Dotted path in the config.
        content: The dict.
        kinds: Names of mmpretrain's registries that may build it, most likely first; 'v2' is torchvision's transforms.
        supplied: Arguments it is given besides those in the dict.
        taken_out: Keys of the dict that are not arguments.
        whole: Whether its arguments can be checked, not only its name.
    """

    path: str
    content: dict
    kinds: tuple[str, ...]
    supplied: tuple[str, ...] = ()
    taken_out: tuple[str, ...] = ()
    whole: bool = True


def places(cfg: Any) -> Iterator[Place]:
    """Every class that a run of ``cfg`` will build by name; also where the name, `type`, is missing."""
    for name in ('model', 'data_preprocessor', 'tta_model'):
        yield from _in_model(cfg.get(name), name, name)
    for name in LOADERS:
        yield from _in_loader(_section(cfg, name), name)
    yield from _in_transforms(cfg.get('tta_pipeline'), 'tta_pipeline')
    for name in ('val_evaluator', 'test_evaluator'):
        yield from _listed(cfg.get(name), name, ('METRICS', 'EVALUATORS'))
    for path, hook in _children(cfg.get('default_hooks') or {}, 'default_hooks'):
        yield from _typed(hook, path, ('HOOKS',), 'hook')
    yield from _listed(cfg.get('custom_hooks'), 'custom_hooks', ('HOOKS',), 'hook')
    yield from _in_optimisation(cfg)
    for name in ('train_cfg', 'val_cfg', 'test_cfg'):
        yield from _typed(cfg.get(name), name, ('LOOPS',), name)
    yield from _typed(cfg.get('model_wrapper_cfg'), 'model_wrapper_cfg', ('MODEL_WRAPPERS',), 'model_wrapper_cfg')
    yield from _typed(cfg.get('log_processor'), 'log_processor', ('LOG_PROCESSORS',), 'log_processor')
    yield from _typed(cfg.get('visualizer'), 'visualizer', ('VISUALIZERS',))
    backends = _section(cfg, 'visualizer').get('vis_backends')
    yield from _listed(backends, 'visualizer.vis_backends', ('VISBACKENDS',), 'vis_backend')


def untyped(cfg: Any) -> list[str]:
    """One line for each dict that has to say what it is, and does not."""
    left_to_us = not at_path(cfg, 'test_dataloader.dataset.type')  # completed later from that of validation
    return [
        _no_type(place)
        for place in places(cfg)
        if 'type' not in place.content and not (left_to_us and place.path.startswith('test_dataloader.'))
    ]


def _no_type(place: Place) -> str:
    near = nearest_name('type', place.content, cutoff=LIKE_TYPE)
    if near is None:
        return f"{place.path}: key 'type' is missing, the name of what is to be built"
    return f"{place.path}: unknown key '{near}' (did you mean 'type'?)"


def _in_optimisation(cfg: Any) -> Iterator[Place]:
    wrapper = _section(cfg, 'optim_wrapper')
    yield from _typed(wrapper, 'optim_wrapper', ('OPTIM_WRAPPERS',), 'optim_wrapper')
    yield from _typed(wrapper.get('optimizer'), 'optim_wrapper.optimizer', ('OPTIMIZERS',), 'optimizer')
    if wrapper.get('constructor'):
        content = {'type': wrapper['constructor']}
        yield Place('optim_wrapper.constructor', content, ('OPTIM_WRAPPER_CONSTRUCTORS',), whole=False)
    yield from _listed(cfg.get('param_scheduler'), 'param_scheduler', ('PARAM_SCHEDULERS',), 'param_scheduler')


def _in_model(node: Any, path: str, name: str) -> Iterator[Place]:
    if isinstance(node, dict):
        whole = name in BUILT_AS_WRITTEN
        content = {'type': 'ClsDataPreprocessor', **node} if name == 'data_preprocessor' else node
        if whole or ('type' in content and name.endswith('_cfg')):
            yield Place(path, content, MODEL_KINDS.get(name, ANY_MODEL_KIND), SUPPLIED.get(name, ()), (), whole)
    for inner, value in _children(node, path):
        last = inner.rpartition('.')[2]
        yield from _in_model(value, inner, name if last.isdigit() else last)


def _in_loader(loader: dict, path: str) -> Iterator[Place]:
    yield from _in_dataset(loader.get('dataset'), f'{path}.dataset')
    for name in ('sampler', 'batch_sampler'):
        yield from _typed(loader.get(name), f'{path}.{name}', ('DATA_SAMPLERS',), name)
    for name in ('collate_fn', 'worker_init_fn'):
        for place in _typed(loader.get(name), f'{path}.{name}', ('FUNCTIONS',), name):
            yield Place(place.path, place.content, place.kinds, whole=False)


def _in_dataset(dataset: Any, path: str) -> Iterator[Place]:
    if isinstance(dataset, (list, tuple)):
        for inner, value in _children(dataset, path):
            yield from _in_dataset(value, inner)
    if not isinstance(dataset, dict):
        return
    yield from _typed(dataset, path, ('DATASETS',))
    yield from _in_transforms(dataset.get('pipeline'), f'{path}.pipeline')
    for name in ('dataset', 'datasets'):
        yield from _in_dataset(dataset.get(name), f'{path}.{name}')


def _in_transforms(node: Any, path: str, kinds: tuple[str, ...] = ('TRANSFORMS',), role: str = '') -> Iterator[Place]:
    if isinstance(node, dict):
        yield from _typed(node, path, kinds, role or ('' if IN_A_PIPELINE.search(path) else 'inside'))
        kinds = ('v2',) if node.get('type') == 'TorchvisionTransforms' else kinds
    for inner, value in _children(node, path):
        if isinstance(value, (dict, list, tuple)):
            inner_role = 'policy' if inner.endswith('.policies') else role
            yield from _in_transforms(value, inner, kinds, inner_role)


def _listed(node: Any, path: str, kinds: tuple[str, ...], role: str = '') -> Iterator[Place]:
    yield from _typed(node, path, kinds, role)
    if isinstance(node, (list, tuple)):
        for inner, value in _children(node, path):
            yield from _typed(value, inner, kinds, role)


def _typed(node: Any, path: str, kinds: tuple[str, ...], role: str = '') -> Iterator[Place]:
    if isinstance(node, dict) and ('type' in node or role not in TYPE_BY_DEFAULT):
        yield Place(path, node, kinds, SUPPLIED.get(role, ()), TAKEN_OUT.get(role, ()))


def _section(cfg: Any, name: str) -> dict:
    content = cfg.get(name)
    return content if isinstance(content, dict) else {}


def _children(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    yield from ((f'{path}.{key}', value) for key, value in children)
