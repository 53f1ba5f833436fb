"""Whole trainings: what they leave."""

import json
import multiprocessing

import pytest
import torch
from mmengine.config import Config

from flowercls.evaluate.predictions import Predictions
from flowercls.evaluate.scalars import read_epochs
from flowercls.train.resume import RandomInit


def test_run_folder_holds_what_was_agreed(trained_run):
    config, folder = trained_run
    names = {path.name for path in folder.iterdir()}
    best = json.loads((folder / 'metrics.json').read_text())['checkpoint']
    assert {'config.py', 'source_tiny_flower.py', 'scalars.json', 'curves.png', 'metrics.json', 'predictions_val.csv',
            'predictions_val_last.csv', 'mistakes.csv', 'mistakes.png', 'confusion.png', 'reliability.png',
            'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint', best} <= names  # fmt: skip
    assert any(name.endswith('.log') for name in names)
    assert (folder / 'last_checkpoint').read_text() == 'epoch_2.pth'
    assert not any(path.is_dir() for path in folder.iterdir())


def test_metrics_and_predictions_belong_to_the_best_checkpoint(trained_run, drawn_root):
    _, folder = trained_run
    metrics = json.loads((folder / 'metrics.json').read_text())
    predictions = Predictions.read_csv(folder / 'predictions_val.csv')
    assert predictions.metrics()['top1'] == metrics['top1']
    assert metrics['checkpoint'] == f'best_accuracy_top1_epoch_{metrics["epoch"]}.pth'
    top1 = [record['accuracy/top1'] for record in read_epochs(folder / 'scalars.json')]
    assert metrics['top1'] == pytest.approx(max(top1)) and metrics['epoch'] == 1 + top1.index(max(top1))
    lines = (drawn_root / 'val.txt').read_text().splitlines()
    assert predictions.images == [line.rsplit(' ', 1)[0] for line in lines]
    assert (metrics['split'], metrics['seed'], metrics['n']) == ('val', 0, 15)


def test_the_last_predictions_belong_to_the_last_epoch(write_config, tool, tmp_path, capsys):
    # By the highest loss the first epoch is the best.
    config, folder = write_config(tmp_path, "default_hooks['checkpoint'] = dict(save_best='nll')\n"), tmp_path / 'run'
    assert tool('train', config, '--work-dir', folder, '--no-pictures') == 0
    assert 'predictions_val.csv, predictions_val_last.csv' in capsys.readouterr().out
    found = [
        Predictions.read_csv(folder / name).metrics() for name in ('predictions_val.csv', 'predictions_val_last.csv')
    ]
    losses = [record['nll'] for record in read_epochs(folder / 'scalars.json')]
    assert [figures['nll'] for figures in found] == losses and losses[0] > losses[1]


def test_every_epoch_records_both_losses_and_both_accuracies(trained_run):
    _, folder = trained_run
    epochs = read_epochs(folder / 'scalars.json')
    assert [record['step'] for record in epochs] == [1, 2]
    for record in epochs:
        assert {'train_loss', 'train_top1', 'nll', 'accuracy/top1', 'lr'} <= record.keys()
        assert 0 < record['train_loss'] < 10 and 0 <= record['train_top1'] <= 100


def test_checkpoint_says_where_it_comes_from(trained_run, drawn_root, tmp_path):
    _, folder = trained_run
    meta = torch.load(folder / 'epoch_2.pth', weights_only=True)['meta']
    assert (meta['epoch'], meta['iter'], meta['batch_in_epoch'], meta['seed']) == (2, 2 * 6, 0, 0)
    assert meta['dataset_meta'] == {'classes': (drawn_root / 'classes.txt').read_text().split()}
    assert len(meta['data_manifest']) == 64
    (tmp_path / 'from_meta.py').write_text(meta['cfg'])
    assert Config.fromfile(tmp_path / 'from_meta.py').to_dict() == Config.fromfile(folder / 'config.py').to_dict()


def test_the_same_command_gives_the_same_bits_whatever_the_number_of_workers(trained_run, tool, tmp_path, same_weights):
    config, folder = trained_run
    again = tmp_path / 'again'
    assert tool('train', config, '--work-dir', again, '--cfg-options', 'train_dataloader.num_workers=2') == 0
    assert same_weights(folder / 'epoch_2.pth', again / 'epoch_2.pth')
    assert (folder / 'predictions_val.csv').read_bytes() == (again / 'predictions_val.csv').read_bytes()
    assert not multiprocessing.active_children()  # loader workers end with their run


def test_a_dry_run_checks_everything_and_writes_nothing(write_config, tool, tmp_path, monkeypatch, capsys):
    config = write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert tool('train', config, '--dry-run', '--cfg-options', 'model.frozen_stages=2') == 0
    out = capsys.readouterr().out
    assert 'nothing written' in out and 'stage2' in out and 'one training batch of 8' in out
    assert [path.name for path in tmp_path.iterdir()] == ['tiny_flower.py']


def test_without_validation_the_last_epoch_is_kept(write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path, 'train_cfg = dict(max_epochs=1)\n')
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--no-validate') == 0
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file() and not list((tmp_path / 'run').glob('best*'))
    assert 'run/epoch_1.pth' in capsys.readouterr().out


def test_old_checkpoints_go_and_the_best_stays(write_config, tool, tmp_path):
    config = write_config(tmp_path, 'train_cfg = dict(max_epochs=4, val_interval=3)\n')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 0
    epochs = sorted(path.name for path in (tmp_path / 'run').glob('epoch_*.pth'))
    assert epochs == ['epoch_3.pth', 'epoch_4.pth']
    best = json.loads((tmp_path / 'run' / 'metrics.json').read_text())['checkpoint']
    assert [path.name for path in (tmp_path / 'run').glob('best_*.pth')] == [best]


def test_frozen_stages_do_not_move_in_a_whole_run(build, tmp_path, weights):
    runner = build('model.update(frozen_stages=3)\n')
    runner.prepare(RandomInit())
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    runner.train()
    after = weights(tmp_path / 'run' / 'epoch_2.pth')
    frozen = {key for key in before if key.split('.')[1] in ('conv1', 'bn1', 'layer1', 'layer2', 'layer3')}
    assert all(torch.equal(before[key], after[key]) for key in frozen) and len(frozen) > 50
    assert all(not torch.equal(before[key], after[key]) for key in before if key.startswith('head.'))


def test_without_hooks_of_ours_a_run_still_ends_well(write_config, tool, tmp_path, capsys):
    config, run = write_config(tmp_path, 'train_cfg = dict(max_epochs=1)\n'), tmp_path / 'run'
    options = ('--cfg-options', 'default_hooks.results=None', 'default_hooks.checkpoint=None')
    assert tool('train', config, '--work-dir', run, *options) == 0
    out = capsys.readouterr().out
    assert 'epoch 1/1  val loss' in out and 'checkpoint  none' in out and 'epoch_1.pth' not in out


def test_a_metric_that_does_not_exist_costs_no_epoch(write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path)
    option = 'default_hooks.checkpoint.save_best=accuracy/top_1'
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--cfg-options', option) == 2
    assert 'accuracy/top1' in capsys.readouterr().err
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()
