"""The log of a run is mmengine's, and its figures are fetched many at a time."""

import json
from types import SimpleNamespace

import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from torch.utils.data import DataLoader

from flowercls.train.hooks import LazyRuntimeInfoHook


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
