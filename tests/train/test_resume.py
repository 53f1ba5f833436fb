"""A run goes on from a checkpoint: which one, with the same bits, and with all that a kill left out."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from flowercls.models import checkpoint_reader
from flowercls.train import checkpoint
from flowercls.train.loop import ResumableTrainLoop
from flowercls.train.resume import FromCheckpoint

# Averaged weights, new norm statistics, rates of stages, as many photos of each class; the best is not the last epoch.
CONFIG = """
optim_wrapper = dict(paramwise_cfg=dict(stage_lr_mult=dict(stem=0.1, stage2=0.5, classifier=2)))
train_dataloader['sampler'] = dict(balanced=True)
custom_hooks = [
    dict(type='EMAHook', momentum=0.3, update_buffers=True),
    dict(type='NormStatisticsHook'),
]
default_hooks['checkpoint'] = dict(rule='less')
"""


TABLES = ('predictions_val.csv', 'predictions_val_last.csv')


@pytest.fixture(scope='module')
def averaged_run(tmp_path_factory, write_config, tool):
    """A finished run of two epochs with all that a resumed run has to restore: (config file, run folder)."""
    folder = tmp_path_factory.mktemp('averaged')
    config = write_config(folder, CONFIG)
    assert tool('train', config, '--work-dir', folder / 'run') == 0
    return config, folder / 'run'


@pytest.fixture
def after_one_epoch(trained_run, tmp_path):
    """A copy of the finished run without all that came after its first epoch."""
    left_out = ('*epoch_2.pth*', 'best_*', 'metrics.json', 'mistakes.csv', 'predictions_val*', 'last_checkpoint')
    return shutil.copytree(trained_run[1], tmp_path / 'resumed', ignore=shutil.ignore_patterns(*left_out))


def metrics_of(run):
    return json.loads((run / 'metrics.json').read_text())


def times_of(run):
    return {path: path.stat().st_mtime_ns for path in run.iterdir() if path.name != '.lock'}


def leaves(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def test_a_resumed_run_ends_with_the_same_bits(averaged_run, tool, tmp_path, capsys):
    config, folder = averaged_run
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--resume', folder / 'epoch_1.pth') == 0
    assert 'resumed from' in capsys.readouterr().out
    before, after = (torch.load(run / 'epoch_2.pth', weights_only=True) for run in (folder, tmp_path / 'run'))
    for part in ('state_dict', 'optimizer', 'ema_state_dict'):
        pairs = zip(leaves(before[part]), leaves(after[part]), strict=True)
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs if a is not None)


def test_a_resumed_checkpoint_is_hashed_and_read_once(
    trained_run, after_one_epoch, tool, tmp_path, monkeypatch, same_weights
):
    calls = []
    for module, name in ((checkpoint_reader, 'sha256_of'), (torch, 'load')):
        original = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, n=name, f=original, **kw: calls.append((n, Path(a[0]).name)) or f(*a, **kw)
        )
    assert tool('train', trained_run[0], '--work-dir', after_one_epoch, '--resume') == 0
    assert calls == [('sha256_of', 'epoch_1.pth'), ('load', 'epoch_1.pth')]
    assert metrics_of(after_one_epoch) == metrics_of(trained_run[1])
    states = [torch.load(run / 'epoch_2.pth', weights_only=True) for run in (trained_run[1], after_one_epoch)]
    assert states[0]['run_state'] == states[1]['run_state']
    assert same_weights(after_one_epoch / 'epoch_2.pth', trained_run[1] / 'epoch_2.pth')


def test_the_order_of_photos_follows_the_seed_of_the_checkpoint(trained_run, build):
    runner = build(overrides=['randomness.seed=1'])
    runner.prepare(FromCheckpoint(trained_run[1] / 'epoch_1.pth'))
    assert runner.seed == runner.train_dataloader.sampler.seed == 0


def test_the_last_predictions_are_never_those_of_an_earlier_end(
    trained_run, after_one_epoch, tool, monkeypatch, tmp_path
):
    class Killed(BaseException):
        pass

    def kill(*args):
        raise Killed

    table = after_one_epoch / TABLES[1]
    table.write_text('of a run that ended after one epoch')
    start = ('train', trained_run[0], '--work-dir', after_one_epoch, '--resume', '--no-pictures')
    with monkeypatch.context() as killed, pytest.raises(Killed):
        killed.setattr(checkpoint, 'write_last_predictions', kill)
        tool(*start)
    assert (after_one_epoch / 'epoch_2.pth').is_file() and not table.exists()
    assert tool(*start) == 0
    assert table.read_bytes() == (trained_run[1] / TABLES[1]).read_bytes()


@pytest.mark.parametrize(
    ('change', 'code'),
    [
        ('batch_size=16', 2),
        ('sampler.balanced=True', 2),
        ('dataset.ann_file=val.txt dataset.data_prefix=val_set', 2),
        ('dataset.pipeline.1.transforms.1.p=0', 0),
    ],
)
def test_in_the_middle_of_an_epoch_the_order_of_photos_stays(trained_run, tool, tmp_path, said, change, code):
    content = torch.load(trained_run[1] / 'epoch_1.pth', weights_only=True)
    content['meta'].update(iter=9, batch_in_epoch=3)
    torch.save(content, tmp_path / 'iter_9.pth')
    shutil.copy(trained_run[1] / 'config.py', tmp_path)
    start = ('train', trained_run[0], '--resume', tmp_path / 'iter_9.pth', '--work-dir', tmp_path / 'run')
    options = [f'train_dataloader.{option}' for option in change.split()]
    assert tool(*start, '--allow-config-change', '--cfg-options', *options) == code
    assert ('iter_9.pth: is in the middle of an epoch' in said()) == (code == 2)


def test_resuming_a_finished_run_trains_nothing_and_reports_again(trained_run, tool, tmp_path, said):
    config, folder = trained_run
    finished = shutil.copytree(folder, tmp_path / 'finished')
    before = (finished / 'epoch_2.pth').stat().st_mtime_ns
    assert tool('train', config, '--work-dir', finished, '--cfg-options', 'resume=True') == 0  # the same as --resume
    assert (finished / 'epoch_2.pth').stat().st_mtime_ns == before
    assert 'best_accuracy_top1_epoch_' in said()
    assert tool('train', config, '--work-dir', tmp_path / 'new', '--resume', finished / 'epoch_2.pth') == 2
    assert 'larger train_cfg.max_epochs' in said() and not (tmp_path / 'new').exists()


def test_missing_results_are_made_with_the_averaged_weights_and_do_not_move_the_run(averaged_run, tool, tmp_path, said):
    config, folder = averaged_run
    interrupted = shutil.copytree(folder, tmp_path / 'interrupted')
    for name in ('metrics.json', *TABLES):
        (interrupted / name).unlink()
    assert tool('train', config, '--work-dir', interrupted, '--resume') == 0
    assert metrics_of(interrupted) == metrics_of(folder) and metrics_of(folder)['epoch'] == 1
    best, last = ((folder / name).read_bytes() for name in TABLES)
    assert [(interrupted / name).read_bytes() for name in TABLES] == [best, last] and best != last
    assert 'at epoch 1 of 2' in (out := said()) and 'for 0 epochs' in out and 'stopped' not in out


def test_averaged_weights_are_what_is_saved_and_tested(averaged_run, tool, tmp_path, weights):
    config, run = averaged_run
    best = run / metrics_of(run)['checkpoint']
    assert 'ema_state_dict' in torch.load(best, weights_only=True)
    torch.save(weights(best), tmp_path / 'raw.pth')
    assert tool('test', config, tmp_path / 'raw.pth', '--work-dir', tmp_path) == 0
    assert metrics_of(tmp_path / 'test_raw')['nll'] == metrics_of(run)['nll']


def test_another_model_is_refused_before_an_average_is_loaded(trained_run, averaged_run, tool, tmp_path, said):
    options = ('--work-dir', tmp_path, '--cfg-options', 'model.backbone.depth=34')
    assert tool('test', averaged_run[0], trained_run[1] / 'epoch_2.pth', *options) == 4
    assert 'another model' in (out := said()) and len(out) < 1000  # no list of all keys before it


def test_the_best_epoch_is_found_again_after_a_kill_before_it_was_named(
    write_config, tool, tmp_path, monkeypatch, same_weights
):
    config, run = write_config(tmp_path, 'train_cfg = dict(max_epochs=1)\n'), tmp_path / 'run'

    class Killed(BaseException):
        pass

    def kill(*args):
        raise Killed

    with monkeypatch.context() as killed, pytest.raises(Killed):
        killed.setattr(checkpoint, 'link_checkpoint', kill)
        tool('train', config, '--work-dir', run)
    assert (run / 'epoch_1.pth').is_file() and not list(run.glob('best_*'))
    assert tool('train', config, '--work-dir', run, '--cfg-options', 'resume=True') == 0
    assert Config.fromfile(run / 'config.py').resume is False
    assert metrics_of(run)['checkpoint'] == 'best_accuracy_top1_epoch_1.pth'
    assert same_weights(run / 'epoch_1.pth', run / 'best_accuracy_top1_epoch_1.pth')


def test_going_on_from_an_earlier_epoch_needs_and_gets_a_folder_of_its_own(
    trained_run, tool, tmp_path, said, same_weights
):
    config, folder = trained_run
    before, earlier = times_of(folder), folder / 'epoch_1.pth'
    assert tool('train', config, '--resume', earlier) == 2
    assert 'would write over it' in said()
    assert tool('train', config, '--resume', earlier, '--work-dir', tmp_path / 'branch') == 0
    assert times_of(folder) == before
    assert same_weights(folder / 'epoch_2.pth', tmp_path / 'branch' / 'epoch_2.pth')
    assert metrics_of(tmp_path / 'branch')['epoch'] == 2


def test_a_file_of_weights_only_cannot_be_resumed(trained_run, tool, tmp_path, said, weights):
    config, folder = trained_run
    torch.save({'state_dict': weights(folder / 'epoch_2.pth')}, tmp_path / 'epoch_2.pth')
    shutil.copy(folder / 'config.py', tmp_path)
    assert tool('train', config, '--resume', tmp_path / 'epoch_2.pth', '--allow-config-change') == 4
    assert 'has no meta, optimizer' in said()


def test_a_signal_while_a_checkpoint_is_read_saves_nothing_of_it(trained_run, tool, tmp_path, monkeypatch, said):
    monkeypatch.setattr(ResumableTrainLoop, 'resume', lambda *_: signal.raise_signal(signal.SIGTERM))
    first = trained_run[1] / 'epoch_1.pth'
    assert tool('train', trained_run[0], '--work-dir', tmp_path / 'new', '--resume', first) == 143
    assert 'epoch_1.pth is saved' in said() and not (tmp_path / 'new').exists()


def test_a_dry_run_checks_what_would_be_resumed(trained_run, tool, said):
    config, folder = trained_run
    before = times_of(folder)
    options = ('train', config, '--work-dir', folder, '--dry-run', '--resume')
    assert tool(*options) == 0 and 'resumed from epoch_2.pth' in said()
    assert tool(*options, '--cfg-options', 'optim_wrapper.optimizer.lr=0.5') == 2
    assert 'optim_wrapper.optimizer.lr: 0.05 -> 0.5' in said()
    # The checkpoint has to fit; starting weights are not wanted.
    deeper = ('model.backbone.depth=34', 'load_from=gone.pth')
    assert tool(*options, '--allow-config-change', '--cfg-options', *deeper) == 4
    assert 'epoch_2.pth: is of another model' in said()
    assert times_of(folder) == before
