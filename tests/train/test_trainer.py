"""Whole trainings: what they leave, and how they are resumed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from flowercls.config.resolve import Flags
from flowercls.core.errors import ConfigError, DataError
from flowercls.evaluate.predictions import Predictions
from flowercls.evaluate.scalars import read_epochs
from flowercls.models import checkpoint_reader
from flowercls.train import checkpoint, runner
from flowercls.train.run_config import resolve_for_run


def test_a_ready_config_is_settled_for_this_machine(write_config, tmp_path, drawn_root):
    cfg = resolve_for_run(write_config(tmp_path, "model = dict(precision='auto')\n"), (), Flags())
    assert cfg.model.precision in ('fp32', 'bf16') and cfg.model.channels_last is True
    assert cfg.train_dataloader.pin_memory is torch.cuda.is_available() and len(cfg.data_manifest) == 64
    assert cfg.model.head.num_classes == 5
    assert cfg.train_dataloader.dataset.data_root == str(drawn_root)


def test_there_are_no_more_loader_workers_than_cores(write_config, tmp_path, monkeypatch):
    monkeypatch.setattr('flowercls.config.resolve.usable_cpus', lambda: 3)
    config = write_config(tmp_path, 'train_dataloader = dict(num_workers=8)\nval_dataloader = dict(num_workers=1)\n')
    cfg = resolve_for_run(config, (), Flags())
    assert (cfg.train_dataloader.num_workers, cfg.val_dataloader.num_workers) == (3, 1)


def test_flags_change_the_config(write_config, tmp_path):
    flags = Flags(amp=True, no_validate=True, auto_scale_lr=True, deterministic=True)
    cfg = resolve_for_run(write_config(tmp_path), (), flags)
    assert cfg.model.precision == 'bf16' and cfg.auto_scale_lr.enable and cfg.randomness.deterministic
    assert cfg.val_dataloader is cfg.val_cfg is cfg.val_evaluator is cfg.default_hooks.checkpoint.save_best is None


def test_scaling_the_rate_needs_to_know_for_which_batch_it_is(write_config, tmp_path):
    config = write_config(tmp_path, 'auto_scale_lr = None\n')
    with pytest.raises(ConfigError, match='--auto-scale-lr.*base_batch_size'):
        resolve_for_run(config, (), Flags(auto_scale_lr=True))


def test_the_demos_flowers_are_drawn_once(write_config, tmp_path, capsys):
    config = write_config(tmp_path, 'drawn = dict(num_per_class=5, image_size=32)\n', data_root=tmp_path / 'drawn_new')
    resolve_for_run(config, (), Flags())
    assert 'drawing flowers' in capsys.readouterr().out
    before = (tmp_path / 'drawn_new' / 'manifest.json').stat().st_mtime_ns
    resolve_for_run(config, (), Flags())
    assert 'drawing flowers' not in capsys.readouterr().out
    assert (tmp_path / 'drawn_new' / 'manifest.json').stat().st_mtime_ns == before


def test_no_flowers_are_drawn_in_place_of_photos(write_config, tmp_path):
    config = write_config(tmp_path, data_root=tmp_path / 'my_phtos')
    with pytest.raises(DataError, match='my_phtos: no such folder'):
        resolve_for_run(config, (), Flags())
    assert not (tmp_path / 'my_phtos').exists()


@pytest.mark.parametrize('drawn', ['num_per_class=6', 'image_size=40', 'seed=1', 'val_ratio=0.4'])
def test_flowers_drawn_with_other_values_are_not_taken(write_config, tmp_path, drawn):
    new = tmp_path / 'drawn_new'
    config = write_config(tmp_path, 'drawn = dict(num_per_class=5, image_size=32)\n', data_root=new)
    resolve_for_run(config, (), Flags())
    # The same values, written out or left to their defaults, are the same flowers.
    resolve_for_run(config, ['drawn.seed=0', 'drawn.val_ratio=0.2'], Flags())
    with pytest.raises(ConfigError) as caught:
        resolve_for_run(config, [f'drawn.{drawn}'], Flags())
    key, message = drawn.partition('=')[0], str(caught.value)
    assert f'data_root {new}: its flowers were drawn with {key}=' in message
    assert f'the config asks for drawn.{drawn}. Fix: set those values in the config, or name another' in message


def test_real_photos_are_not_measured_by_what_the_config_would_draw(write_config, tmp_path, drawn_root):
    config = write_config(tmp_path, 'drawn = dict(num_per_class=7)\n')
    assert resolve_for_run(config, (), Flags()).data_root == str(drawn_root)


def test_every_process_learns_where_one_of_them_drew(write_config, tmp_path, drawn_root, monkeypatch):
    import flowercls.core.distributed as distributed

    config = write_config(tmp_path, data_root=tmp_path / 'missing')
    monkeypatch.setattr(distributed, 'join', lambda cfg: None)
    # As in all processes but the first.
    monkeypatch.setattr(distributed, 'on_main_process', lambda function: str(drawn_root))
    cfg = resolve_for_run(config, (), Flags(launcher='pytorch'), drawn_folder=str(tmp_path / 'mine'))
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root == str(drawn_root)


@pytest.mark.parametrize(
    ('variable', 'world_size', 'expected'),
    [(None, 1, 6), ('2', 1, 2), ('1', 1, 1), ('1', 2, 3), ('2', 2, 2), ('4,2', 1, 4), ('many', 1, 6)],
)
def test_the_user_chooses_the_threads_else_processes_share_the_cores(monkeypatch, variable, world_size, expected):
    numbers = []
    monkeypatch.setattr(torch, 'set_num_threads', numbers.append)
    monkeypatch.setattr(runner, 'usable_cpus', lambda: 6)
    monkeypatch.setattr(runner, 'get_world_size', lambda: world_size)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if variable is not None:
        monkeypatch.setenv('OMP_NUM_THREADS', variable)
    runner.set_num_threads()
    assert numbers == [expected]


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def same_weights(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def leaves(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


@pytest.fixture(scope='module')
def staged_run(tmp_path_factory, write_config, tool):
    """A finished run of two epochs with rates of their own for some stages, and every class equally often."""
    folder = tmp_path_factory.mktemp('staged')
    rates = 'optim_wrapper = dict(paramwise_cfg=dict(stage_lr_mult=dict(stem=0.1, stage2=0.5, classifier=2)))\n'
    config = write_config(
        folder, f'{rates}train_dataloader = dict(batch_size=8, num_workers=0, sampler=dict(balanced=True))\n'
    )
    assert tool('train', config, '--work-dir', folder / 'run') == 0
    return config, folder / 'run'


@pytest.fixture(scope='module')
def averaged_run(tmp_path_factory, write_config, tool):
    """Like `trained_run`, with an average of the weights and new norm statistics each epoch."""
    folder = tmp_path_factory.mktemp('averaged')
    hooks = [dict(type='EMAHook', momentum=0.3, update_buffers=True), dict(type='NormStatisticsHook')]
    config = write_config(folder, f'custom_hooks = {hooks}\n')
    assert tool('train', config, '--work-dir', folder / 'run') == 0
    return config, folder / 'run'


def test_run_folder_holds_what_was_agreed(trained_run):
    config, folder = trained_run
    names = {path.name for path in folder.iterdir()}
    best = json.loads((folder / 'metrics.json').read_text())['checkpoint']
    assert {'config.py', 'source_tiny_flower.py', 'scalars.json', 'curves.png', 'metrics.json', 'predictions_val.csv',
            'mistakes.csv', 'mistakes.png', 'confusion.png', 'reliability.png', 'epoch_1.pth', 'epoch_2.pth',
            'last_checkpoint', best} <= names  # fmt: skip
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


def test_the_same_command_gives_the_same_bits_whatever_the_number_of_workers(trained_run, tool, tmp_path, write_config):
    config, folder = trained_run
    again = tmp_path / 'again'
    assert tool('train', config, '--work-dir', again, '--cfg-options', 'train_dataloader.num_workers=2') == 0
    assert same_weights(folder / 'epoch_2.pth', again / 'epoch_2.pth')
    assert (folder / 'predictions_val.csv').read_bytes() == (again / 'predictions_val.csv').read_bytes()
    other = tmp_path / 'other'
    assert tool('train', config, '--work-dir', other, '--cfg-options', 'randomness.seed=1') == 0
    assert not same_weights(folder / 'epoch_2.pth', other / 'epoch_2.pth')


@pytest.mark.parametrize('run', ['trained_run', 'averaged_run', 'staged_run'])
def test_a_resumed_run_ends_with_the_same_bits(run, request, tool, tmp_path, capsys):
    config, folder = request.getfixturevalue(run)
    resumed = shutil.copytree(folder, tmp_path / 'resumed')
    for path in [*resumed.glob('epoch_2.pth*'), *resumed.glob('best_*_epoch_2.pth*')]:
        path.unlink()
    for name in ('metrics.json', 'predictions_val.csv', 'last_checkpoint'):
        (resumed / name).unlink()
    assert tool('train', config, '--work-dir', resumed, '--resume') == 0
    assert 'resumed from epoch_1.pth' in capsys.readouterr().out
    assert same_weights(folder / 'epoch_2.pth', resumed / 'epoch_2.pth')
    before = torch.load(folder / 'epoch_2.pth', weights_only=True)
    after = torch.load(resumed / 'epoch_2.pth', weights_only=True)
    for part in ('optimizer', *(['ema_state_dict'] if run == 'averaged_run' else [])):
        pairs = zip(leaves(before[part]), leaves(after[part]), strict=True)
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs if a is not None)
    assert before['run_state'] == after['run_state']
    assert json.loads((folder / 'metrics.json').read_text()) == json.loads((resumed / 'metrics.json').read_text())


def test_a_resumed_checkpoint_is_hashed_and_read_once(trained_run, tool, tmp_path, monkeypatch):
    config, folder = trained_run
    resumed = shutil.copytree(folder, tmp_path / 'resumed', ignore=shutil.ignore_patterns('*epoch_2.pth*'))
    (resumed / 'best_accuracy_top1_epoch_1.pth').unlink(missing_ok=True)
    calls = []
    for module, name in ((checkpoint_reader, 'sha256_of'), (torch, 'load')):
        original = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, n=name, f=original, **kw: calls.append((n, Path(a[0]).name)) or f(*a, **kw)
        )
    assert tool('train', config, '--work-dir', resumed, '--resume', '--no-pictures') == 0
    assert calls == [('sha256_of', 'epoch_1.pth'), ('load', 'epoch_1.pth')]


def test_resuming_a_finished_run_trains_nothing_and_reports_again(trained_run, tool, tmp_path, capsys):
    config, folder = trained_run
    finished = shutil.copytree(folder, tmp_path / 'finished')
    before = (finished / 'epoch_2.pth').stat().st_mtime_ns
    assert tool('train', config, '--work-dir', finished, '--cfg-options', 'resume=True') == 0  # the same as --resume
    assert (finished / 'epoch_2.pth').stat().st_mtime_ns == before
    assert 'best_accuracy_top1_epoch_' in capsys.readouterr().out
    assert tool('train', config, '--work-dir', tmp_path / 'new', '--resume', finished / 'epoch_2.pth') == 2
    assert 'larger train_cfg.max_epochs' in capsys.readouterr().err and not (tmp_path / 'new').exists()


def test_a_resumed_run_writes_missing_results_with_the_averaged_weights(averaged_run, tool, tmp_path):
    config, folder = averaged_run
    interrupted = shutil.copytree(folder, tmp_path / 'interrupted')
    (interrupted / 'metrics.json').unlink()
    assert tool('train', config, '--work-dir', interrupted, '--resume') == 0
    assert json.loads((interrupted / 'metrics.json').read_text()) == json.loads((folder / 'metrics.json').read_text())


def test_the_best_epoch_is_found_again_after_a_kill_before_it_was_named(
    write_config, tool, tmp_path, capsys, monkeypatch
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
    assert 'resume = False' in (run / 'config.py').read_text()
    assert json.loads((run / 'metrics.json').read_text())['checkpoint'] == 'best_accuracy_top1_epoch_1.pth'
    assert same_weights(run / 'epoch_1.pth', run / 'best_accuracy_top1_epoch_1.pth')


def test_resuming_with_another_rate_is_refused(trained_run, tool, tmp_path, capsys):
    config, folder = trained_run
    copy = shutil.copytree(folder, tmp_path / 'copy')
    arguments = (config, '--work-dir', copy, '--resume', '--cfg-options', 'optim_wrapper.optimizer.lr=0.5')
    assert tool('train', *arguments) == 2
    assert 'optim_wrapper.optimizer.lr: 0.05 -> 0.5' in capsys.readouterr().err


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


def test_frozen_stages_do_not_move_in_a_whole_run(write_config, tool, tmp_path):
    config = write_config(tmp_path)
    for name, epochs in (('one', 1), ('two', 2)):
        options = ('--cfg-options', 'model.frozen_stages=3', f'train_cfg.max_epochs={epochs}')
        assert tool('train', config, '--work-dir', tmp_path / name, *options) == 0
    one, two = weights(tmp_path / 'one' / 'epoch_1.pth'), weights(tmp_path / 'two' / 'epoch_2.pth')
    frozen = {key for key in one if key.split('.')[1] in ('conv1', 'bn1', 'layer1', 'layer2', 'layer3')}
    assert all(torch.equal(one[key], two[key]) for key in frozen) and len(frozen) > 50
    assert all(not torch.equal(one[key], two[key]) for key in one if key.startswith('head.'))


def test_going_on_from_an_earlier_epoch_needs_and_gets_a_folder_of_its_own(trained_run, tool, tmp_path, capsys):
    config, folder = trained_run
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != '.lock'}
    assert tool('train', config, '--resume', folder / 'epoch_1.pth') == 2
    assert 'would write over it' in capsys.readouterr().err
    assert tool('train', config, '--resume', folder / 'epoch_1.pth', '--work-dir', tmp_path / 'branch') == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != '.lock'} == before
    assert same_weights(folder / 'epoch_2.pth', tmp_path / 'branch' / 'epoch_2.pth')
    assert json.loads((tmp_path / 'branch' / 'metrics.json').read_text())['epoch'] == 2


def test_a_file_of_weights_only_cannot_be_resumed(trained_run, tool, tmp_path, capsys):
    config, folder = trained_run
    torch.save({'state_dict': weights(folder / 'epoch_2.pth')}, tmp_path / 'epoch_2.pth')
    shutil.copy(folder / 'config.py', tmp_path)
    assert tool('train', config, '--resume', tmp_path / 'epoch_2.pth', '--allow-config-change') == 4
    assert 'has no meta, optimizer' in capsys.readouterr().err


def test_a_diverged_run_ends_with_its_own_code_and_saves_nothing(write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path, 'param_scheduler = []\n')
    option = 'optim_wrapper.optimizer.lr=1e30'
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--cfg-options', option) == 6
    assert 'lower learning rate' in capsys.readouterr().err
    assert not list((tmp_path / 'run').glob('*.pth')) and not (tmp_path / 'run' / 'metrics.json').exists()


def test_without_hooks_of_ours_a_run_still_ends_well(write_config, tool, tmp_path, capsys):
    config, run = write_config(tmp_path, 'train_cfg = dict(max_epochs=1)\n'), tmp_path / 'run'
    options = ('--cfg-options', 'default_hooks.results=None', 'default_hooks.checkpoint=None')
    assert tool('train', config, '--work-dir', run, *options) == 0
    out = capsys.readouterr().out
    assert 'epoch 1/1  val loss' in out and 'checkpoint  none' in out and 'epoch_1.pth' not in out


def test_averaged_weights_are_what_is_saved_and_tested(averaged_run, tool, tmp_path):
    config, run = averaged_run
    best = json.loads((run / 'metrics.json').read_text())['checkpoint']
    assert 'ema_state_dict' in torch.load(run / best, weights_only=True)
    torch.save(weights(run / best), tmp_path / 'raw.pth')
    for path in (run / best, tmp_path / 'raw.pth'):
        assert tool('test', config, path, '--work-dir', tmp_path) == 0
        tested = json.loads((tmp_path / f'test_{path.stem}' / 'metrics.json').read_text())
        assert tested['nll'] == json.loads((run / 'metrics.json').read_text())['nll']


def test_another_model_is_refused_before_an_average_is_loaded(trained_run, averaged_run, tool, tmp_path, capsys):
    options = ('--work-dir', tmp_path, '--cfg-options', 'model.backbone.depth=34')
    assert tool('test', averaged_run[0], trained_run[1] / 'epoch_2.pth', *options) == 4
    said = capsys.readouterr()
    assert 'another model' in said.err and len(said.out + said.err) < 1000  # no list of all keys before it


def test_a_metric_that_does_not_exist_costs_no_epoch(write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path)
    option = 'default_hooks.checkpoint.save_best=accuracy/top_1'
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--cfg-options', option) == 2
    assert 'accuracy/top1' in capsys.readouterr().err
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()
