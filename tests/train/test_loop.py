"""What is saved of a run, and when: also where it is left early, validated now and then, or told of late."""

import shutil
import signal

import pytest
import torch

from flowercls.core import signals
from flowercls.core.errors import OutOfMemoryError
from flowercls.models.classifier import StagedClassifier
from flowercls.report import run_pictures
from flowercls.train import runner, trainer
from flowercls.train.hooks import ProgressHook
from flowercls.train.loop import ResumableTrainLoop
from flowercls.train.optimizer import NanGuardOptimWrapper

AVERAGED = "train_cfg = dict(max_epochs=1)\ncustom_hooks = [dict(type='EMAHook', momentum=0.3)]\n"


@pytest.mark.parametrize('intervals', ['val_interval=3, dynamic_intervals=[(3, 1)]', 'dynamic_intervals=[(3, 3)]'])
def test_each_epoch_is_saved_once_whatever_is_validated(tool, write_config, tmp_path, intervals):
    text = f'train_cfg = dict(max_epochs=4, {intervals})\ndefault_hooks = dict(checkpoint=dict(max_keep_ckpts=-1))\n'
    assert tool('train', write_config(tmp_path, text), '--work-dir', tmp_path / 'run') == 0
    epochs = sorted(path.name for path in (tmp_path / 'run').glob('epoch_*.pth*') if path.suffix != '.json')
    assert epochs == [f'epoch_{number}.pth' for number in (1, 2, 3, 4)]


