"""Shipped configs with one fault in one key each: found before the first step, with the key's name, never a traceback.

The faults are drawn from a fixed seed over every key of the merged configs. What has to be refused is decided by rules
on the kind of fault, the kind of the old value and the name of the key, not by what the product happens to refuse.
"""

import contextlib
import copy
import gc
import io
import math
import os
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmengine.config.config
import pytest

from flowercls import apis
from flowercls.config import load_config
from flowercls.config.known_keys import HELPERS
from flowercls.errors import FlowerclsError

SMALL_RESNET = {f'model.backbone.{key}': value for key, value in (('depth', 18), ('stem_channels', 16))}
SMALL_RESNET |= {'model.backbone.base_channels': 16, 'model.head.in_channels': 128}
# Each config, and what makes its network small.
CONFIGS = {
    'demo_flower': {**SMALL_RESNET, 'drawn': {'num_per_class': 12, 'image_size': 48, 'seed': 0, 'val_ratio': 0.25}},
    'resnet50_flower': SMALL_RESNET,
    'mobilenet_v2_flower': {'model.backbone.widen_factor': 0.25},
    'torchvision_resnet18_flower': {},
    'resnet152_report_b_flower': SMALL_RESNET,
}
LOADERS = [f'{name}_dataloader' for name in ('train', 'val')]
SIZES = {224: 32, 256: 36, 64: 32, 72: 36}  # pixels

KINDS = ('dropped', 'renamed', 'retyped', 'out of range')
HUGE = 10**12
OTHER_VALUES = ('x7', 7, 0.5, True, None, [], ['x7'], {'x7': 7})

# Besides 2: the key names data, or a file of weights.
OTHER_CODES = {**dict.fromkeys(('data_root', 'ann_file', 'data_prefix'), 3), 'load_from': 4}
# What may stand in for a value of another kind; all else that is retyped has to be refused. None is left open: it
# switches many a key off. A list may be one number for each of several, a list of one entry that entry.
STANDS_IN = {
    'number': ('None', 'list'),
    'text': ('None',),
    'bool': ('None',),
    'list': ('None', 'number', 'dict'),
    'dict': ('None',),
    'None': ('None', 'number', 'text', 'bool', 'list', 'dict'),
}
# Numbers for which 0 makes no sense, and numbers with an upper end. None may be negative, and none "not a number".
NOT_ZERO = (
    *('batch_size', 'max_epochs', 'val_interval', 'interval', 'accumulative_counts', 'max_keep_ckpts', 'step_size'),
    *('lr', 'gamma', 'base_batch_size', 'depth', 'num_stages', 'stem_channels', 'base_channels', 'in_channels'),
    *('widen_factor', 'loss_weight', 'size', 'alpha', 'num_per_class', 'image_size', 'input_size', 'val_ratio'),
)
LIMITED = (
    *('depth', 'num_stages', 'stem_channels', 'base_channels', 'in_channels', 'widen_factor', 'size', 'frozen_stages'),
    *('p', 'start_factor', 'eta_min_ratio', 'label_smooth_val', 'hue', 'seed', 'val_ratio'),
)


@dataclass
class Mutant:
    """A config with one fault."""

    config: str
    kind: str
    path: tuple
    content: dict
    old: Any
    new: Any = None

    @property
    def name(self):
        return self.path[-1]

    def __str__(self):
        changed = '' if self.kind == 'dropped' else f' to {self.new!r}'
        return f'{self.config}: {self.kind} {".".join(map(str, self.path))} ({str(self.old)[:60]}){changed}'


# ---------------------------------------------------------------- making


@pytest.fixture(scope='module')
def originals(drawn_root):
    """The merged content of each config, small enough to be tried in a fraction of a second."""
    common = {'data_root': str(drawn_root), 'cache_dir': str(drawn_root.parent / 'cache'), 'load_from': None}
    for loader in LOADERS:
        common |= {f'{loader}.batch_size': 4, f'{loader}.num_workers': 0}

    def merged(name):
        content = load_config(f'configs/{name}.py', {**common, **CONFIGS[name]}).to_dict()
        return shrunk({key: value for key, value in content.items() if key not in HELPERS})

    return {name: merged(name) for name in CONFIGS}


