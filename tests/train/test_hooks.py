"""Hooks: what they show, average, judge and log."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MessageHub
from mmengine.visualization import LocalVisBackend
from torch.utils.data import DataLoader

from flowercls.core.errors import DiskError
from flowercls.evaluate.scalars import read_epochs
from flowercls.train.hooks import (
    CounterRandomnessHook,
    LazyRuntimeInfoHook,
    NormStatisticsHook,
    ScalarsBackend,
    epoch_line,
)
from flowercls.train.resume import RandomInit

SUMMARY = {'epoch': 3, 'train_loss': 0.51234, 'train_top1': 84.5, 'lr': 0.019}


def test_an_epochs_line_tells_losses_accuracies_rate_and_time():
    metrics = {'accuracy/top1': 91.05, 'nll': 0.3122}
    line = epoch_line(SUMMARY, 10, 95, metrics, is_best=True)
    assert (
        line == 'epoch  3/10  train loss 0.5123 top-1  84.50  val loss 0.3122 top-1  91.05  lr 0.019  1 min 35 s  best'
    )
    assert epoch_line(SUMMARY, 10, 95, {}, is_best=False).endswith('lr 0.019  1 min 35 s')
    assert epoch_line({'epoch': 3}, 10, 95, metrics, False) == 'epoch  3/10  val loss 0.3122 top-1  91.05  1 min 35 s'


def test_what_a_step_draws_depends_on_its_number_and_on_nothing_before():
    hook = CounterRandomnessHook()

    def draw(step, seed=0, rank=0):
        hook.before_train_iter(SimpleNamespace(seed=seed, iter=step, rank=rank), batch_idx=0)
        return torch.rand(3).tolist()

    straight = [draw(step) for step in range(3)]
    assert draw(2) == straight[2]
    assert len({tuple(draws) for draws in [*straight, draw(2, seed=1), draw(2, rank=1)]}) == 5


def test_initial_weights_depend_on_the_seed_alone():
    hook = CounterRandomnessHook()
    draws = []
    for _ in range(2):
        torch.rand(7)  # whatever happened before
        hook.before_run(SimpleNamespace(seed=3))
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1]


class Normed(torch.nn.Module):
    """Two norm layers on photos that a data preprocessor doubles in training."""

    def __init__(self):
        super().__init__()
        self.fixed, self.norm = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2, momentum=0.1)

    def data_preprocessor(self, batch, training):
        return dict(inputs=batch * 2 if training else batch)

    def forward(self, inputs, mode):
        return self.norm(inputs) + self.fixed(inputs)


def test_norm_statistics_are_those_of_the_unmixed_photos_and_frozen_ones_stay():
    batches = [torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(i)) + i for i in range(3)]
    model = Normed().train()
    model.norm.running_mean.fill_(99)
    model.fixed.eval()
    runner = SimpleNamespace(model=model, train_dataloader=batches, seed=0, epoch=0, rank=0)
    NormStatisticsHook().after_train_epoch(runner)
    mean = sum(batch.mean((0, 2, 3)) for batch in batches) / 3
    variance = sum(batch.var((0, 2, 3)) for batch in batches) / 3
    torch.testing.assert_close(model.norm.running_mean, mean)
    torch.testing.assert_close(model.norm.running_var, variance)
    assert model.norm.momentum == 0.1
    assert model.fixed.num_batches_tracked == 0 and not model.fixed.running_mean.any()


def test_norm_statistics_do_not_hang_on_what_was_drawn_before():
    def statistics(epoch, before):
        torch.manual_seed(before)
        model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(3)).train()
        model.data_preprocessor = lambda batch, training: {'inputs': batch}
        model.forward = lambda inputs, mode: torch.nn.Sequential.forward(model, inputs)
        batches = [torch.ones(8, 3)] * 2
        NormStatisticsHook().after_train_epoch(
            SimpleNamespace(model=model, train_dataloader=batches, seed=0, epoch=epoch, rank=0)
        )
        return model[1].running_mean

    assert torch.equal(statistics(epoch=0, before=1), statistics(epoch=0, before=2))
    assert not torch.equal(statistics(epoch=0, before=1), statistics(epoch=1, before=1))


def test_figures_are_fetched_when_they_are_logged_and_at_the_end_of_an_epoch():
    hub, hook = MessageHub.get_instance('test_lazy_runtime_info'), LazyRuntimeInfoHook()
    loader, counters = DataLoader(torch.zeros(5)), {'epoch': 0, 'iter': 0, 'max_epochs': 1, 'max_iters': 5}
    hooks = [LoggerHook(interval=2)]
    runner = SimpleNamespace(message_hub=hub, hooks=hooks, train_dataloader=loader, **counters)
    hook.before_train(runner)
    known = []
    for step in range(5):
        hook.after_train_iter(runner, step, outputs={'loss': torch.tensor(step + 0.5)})
        scalar = hub.log_scalars.get('train/loss')
        known.append(len(scalar.data[0]) if scalar else 0)
    assert known == [0, 2, 2, 4, 5]
    assert hub.get_scalar('train/loss').data[0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_scalars_are_those_of_mmengines_hook(write_config, tool, tmp_path):
    tables = []
    for name in ('LazyRuntimeInfoHook', 'RuntimeInfoHook'):
        config = write_config(
            tmp_path, f"default_hooks['runtime_info'] = dict(type='{name}')\ntrain_cfg = dict(max_epochs=1)\n"
        )
        assert tool('train', config, '--work-dir', tmp_path / name) == 0
        lines = [json.loads(line) for line in (tmp_path / name / 'scalars.json').read_text().splitlines()]
        tables.append([{k: v for k, v in line.items() if k not in ('time', 'data_time', 'memory')} for line in lines])
    assert tables[0] == tables[1] and any('loss' in line for line in tables[0])


EARLY_STOP = dict(type='EarlyStoppingHook', monitor='accuracy/top1', rule='greater', min_delta=100, patience=1)
MOMENTUM = 0.3


def test_early_stopping_by_a_metric_that_does_not_exist_is_refused_and_costs_no_epoch(
    write_config, tool, tmp_path, capsys
):
    config = write_config(tmp_path, "custom_hooks = [dict(type='EarlyStoppingHook', monitor='acc', rule='greater')]\n")
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 2
    assert "EarlyStoppingHook.monitor is 'acc', which validation does not report" in capsys.readouterr().err
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


def test_early_stopping_ends_the_run_and_leaves_all_that_a_run_leaves(write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path, f'train_cfg = dict(max_epochs=6)\ncustom_hooks = [{EARLY_STOP}]\n')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 0
    # The first validation is the best so far; the second is not 100 points better, and patience is 1.
    assert [record['step'] for record in read_epochs(tmp_path / 'run' / 'scalars.json')] == [1, 2]
    names = {path.name for path in (tmp_path / 'run').iterdir()}
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert {'epoch_2.pth', 'predictions_val.csv', 'predictions_val_last.csv', metrics['checkpoint']} <= names
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == 'epoch_2.pth'
    printed = capsys.readouterr().out
    assert f'at epoch {metrics["epoch"]} of 2' in printed and 'stopped     early, after epoch 2 of 6' in printed


class Recorder(Hook):
    """Keeps the weights after every step, and those that are validated."""

    def __init__(self):
        self.steps, self.validated = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps.append(self.copy_of(runner))

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 0:
            self.validated.append(self.copy_of(runner))

    @staticmethod
    def copy_of(runner):
        return {name: parameter.detach().clone() for name, parameter in runner.model.named_parameters()}


def test_the_averaged_weights_are_validated_and_saved_and_are_the_average(build, tmp_path):
    hook = dict(type='EMAHook', momentum=MOMENTUM)
    runner, recorder = build(f'custom_hooks = [{hook}]\n'), Recorder()
    runner.register_hook(recorder)
    runner.prepare(RandomInit())
    runner.train()
    assert (len(recorder.steps), len(recorder.validated)) == (2 * 6, 2)
    average = dict(recorder.steps[0])
    for step, weights in enumerate(recorder.steps):
        for name in average if step else ():
            average[name] = (1 - MOMENTUM) * average[name] + MOMENTUM * weights[name]
        if step in (5, 11):  # the last of an epoch
            torch.testing.assert_close(recorder.validated[step // 6], average)
    saved = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=True)
    torch.testing.assert_close({name: saved['state_dict'][name] for name in average}, average)
    trained = {name: saved['ema_state_dict'][f'module.{name}'] for name in average}
    torch.testing.assert_close(trained, recorder.steps[-1], rtol=0, atol=0)
    assert any(not torch.allclose(average[name], trained[name]) for name in average)


def test_a_full_disk_is_named_when_figures_are_written(tmp_path, monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(LocalVisBackend, 'add_scalars', no_space)
    with pytest.raises(DiskError, match='scalars.json: the disk is full'):
        ScalarsBackend(str(tmp_path)).add_scalars({'loss': 1.0})
