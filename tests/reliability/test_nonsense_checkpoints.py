"""Whole checkpoints that say nonsense of their run: refused in words, and never handed to native code."""

import pytest
import torch

NAN, SCALAR = float('nan'), torch.zeros(1)


def put(checkpoint, path, value):
    """Put a value, or what it makes of the old one, at a path of keys; a last key ``*`` is every key."""
    *parents, last = path
    node = checkpoint
    for key in parents:
        node = node[key]
    for key in list(node) if last == '*' else [last]:
        node[key] = value(node[key]) if callable(value) else value


GROUP = ('optimizer', 'param_groups', 0)
REFUSED = {
    'optimizer: a list': (('optimizer',), [1, 2]),
    'optimizer: nothing': (('optimizer',), None),
    'optimizer: empty': (('optimizer',), {}),
    'groups: text': (('optimizer', 'param_groups'), 'abc'),
    'groups: of text': ((*GROUP, 'params'), ['a']),
    'groups: twice': (('optimizer', 'param_groups'), lambda groups: groups * 2),
    'rate: text': ((*GROUP, 'lr'), 'high'),
    'momentum: nothing': ((*GROUP, 'momentum'), None),
    'averages: of another shape': (('optimizer', 'state', '*'), {'momentum_buffer': SCALAR}),
    'averages: text': (('optimizer', 'state', '*'), {'momentum_buffer': 'abc'}),
    'averages: of no weight': (('optimizer', 'state', 999), {}),
    'kept: text': (('optimizer', 'state', '*'), 'abc'),
    'schedulers: text': (('param_schedulers',), 'abc'),
    'schedulers: numbers': (('param_schedulers',), [1]),
    'schedulers: a method': (('param_schedulers', 0, 'step'), 3),
    'schedulers: text for a number': (('param_schedulers', 0, 'begin'), 'soon'),
    'hub: text': (('message_hub',), 'abc'),
    'hub: a number': (('message_hub', 'runtime_info'), 3),
    'best: elsewhere': (('run_state', 'best_checkpoint'), '../../best.pth'),
    'best: text': (('run_state', 'best_score'), 'high'),
    'best: no epoch': (('run_state', 'best_epoch'), 'last'),
    'gradients: of nothing': (('gradients',), {'nothing': SCALAR}),
    'gradients: a list': (('gradients',), [SCALAR]),
    'weights: of other shapes': (('state_dict', '*'), SCALAR),
    'weights: text': (('state_dict',), 'abc'),
    'epoch: negative': (('meta',), lambda meta: {**meta, 'epoch': -1, 'iter': -3}),
    'seed: text': (('meta', 'seed'), 'abc'),
}


@pytest.fixture
def resume(trained_run, tool, copied_run):
    """Change the only checkpoint of a run, and go on from it; returns the exit code."""

    def run(path, value, *arguments):
        checkpoint = torch.load(copied_run / 'epoch_1.pth', weights_only=True)
        put(checkpoint, path, value)
        for path in copied_run.glob('*.pth*'):
            path.unlink()
        torch.save(checkpoint, copied_run / 'epoch_1.pth')
        return tool('train', trained_run[0], '--work-dir', copied_run, '--resume', *arguments)

    return run


@pytest.mark.slow
@pytest.mark.parametrize('what', REFUSED)
def test_it_is_refused(resume, what, said):
    assert resume(*REFUSED[what]) == 4
    assert 'epoch_1.pth' in (told := said()) and 'Fix: ' in told


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ((*GROUP, 'lr'), NAN),
        (('state_dict', '*'), lambda weight: weight * NAN if weight.is_floating_point() else weight),
    ],
    ids=['rate', 'weights'],
)
def test_nan_stops_the_first_step(resume, path, value, said):
    assert resume(path, value) == 6
    assert 'Fix: ' in said()


def test_an_untouched_checkpoint_is_resumed(resume):
    assert resume(('meta',), lambda meta: meta) == 0


def test_a_run_that_now_trains_other_weights_is_told_so(resume, said):
    options = ('--allow-config-change', '--cfg-options', 'model.frozen_stages=2')
    assert resume(('meta',), lambda meta: meta, *options) == 4
    assert 'optimizer trains' in said()