def shrunk(node):
    """``node`` with pictures of a few pixels, wherever a size is given."""
    if isinstance(node, dict):
        return {key: SIZES.get(value, value) if key == 'size' else shrunk(value) for key, value in node.items()}
    return [shrunk(value) for value in node] if isinstance(node, list) else node


def draw_mutants(count, originals):
    """The same mutants each time, equally many of each kind."""
    rng = random.Random(1)
    return [draw_mutant(rng, KINDS[i % len(KINDS)], originals) for i in range(count)]


def draw_mutant(rng, kind, originals):
    config = rng.choice(list(CONFIGS))
    content = copy.deepcopy(originals[config])
    paths = [path for path in keys_of(content) if kind != 'out of range' or kind_of(at(content, path)) == 'number']
    path = rng.choice(paths)
    parent, old = at(content, path[:-1]), at(content, path)
    del parent[path[-1]]
    mutant = Mutant(config, kind, path, content, old)
    if kind == 'renamed':
        mutant.new = misspelt(rng, path[-1], parent)
        parent[mutant.new] = old
    elif kind != 'dropped':
        outside = [value for value in (-abs(old or 1), 0, HUGE, math.nan) if value != old] if kind == KINDS[-1] else ()
        retyped = [value for value in OTHER_VALUES if kind_of(value) != kind_of(old)]
        mutant.new = parent[path[-1]] = rng.choice(outside or retyped)
    return mutant


def keys_of(node, path=()):
    """The path of every key of every dict, at any depth."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if isinstance(node, dict):
            yield (*path, key)
        yield from keys_of(value, (*path, key))


def at(node, path):
    for key in path:
        node = node[key]
    return node


def misspelt(rng, name, siblings):
    """``name`` with a letter dropped, doubled or swapped with the next."""
    i = rng.randrange(len(name))
    swapped = name[:i] + name[i + 1 : i + 2] + name[i] + name[i + 2 :]
    doubled = name[:i] + name[i] + name[i:]
    wrong = [new for new in (name[:i] + name[i + 1 :], doubled, swapped) if new.isidentifier() and new != name]
    new = rng.choice(wrong)
    return new if new not in siblings else misspelt(rng, name, siblings)


def kind_of(value):
    kinds = {bool: 'bool', int: 'number', float: 'number', str: 'text', dict: 'dict', type(None): 'None'}
    return kinds.get(type(value), 'list')


# ---------------------------------------------------------------- judging


def complaint(mutant, error):
    """What is wrong with the outcome, which is an error or None where it is accepted; '' if nothing is."""
    if error is None:
        return 'is accepted' if must_be_refused(mutant) else ''
    if not isinstance(error, FlowerclsError):
        return f'ends in {error!r}'
    if error.exit_code not in (2, OTHER_CODES.get(mutant.name)):
        return f'ends in exit code {error.exit_code}: {error}'
    return '' if names_the_key(mutant, str(error)) else f'is not named: {error}'


def names_the_key(mutant, said):
    if mutant.kind == 'renamed':
        return re.search(rf"'{mutant.new}'.*did you mean '{mutant.name}'", said)
    names = [mutant.name]
    if mutant.kind == 'dropped':  # of what is not there the section may be named, which then does not fit
        names += [name for name in mutant.path[-3:-1] if isinstance(name, str)]
    return re.search(rf'\b({"|".join(names)})\b', said)


def must_be_refused(mutant):
    old, new, name = mutant.old, mutant.new, mutant.name
    if mutant.kind == 'retyped':
        return kind_of(new) not in (*STANDS_IN[kind_of(old)], *stood_for(old))
    if mutant.kind == 'out of range':
        return not new >= 0 or (new == 0 and name in NOT_ZERO) or (new == HUGE and name in LIMITED)
    return mutant.kind == 'renamed'  # what is dropped may have been the default


def stood_for(text):
    """The kinds that a text stands for besides its own: 'auto' for a choice, '8GB' for a number."""
    if text == 'auto':
        return 'bool', 'number'
    return ('number',) if kind_of(text) == 'text' and text[:1].isdigit() else ()


@pytest.fixture
def outcome(tmp_path, one_core):
    """What ``train.py --dry-run`` makes of a mutant: None if it is accepted, else the error."""

    def of(mutant):
        path = tmp_path / f'{mutant.config}.py'
        text = '\n'.join(f'{key} = {value!r}' for key, value in mutant.content.items())
        path.write_text(re.sub(r'\bnan\b', "float('nan')", text))
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                return apis.train(path, dry_run=True) and None
            except Exception as error:
                return error

    return of


@pytest.fixture
def one_core(monkeypatch):
    """Tiny networks are slower on several cores, the log's copy of the config takes longer than the check of it."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    monkeypatch.setattr(mmengine.config.config, 'FormatCode', lambda text, **_: (text, True))
    gc.freeze()  # mmengine collects garbage for each dataset
    yield
    gc.unfreeze()
    os.sched_setaffinity(0, cores)


