"""The command ``train`` as a user meets it, the help of all, and what a mistake is answered with."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from flowercls.commands.train import describe_result
from flowercls.core.errors import DivergedError
from flowercls.evaluate.optimism import best_epoch_optimism
from flowercls.train.trainer import TrainResult
from helpers.run_folders import write_run

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize('name', ['prepare_data', 'train', 'test', 'sweep', 'compare', 'report'])
def test_help_loads_nothing_heavy_and_shows_examples(name):
    script = f'import sys, runpy; sys.argv = ["{name}.py", "--help"]\n'
    script += f'try: runpy.run_path({str(REPOSITORY / "tools" / name)!r} + ".py", run_name="__main__")\n'
    script += 'except SystemExit: print([m for m in ("torch", "mmengine", "numpy") if m in sys.modules])'
    out = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout
    assert f'python tools/{name}.py' in out and out.strip().endswith('[]')


def test_every_mistake_in_a_config_is_reported_at_once(write_config, tool, tmp_path, said):
    config = write_config(tmp_path, 'optim_wraper = dict(a=1)\nmodel = dict(frozen_stages=7)\n')
    assert tool('train', config, '--cfg-options', 'train_cfg.max_epoch=3') == 2
    error = said()
    for word in ('optim_wraper', "'optim_wrapper'", 'frozen_stages', 'max_epoch', 'max_epochs'):
        assert word in error


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('model.backbone.type=ResNett', ("'ResNett'", 'ResNet')),
        ('model.backbone.depht=18', ('depht', 'depth')),
        ('model.backbone.frozen_stages=2', ('model.backbone.frozen_stages', 'model.frozen_stages')),
        ('optim_wrapper.optimizer.momentun=0.9', ('momentun', 'momentum')),
        ('train_dataloader.batch_size=0', ('batch_size', '0')),
        ('default_hooks.checkpoint.intervall=1', ('intervall', 'interval')),
        ('default_hooks.checkpoint.interval=0', ('interval', 'at least 1')),
        ('model.backbone.depth=17', ('model:', '17')),
        ('model.head.in_channels=50', ('model:', 'Fix')),
        ('model.head.topk=a', ('topk', "'a'")),
        ('optim_wrapper.optimizer.momentum=-1', ('optim_wrapper', 'momentum')),
        ('param_scheduler.0.start_factor=5', ('param_scheduler', 'between 0 and 1')),
        ('train_cfg.by_epoch=False', ('train_cfg', 'max_epochs')),
        ('train_dataloader.dataset.pipeline.1.transforms.0.size=0', ('train_dataloader.dataset', 'Fix')),
        ('val_dataloader.dataset.pipeline.1.transforms.0.size=0', ('val_dataloader.dataset', 'Fix')),
        ('train_dataloader.num_workers=-1', ('train_dataloader.num_workers',)),
        ('train_cfg.max_epochs=0', ('train_cfg.max_epochs',)),
        *[(f'optim_wrapper.optimizer.lr={value}', ('optim_wrapper.optimizer.lr',)) for value in (-0.1, 'nan', 'fast')],
        ('model.frozen_stages=99', ('model.frozen_stages',)),
        ('model.head.loss.label_smooth_val=7', ('label_smooth_val',)),
        ('model.backbone.depth=deep', ('depth', "'deep'")),
        ('model.backbone.norm_eval=maybe', ('model.backbone.norm_eval',)),
        ('param_scheduler.1.eta_min_ratio=7', ('param_scheduler.1.eta_min_ratio',)),
        ('param_scheduler.1.by_epoch=sometimes', ('param_scheduler.1.by_epoch',)),
        ('train_dataloader.dataset.pipeline.1.transforms.1.p=-0.5', ('RandomHorizontalFlip',)),
        ('env_cfg.dist_cfg.backnd=gloo', ("'backnd' in env_cfg.dist_cfg", "'backend'")),
        ('randomnes.seed=1', ("did you mean 'randomness",)),
        ('custom_hooks.0.momentum=3', ('EMAHook', 'momentum')),
        ('custom_hooks.0.begin_epoch=9', ('EMAHook', 'begin_epoch: 9')),
        ('custom_hooks.0.begin_epoch=-1', ('custom_hooks', 'begin_epoch: -1')),
    ],
)
def test_a_wrong_name_or_value_is_a_config_error(write_config, tool, tmp_path, said, option, words):
    smoothed = "model = dict(head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1)))\n"
    averaged = "custom_hooks = [dict(type='EMAHook', momentum=0.1)]\n"
    config = write_config(tmp_path, averaged + smoothed * ('label_smooth_val' in option))
    for mode in (['--dry-run'], ['--work-dir', tmp_path / 'run']):
        assert tool('train', config, *mode, '--cfg-options', option) == 2
        error = said()
        assert all(word in error for word in words), error
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('words', [['--epochs', '3'], ['epochs=3']])
def test_keys_of_other_tools_lead_to_cfg_options(tool, said, words):
    with pytest.raises(SystemExit, match='2'):
        tool('train', 'my.py', *words)
    assert f'unrecognized arguments: {" ".join(words)}. Fix: ' in (error := said())
    assert '--cfg-options train_cfg.max_epochs=10' in error


def test_a_missing_config_names_the_nearest_one(tool, said):
    assert tool('train', REPOSITORY / 'configs' / 'resnet5_flower.py') == 2
    assert 'resnet50_flower.py' in said()


def test_missing_data_says_how_to_prepare_it(write_config, tool, tmp_path, said):
    config = write_config(tmp_path, "drawn = None\ndata_root = 'nowhere/flower'\n")
    assert tool('train', config) == 3
    assert 'python tools/prepare_data.py RAW_DIR nowhere/flower' in said()


def test_missing_weights_say_which_file_to_put_where(write_config, tool, tmp_path, said, monkeypatch):
    monkeypatch.setenv('FLOWERCLS_WEIGHTS', str(tmp_path / 'weights'))
    config = write_config(tmp_path, "load_from = 'resnet18_gone-01234567.pth'\n")
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 4
    error = said()
    assert 'resnet18_gone-01234567.pth' in error and str(tmp_path / 'weights') in error
    assert not (tmp_path / 'run').exists()


def test_weights_of_another_architecture_are_refused_with_the_share(write_config, tool, tmp_path, said):
    torch.save({'state_dict': {'backbone.conv1.weight': torch.zeros(3, 3)}}, tmp_path / 'other.pth')
    config = write_config(tmp_path, f"load_from = '{tmp_path}/other.pth'\n")
    assert tool('train', config, '--dry-run') == 4
    assert '0.0 %' in said()


def test_a_run_that_could_not_begin_does_not_take_the_folder(write_config, tool, tmp_path, capsys):
    torch.save({'state_dict': {'backbone.conv1.weight': torch.zeros(3, 3)}}, tmp_path / 'other.pth')
    config = write_config(tmp_path, f"load_from = '{tmp_path}/other.pth'\n")
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 4
    options = ('--cfg-options', 'load_from=None', 'train_cfg.max_epochs=1')
    assert tool('train', config, '--work-dir', tmp_path / 'run', *options) == 0


def test_what_ended_a_run_is_told_even_if_its_curves_cannot_be_drawn(write_config, tool, tmp_path, said, monkeypatch):
    def stop(*args, **options):
        raise DivergedError('epoch 1: the loss is nan')

    monkeypatch.setattr('flowercls.train.runner.ClassifierRunner.train', stop)
    monkeypatch.setattr('flowercls.report.run_pictures.plot_curves', lambda *args: 1 / 0)
    assert tool('train', write_config(tmp_path), '--work-dir', tmp_path / 'run', pictures=True) == 6
    assert 'the loss is nan' in said() and not (tmp_path / 'run').exists()


def test_a_checkpoint_without_its_config_is_not_taken_for_a_run(trained_run, tool, tmp_path, said):
    config, folder = trained_run
    shutil.copy(folder / 'epoch_2.pth', tmp_path / 'epoch_2.pth')
    for options in (('--resume', tmp_path / 'epoch_2.pth'), ('--work-dir', tmp_path, '--resume')):
        assert tool('train', config, *options) == 2
        assert 'config.py is missing' in said()


def test_a_launcher_that_launched_nothing_is_named(write_config, tool, tmp_path, said):
    assert tool('train', write_config(tmp_path), '--launcher', 'pytorch') == 2
    assert 'torchrun' in said()


def test_a_label_out_of_range_is_named_with_its_line(write_config, tool, tmp_path, said, broken_data):
    (broken_data / 'val.txt').write_text((broken_data / 'val.txt').read_text().replace(' 4\n', ' 9\n', 1))
    assert tool('train', write_config(tmp_path, data_root=broken_data), '--work-dir', tmp_path / 'run') == 3
    assert 'label 9 is outside 0..4' in said()


def test_a_folder_that_holds_a_run_is_not_written_to(trained_run, tool, said):
    config, folder = trained_run
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    assert tool('train', config, '--work-dir', folder) == 2
    assert 'holds a run' in said()
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_the_last_block_tells_how_optimistic_the_best_is(tmp_path):
    run = write_run(tmp_path / 'run', range(40), num_photos=500)  # 92 %, after 91 %
    result = TrainResult(run, 2, 2, 1.0, 2, 2, run / 'best.pth', None, last_top1=92.0)
    lines = describe_result(result).splitlines()
    assert [line.split()[0] for line in lines[:3]] == ['best', 'optimism', 'last']
    assert f'about {best_epoch_optimism(run):.1f} points less on other photos' in lines[1]
    (run / 'scalars.json').write_text('{"accuracy/top1": 92.0, "step": 2}')
    assert 'optimism' not in describe_result(result)


def test_the_last_lines_are_ready_to_paste(tmp_path):
    run = write_run(tmp_path / 'a run', ())
    result = TrainResult(run, 2, 2, 1.0, 2, 2, run / 'best.pth', None, last_top1=92.0)
    lines = describe_result(result, run / 'report.html').splitlines()
    kinds = [line.split()[0] for line in lines]
    assert kinds[-3:] == ['next'] * 3 and 'next' not in kinds[:-3] and kinds.index('time') < kinds.index('checkpoint')
    assert lines[-3].startswith(f'next        {run}/report.html  ')
    commands = [shlex.split(line, comments=True)[1:] for line in lines[-2:]]
    assert [command[-2:] for command in commands] == [[str(run), 'PHOTOS'], ['--format', 'onnx']]
    assert lines[-4] == 'also there  metrics.json, predictions_val.csv, predictions_val_last.csv'
    no_page = shlex.split(describe_result(result).splitlines()[-3], comments=True)
    assert 'report' in no_page[-2] and no_page[-1] == str(run)