def test_a_signal_while_photos_are_decoded_does_not_build_the_loaders(
    write_config, tool, tmp_path, monkeypatch, capsys
):
    built = []
    monkeypatch.setattr(runner, 'use_photo_cache', lambda _: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(runner.ClassifierRunner, 'build_train_loop', lambda *_: built.append('loop'))
    assert tool('train', write_config(tmp_path), '--work-dir', tmp_path / 'new') == 130
    assert 'nothing was saved yet' in capsys.readouterr().err and not (tmp_path / 'new').exists() and not built


def test_a_signal_while_a_failed_run_is_drawn_saves_nothing_of_the_failed_step(write_config, tmp_path, monkeypatch):
    def run_iter(loop, number, batch, original=ResumableTrainLoop.run_iter):
        if loop._iter == 1:
            raise torch.OutOfMemoryError('out of memory')
        original(loop, number, batch)

    def draw(folder, result):
        raise signals.Interrupted(signal.SIGINT)

    monkeypatch.setattr(ResumableTrainLoop, 'run_iter', run_iter)
    with pytest.raises(OutOfMemoryError):
        trainer.train(write_config(tmp_path), work_dir=tmp_path / 'run', after_training=draw)
    assert (tmp_path / 'run' / 'config.py').exists() and not list((tmp_path / 'run').glob('*.pth'))


def test_a_lack_of_memory_in_an_evaluation_names_its_batch_size(
    trained_run, write_config, tool, tmp_path, monkeypatch, said
):
    def val_step(*_):
        raise torch.OutOfMemoryError('CUDA out of memory')

    start = ('train', write_config(tmp_path, AVERAGED), '--work-dir', tmp_path / 'run')
    with monkeypatch.context() as patch:
        patch.setattr(StagedClassifier, 'val_step', val_step)
        patch.setattr(StagedClassifier, 'test_step', val_step)
        assert tool(*start) == 7
        assert 'Fix: go on with --resume --allow-config-change --cfg-options val_dataloader.batch_size=4' in said()
        assert tool('test', trained_run[0], trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path) == 7
        assert 'Fix: test_dataloader.batch_size=4' in said()
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_6.pth']
    assert tool(*start, '--resume', '--allow-config-change', '--cfg-options', 'val_dataloader.batch_size=4') == 0
    assert 'time        ' in (out := said()) and 'for 0 epochs' in out  # the epoch was kept


def test_an_epoch_whose_scores_are_nan_is_not_saved(write_config, tool, tmp_path, said):
    one_step = write_config(tmp_path, "train_dataloader['batch_size'] = 64\n")
    assert (
        tool('train', one_step, '--work-dir', tmp_path / 'run', '--cfg-options', 'optim_wrapper.optimizer.lr=1e18') == 6
    )
    assert 'NaN or infinite scores' in said() and not list((tmp_path / 'run').glob('*.pth'))


def test_a_signal_counts_for_the_run_that_it_ended_only():
    with pytest.raises(signals.Interrupted), signals.handle_signals():
        signal.raise_signal(signal.SIGINT)
    assert not signals.is_pending()


@pytest.mark.parametrize('moment', ['last step', 'validation'])
def test_a_run_without_a_step_left_is_begun_and_ended_in_a_new_folder_as_well(
    moment, write_config, tool, tmp_path, monkeypatch, capsys
):
    config = write_config(tmp_path, 'train_cfg = dict(max_epochs=1)\n')

    def run_iter(loop, number, batch, original=ResumableTrainLoop.run_iter):
        original(loop, number, batch)
        if number + 1 == len(loop.dataloader):
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        if moment == 'last step':
            patch.setattr(ResumableTrainLoop, 'run_iter', run_iter)
        else:
            patch.setattr(ProgressHook, 'after_val_iter', lambda *_, **__: signal.raise_signal(signal.SIGTERM))
        assert tool('train', config, '--work-dir', tmp_path / 'run') == 143
    [left] = (tmp_path / 'run').glob('iter_*.pth')
    assert tool('train', config, '--work-dir', tmp_path / 'new', '--resume', left) == 0
    assert {'config.py', 'command.txt', 'metrics.json', 'epoch_1.pth'} <= {p.name for p in (tmp_path / 'new').iterdir()}

    # In its own folder: the checkpoint of the interruption is gone once the epoch is written.
    monkeypatch.setattr(run_pictures, 'draw_run', lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--resume', pictures=True) == 143
    assert 'epoch_1.pth is saved' in capsys.readouterr().err and not left.exists()


def test_a_signal_before_the_first_step_says_that_nothing_is_saved(write_config, tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        ResumableTrainLoop, 'run_epoch', lambda *_: signal.raise_signal(signal.SIGINT) or signals.check()
    )
    assert tool('train', write_config(tmp_path), '--work-dir', tmp_path / 'new') == 130
    assert 'nothing was saved yet; the same command starts again' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()


def test_what_a_device_has_not_told_yet_is_asked_before_a_run_is_left(write_config, tool, tmp_path, monkeypatch, capfd):
    run_iter, step = ResumableTrainLoop.run_iter, NanGuardOptimWrapper.step

    def and_a_signal_comes(loop, number, batch):
        run_iter(loop, number, batch)
        if loop._iter == 2:
            signal.raise_signal(signal.SIGTERM)

    def with_a_bad_gradient(wrapper, **kwargs):
        wrapper.optimizer.param_groups[0]['params'][0].grad.fill_(torch.nan)
        step(wrapper, **kwargs)

    monkeypatch.setattr(ResumableTrainLoop, 'run_iter', and_a_signal_comes)
    monkeypatch.setattr(NanGuardOptimWrapper, 'step', with_a_bad_gradient)
    monkeypatch.setattr(NanGuardOptimWrapper, '_checks_at_once', False)
    config = write_config(tmp_path, 'optim_wrapper = dict(optimizer=dict(fused=True))\n')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 6
    assert 'finishing the step' in capfd.readouterr().err  # the signal has come
    assert not list((tmp_path / 'run').glob('*.pth'))


def test_a_damaged_file_in_the_place_of_an_epoch_is_not_taken_for_it(trained_run, tool, tmp_path, monkeypatch, capsys):
    config, folder = trained_run[0], shutil.copytree(trained_run[1], tmp_path / 'run')
    (folder / 'epoch_2.pth').write_bytes(b'damaged')
    for path in folder.glob('best_*_epoch_2.pth*'):
        path.unlink()
    validate = ResumableTrainLoop._validate

    def and_a_signal_comes(loop):
        signal.raise_signal(signal.SIGTERM)
        return validate(loop)

    with monkeypatch.context() as patch:
        patch.setattr(ResumableTrainLoop, '_validate', and_a_signal_comes)
        assert tool('train', config, '--work-dir', folder, '--resume') == 143
    assert 'iter_' in capsys.readouterr().err.splitlines()[-1]
    assert tool('train', config, '--work-dir', folder, '--resume') == 0
