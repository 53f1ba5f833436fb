"""Shipped configs with one fault in one key each: found before the first step, with the key's name, never a traceback.

The faults are drawn from a fixed seed over every key of the merged configs; `mutants.py` draws and judges them.
"""

import contextlib
import io
import re
from collections import Counter

import pytest

from flowercls import commands
from flowercls.config import load_config
from flowercls.config.schema import HELPERS
from helpers import mutants

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


@pytest.fixture
def outcome(tmp_path):
    """What ``train.py --dry-run`` makes of a mutant: None if it is accepted, else the error."""

    def of(mutant):
        path = tmp_path / f'{mutant.config}.py'
        text = '\n'.join(f'{key} = {value!r}' for key, value in mutant.content.items())
        path.write_text(re.sub(r'\bnan\b', "float('nan')", text))
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                return commands.train(path, dry_run=True) and None
            except Exception as error:
                return error

    return of


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_is_right_without_a_fault(originals, outcome, name):
    assert outcome(mutants.Mutant(name, 'none', ('model',), originals[name], None)) is None


# An accepted mutant is trained for a batch: 0.2 to 0.6 CPU seconds.
@pytest.mark.parametrize(
    'count', [12, pytest.param(60, marks=pytest.mark.slow), pytest.param(300, marks=pytest.mark.exhaustive)]
)
def test_a_fault_in_one_key_is_found_before_the_first_step(originals, outcome, count):
    found, wrong = Counter(), []
    for mutant in mutants.draw_mutants(count, originals):
        error = outcome(mutant)
        found[mutant.kind, 'accepted' if error is None else 'refused'] += 1
        wrong += [f'{mutant} {text}' for text in [mutants.complaint(mutant, error)] if text]
    table = ', '.join(
        f'{kind} {found[kind, "refused"]} refused {found[kind, "accepted"]} accepted' for kind in mutants.KINDS
    )
    print(f'{found.total()} mutants: {table}')
    assert not wrong, '\n'.join(wrong)