# ---------------------------------------------------------------- tests


def test_the_configs_are_right_without_a_fault(originals, outcome):
    for name, content in originals.items():
        assert outcome(Mutant(name, 'none', ('model',), content, None)) is None, name


@pytest.mark.parametrize('count', [60, pytest.param(300, marks=pytest.mark.slow)])
def test_a_fault_in_one_key_is_found_before_the_first_step(originals, outcome, count):
    found, wrong = Counter(), []
    for mutant in draw_mutants(count, originals):
        error = outcome(mutant)
        found[mutant.kind, 'accepted' if error is None else 'refused'] += 1
        wrong += [f'{mutant} {text}' for text in [complaint(mutant, error)] if text]
    table = ', '.join(f'{kind} {found[kind, "refused"]} refused {found[kind, "accepted"]} accepted' for kind in KINDS)
    print(f'{found.total()} mutants: {table}')
    assert not wrong, '\n'.join(wrong)


OPTIONS = {
    'train_dataloader.batch_size=0': 'train_dataloader.batch_size',
    'train_dataloader.batch_size=-1': 'train_dataloader.batch_size',
    'train_dataloader.num_workers=-1': 'train_dataloader.num_workers',
    'train_cfg.max_epochs=0': 'train_cfg.max_epochs',
    'optim_wrapper.optimizer.lr=-0.1': 'optim_wrapper.optimizer.lr',
    'optim_wrapper.optimizer.lr=nan': 'optim_wrapper.optimizer.lr',
    'optim_wrapper.optimizer.lr=fast': 'optim_wrapper.optimizer.lr',
    'optim_wrapper.optimizer.momentum=-1': 'momentum',
    'optim_wrapper.optimizer.momentun=0.9': "did you mean 'momentum'?",
    'model.frozen_stages=99': 'model.frozen_stages',
    'model.head.loss.label_smooth_val=7': 'label_smooth_val',
    'model.backbone.depth=deep': 'model.backbone.depth',
    'model.backbone.depht=18': "did you mean 'model.backbone.depth'?",
    'model.backbone.norm_eval=maybe': 'model.backbone.norm_eval',
    'param_scheduler.1.eta_min_ratio=7': 'param_scheduler.1.eta_min_ratio',
    'param_scheduler.1.by_epoch=sometimes': 'param_scheduler.1.by_epoch',
    'val_dataloader.dataset.pipeline.1.transforms.0.size=small': 'val_dataloader.dataset.pipeline.1.transforms.0.size',
    'train_dataloader.dataset.pipeline.1.transforms.1.p=-0.5': 'RandomHorizontalFlip',
    'default_hooks.logger.intervall=5': "did you mean 'default_hooks.logger.interval'?",
    'env_cfg.dist_cfg.backnd=gloo': "did you mean 'env_cfg.dist_cfg.backend'?",
    'randomnes.seed=1': "did you mean 'randomness",
}


@pytest.mark.parametrize('option', OPTIONS)
def test_a_fault_on_the_command_line_is_a_config_error(write_config, tool, tmp_path, capsys, one_core, option):
    smoothed = "model = dict(head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1)))\n"
    config = write_config(tmp_path, smoothed if 'label_smooth_val' in option else '')
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--cfg-options', option) == 2
    error = capsys.readouterr().err
    assert 'Traceback' not in error and OPTIONS[option] in error
    assert not Path(tmp_path, 'run').exists()
