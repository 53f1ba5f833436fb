"""Configs with one fault in one key, and what has to become of each.

What has to be refused is decided by rules on the kind of fault, the kind of the old value and the name of the key, not
by what the product happens to refuse.
"""

import copy
import math
import random
import re
from dataclasses import dataclass
from typing import Any

from flowercls.core.errors import FlowerclsError

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


def draw_mutants(count, originals):
    """The same mutants each time, equally many of each kind."""
    rng = random.Random(1)
    return [draw_mutant(rng, KINDS[i % len(KINDS)], originals) for i in range(count)]


def draw_mutant(rng, kind, originals):
    config = rng.choice(list(originals))
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
