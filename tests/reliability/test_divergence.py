"""Values that are no numbers stop a run before they reach its weights."""

import itertools
import math

import pytest
import torch

from flowercls.models.classifier import StagedClassifier
from flowercls.train.loop import ResumableTrainLoop
from flowercls.train.optimizer import CHECK_EVERY, NanGuardOptimWrapper, NotFiniteError

KINDS = ('loss', 'gradient', 'input', 'target')
STEPS = (1, 5, 12)  # of 12
# Each case is a training: these are in the default run, the others are slow.
CASES = [('loss', 1), ('gradient', 12), ('input', 5), ('target', 1)]


@pytest.fixture
def spoil(monkeypatch):
    """Make something of the n-th step no number."""

    def arrange(kind, step):
        calls, loss = itertools.count(1), StagedClassifier.loss

        def spoiled(self, inputs, data_samples):
            if next(calls) != step:
                return loss(self, inputs, data_samples)
            if kind == 'input':
                inputs = inputs.clone()
                inputs[0, 0, 0, 0] = math.inf
            if kind == 'target':
                for sample in data_samples:
                    sample.set_gt_score(torch.full((5,), math.nan))
            losses = loss(self, inputs, data_samples)
            if kind == 'loss':
                losses['loss'] = losses['loss'] * math.nan
            if kind == 'gradient':
                losses['loss'].register_hook(lambda gradient: gradient * math.inf)
            return losses

        monkeypatch.setattr(StagedClassifier, 'loss', spoiled)

    return arrange


@pytest.mark.parametrize(
    ('kind', 'step'),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case not in CASES)) for case in itertools.product(KINDS, STEPS)],
)
def test_a_bad_step_is_not_taken_and_nothing_bad_is_published(kind, step, spoil, write_config, tool, tmp_path, capsys):
    config, run = write_config(tmp_path, "model['head']['cal_acc'] = False\n" * (kind == 'target')), tmp_path / 'run'
    spoil(kind, step)
    assert tool('train', config, '--work-dir', run) == 6
    error = capsys.readouterr().err
    epoch = (step - 1) // 6 + 1
    assert f'epoch {epoch}, step {step}:' in error and 'learning rate' in error and '.jpg' in error
    assert error.endswith('or optim_wrapper.clip_grad.max_norm=1.0\n')  # as a command line takes it
    assert ('after a loss of' in error) == (step > 1)
    saved = sorted(path.name for path in run.glob('*.pth'))
    assert ('epoch_1.pth' in saved) == (step == 12) and 'epoch_2.pth' not in saved
    for path in run.glob('*.pth'):
        state = torch.load(path, weights_only=True)['state_dict']
        assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())


def parameters_after(losses, asks_at_once):
    """The parameter after steps on ``losses``, as on a GPU unless it asks at once; and what was raised when."""
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    wrapper = NanGuardOptimWrapper(torch.optim.AdamW([weight], lr=0.1, fused=True))
    type(wrapper)._checks_at_once = property(lambda _: asks_at_once)
    for number, factor in enumerate(losses):
        try:
            wrapper.update_params((weight * factor).sum())
        except NotFiniteError as error:
            return weight.detach(), number, error.steps_ago
    return weight.detach(), None, None


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(NanGuardOptimWrapper, '_checks_at_once', NanGuardOptimWrapper._checks_at_once)


def test_a_device_that_is_not_waited_for_leaves_out_the_bad_step_and_all_that_follow(at_once):
    good = [1.0] * 3
    expected, raised, _ = parameters_after(good, asks_at_once=True)
    assert raised is None
    found, number, steps_ago = parameters_after([*good, math.nan] + [1.0] * 20, asks_at_once=False)
    assert torch.equal(found, expected) and number == CHECK_EVERY - 1 and number - steps_ago == 3
    found, number, _ = parameters_after([*good, math.nan, 1.0], asks_at_once=True)
    assert torch.equal(found, expected) and number == 3


def test_without_a_bad_step_both_ways_give_the_same_bits(at_once):
    losses = [0.5 * number for number in range(1, 25)]
    assert torch.equal(parameters_after(losses, True)[0], parameters_after(losses, False)[0])


def test_too_little_memory_is_told_with_what_to_do(write_config, tool, tmp_path, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')

    monkeypatch.setattr(StagedClassifier, 'loss', fail)
    assert tool('train', write_config(tmp_path), '--work-dir', tmp_path / 'run') == 7
    error = capsys.readouterr().err
    assert '8 photos of 3 x 64 x 64' in error
    assert 'train_dataloader.batch_size=4 optim_wrapper.accumulative_counts=2' in error


def test_other_errors_keep_their_traceback(write_config, tool, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError('something of ours')

    monkeypatch.setattr(ResumableTrainLoop, 'run_iter', fail)
    with pytest.raises(RuntimeError, match='something of ours'):
        tool('train', write_config(tmp_path), '--work-dir', tmp_path / 'run')
