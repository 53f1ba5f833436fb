"""Parts of recipes that are mmengine's own, with our Runner: early stopping, averaged weights, gradients added up."""

import json

import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from flowercls.config import resolve_config
from flowercls.config.resolve import Flags
from flowercls.report.curves import read_epochs
from flowercls.train.optimizer import TrainableOptimWrapperConstructor
from flowercls.train.runner import build_runner
from flowercls.train.trainer import resolve_for_run

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
    assert {'epoch_2.pth', 'predictions_val.csv', metrics['checkpoint']} <= names
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


def test_the_averaged_weights_are_validated_and_saved_and_are_the_average(write_config, tmp_path):
    hook = dict(type='EMAHook', momentum=MOMENTUM)
    cfg = resolve_for_run(write_config(tmp_path, f'custom_hooks = [{hook}]\n'), (), Flags())
    cfg.work_dir = str(tmp_path / 'run')
    runner, recorder = build_runner(cfg), Recorder()
    runner.register_hook(recorder)
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


@pytest.fixture
def head_only(write_config, tmp_path):
    """Make a fresh classifier in which only the head trains: no batch statistics tie the photos to each other."""
    cfg, _ = resolve_config(write_config(tmp_path, "model = dict(frozen_stages='all')\n"))

    def build():
        torch.manual_seed(0)
        return MODELS.build(dict(**cfg.model, data_preprocessor=cfg.data_preprocessor)).train()

    return build


def train(model, photos, labels, batch_size, counts):
    """Train one pass in batches; returns the head's weights after each."""
    settings = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5), accumulative_counts=counts)
    wrapper = TrainableOptimWrapperConstructor(settings)(model)
    wrapper.initialize_count_status(model, 0, len(photos) // batch_size)
    weights = []
    for start in range(0, len(photos), batch_size):
        part = slice(start, start + batch_size)
        samples = [DataSample().set_gt_label(label) for label in labels[part]]
        model.train_step(dict(inputs=photos[part], data_samples=samples), wrapper)
        weights.append(model.head.fc.weight.detach().clone())
    return weights


def test_two_batches_added_up_are_one_step_of_both(head_only):
    photos = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    labels = [number % 5 for number in range(16)]
    before = head_only().head.fc.weight
    (whole,) = train(head_only(), photos, labels, batch_size=16, counts=1)
    first, second = train(head_only(), photos, labels, batch_size=8, counts=2)
    assert torch.equal(first, before) and not torch.allclose(whole, before, atol=1e-3)
    torch.testing.assert_close(second, whole)
