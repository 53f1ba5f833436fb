"""Whole checkpoints that say nonsense of their run: refused in words, and never handed to native code."""

import pytest
import torch

NAN, SCALAR = float('nan'), torch.zeros(1)


def group(**options):
    return lambda checkpoint: checkpoint['optimizer']['param_groups'][0].update(options)


def state(value):
    """Put something in the place of what is kept for each weight."""

    def change(checkpoint):
        of = checkpoint['optimizer']['state']
        checkpoint['optimizer']['state'] = dict.fromkeys(of, value) or {0: value}

    return change


def part(**parts):
    return lambda checkpoint: checkpoint.update(parts)


def best(**values):
    return lambda checkpoint: checkpoint['run_state'].update({f'best_{k}': v for k, v in values.items()})


def schedule(**values):
    return lambda checkpoint: checkpoint['param_schedulers'][0].update(values)


def twice(checkpoint):
    checkpoint['optimizer']['param_groups'] *= 2


def weights(change):
    def in_all(checkpoint):
        checkpoint['state_dict'] = {key: change(value) for key, value in checkpoint['state_dict'].items()}

    return in_all


REFUSED = {
    'optimizer: a list': part(optimizer=[1, 2]),
    'optimizer: nothing': part(optimizer=None),
    'optimizer: empty': part(optimizer={}),
    'groups: text': lambda checkpoint: checkpoint['optimizer'].update(param_groups='abc'),
    'groups: of text': group(params=['a']),
    'groups: twice': twice,
    'rate: text': group(lr='high'),
    'momentum: nothing': group(momentum=None),
    'averages: of another shape': state({'momentum_buffer': SCALAR}),
    'averages: text': state({'momentum_buffer': 'abc'}),
    'averages: of no weight': lambda checkpoint: checkpoint['optimizer']['state'].update({999: {}}),
    'kept: text': state('abc'),
    'schedulers: text': part(param_schedulers='abc'),
    'schedulers: numbers': part(param_schedulers=[1]),
    'schedulers: a method': schedule(step=3),
    'schedulers: text for a number': schedule(begin='soon'),
    'hub: text': part(message_hub='abc'),
    'hub: a number': lambda checkpoint: checkpoint['message_hub'].update(runtime_info=3),
    'best: elsewhere': best(checkpoint='../../best.pth'),
    'best: text': best(score='high'),
    'best: no epoch': best(epoch='last'),
    'gradients: of nothing': part(gradients={'nothing': SCALAR}),
    'gradients: a list': part(gradients=[SCALAR]),
    'weights: of other shapes': weights(lambda value: SCALAR),
    'weights: text': part(state_dict='abc'),
    'epoch: negative': lambda checkpoint: checkpoint['meta'].update(epoch=-1, iter=-3),
    'seed: text': lambda checkpoint: checkpoint['meta'].update(seed='abc'),
}


@pytest.fixture
def resume(trained_run, tool, copied_run):
    """Change the only checkpoint of a run, and go on from it; returns the exit code."""

    def run(change, *arguments):
        checkpoint = torch.load(copied_run / 'epoch_1.pth', weights_only=True)
        change(checkpoint)
        for path in copied_run.glob('*.pth*'):
            path.unlink()
        torch.save(checkpoint, copied_run / 'epoch_1.pth')
        return tool('train', trained_run[0], '--work-dir', copied_run, '--resume', *arguments)

    return run


@pytest.mark.slow
@pytest.mark.parametrize('what', REFUSED)
def test_it_is_refused(resume, what, said):
    assert resume(REFUSED[what]) == 4
    assert 'epoch_1.pth' in (told := said()) and 'Fix: ' in told


@pytest.mark.parametrize('change', [group(lr=NAN), weights(lambda v: v * NAN if v.is_floating_point() else v)])
def test_numbers_that_are_none_stop_the_first_step(resume, change, said):
    assert resume(change) == 6
    assert 'Fix: ' in said()


def test_untouched_it_goes_on(resume):
    assert resume(lambda checkpoint: None) == 0


def test_a_run_that_now_trains_other_weights_is_told_so(resume, said):
    options = ('--allow-config-change', '--cfg-options', 'model.frozen_stages=2')
    assert resume(lambda checkpoint: None, *options) == 4
    assert 'optimizer trains' in said()
