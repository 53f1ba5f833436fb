"""How the processes of one run meet and part."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from flowercls.core import distributed
from flowercls.core.errors import ConfigError

REPOSITORY = Path(__file__).parent.parent.parent

ALONE = """
import atexit, torch.distributed as dist
from mmengine.config import Config
from torch import nn
from flowercls.core.distributed import join
from flowercls.train.runner import ClassifierRunner

atexit.register(lambda: print('still together:', dist.is_initialized()))  # runs last: handlers run in reverse order
join(cfg := Config(dict(launcher='pytorch', env_cfg=dict())))
print('together:', dist.is_initialized(), *cfg)
runner = ClassifierRunner.__new__(ClassifierRunner)
runner.cfg, runner._distributed = cfg, True
model = runner.wrap_model(None, nn.Linear(2, 2))
print(type(model).__name__, model.device_ids, model.broadcast_buffers)
"""

MENDING = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from mmengine.config import Config
from flowercls.train.checkpoint import RunState
from flowercls.train.resume import complete_results
from flowercls.core.distributed import join

join(Config(dict(launcher='pytorch', env_cfg=dict())))
if os.environ['RANK'] == '0':
    time.sleep(0.5)  # still writing, as only this process does
    Path(sys.argv[1], 'mistakes.csv').touch()
    Path(sys.argv[1], 'metrics.json').write_text('{"checkpoint": "best.pth"}')
writer = SimpleNamespace(state=RunState(best_checkpoint='best.pth'))
complete_results(SimpleNamespace(work_dir=sys.argv[1], epoch=1, checkpoints=writer))  # has nothing to evaluate with
"""

FREEZING = """
import torch, torch.distributed as dist
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
import flowercls.models.classifier
from flowercls.core.distributed import join
from flowercls.train.runner import ClassifierRunner
from flowercls.models.stages import PARTS

swin = dict(embed_dims=12, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8])
BACKBONES = [
    (dict(type='ResNet', depth=18, stem_channels=16, base_channels=16, drop_path_rate=0.5), 128),
    (dict(type='MobileNetV2', widen_factor=0.25), 1280),
    (dict(type='SwinTransformer', arch=swin, img_size=64, window_size=2, drop_path_rate=0.5), 96),
]
join(cfg := Config(dict(launcher='pytorch', env_cfg=dict())))
runner = ClassifierRunner.__new__(ClassifierRunner)
runner.cfg, runner._distributed = cfg, True

def train(backbone, channels):
    torch.manual_seed(dist.get_rank())  # other weights; all go on with those of the first process
    head = dict(type='LinearClsHead', num_classes=5, in_channels=channels)
    settings = dict(frozen_stages=2, precision='fp32', channels_last=False)
    parts = dict(backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
    model = MODELS.build(dict(type='StagedClassifier', **parts, **settings))
    wrapped = runner.wrap_model(None, model).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.01, momentum=0.9)
    for _ in range(3):
        images, samples = torch.randn(4, 3, 64, 64), [DataSample().set_gt_label(label) for label in range(4)]
        optimizer.zero_grad()
        wrapped(images, samples, mode='loss')['loss'].backward()  # other photos and other drop-path in each process
        optimizer.step()
    return model, {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}

for backbone, channels in BACKBONES:
    model, moved = train(backbone, channels)
    frozen = [module for part in PARTS[:3] for module in model.stages.modules_of(part).values()]
    frozen = {id(tensor) for module in frozen for tensor in (*module.parameters(), *module.buffers())}
    names = {name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if id(tensor) in frozen}
    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    dist.all_gather(both := [torch.empty_like(flat), torch.empty_like(flat)], flat)
    print(backbone['type'], torch.equal(*both), names and not names & moved, 'head.fc.weight' in moved)
"""


def start(script, *arguments, rank=0, world_size=1, port=0):
    meeting = dict(RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=rank, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    hidden_gpus = dict(CUDA_VISIBLE_DEVICES='')
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', script, *arguments],
        env={**os.environ, **{name: str(value) for name, value in meeting.items()}, **hidden_gpus},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


@pytest.mark.slow
def test_a_process_leaves_the_group_before_it_ends():
    """Left to the end of the interpreter, a thread of gloo now and then aborts the process."""
    run = start(ALONE)
    out, error = run.communicate()
    assert run.returncode == 0, error
    together, wrapped, parted = out.splitlines()
    assert together == 'together: True launcher env_cfg'  # nothing that one start needs is left in the config
    assert wrapped == 'MMDistributedDataParallel None False'
    assert parted == 'still together: False'


@pytest.mark.parametrize('config', [{}, {'env_cfg': None}, {'env_cfg': {'dist_cfg': {'backend': 'nccl'}}}])
def test_processes_on_gpus_meet_before_the_config_is_complete(config, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(distributed, 'init_dist', lambda launcher, **options: calls.append((launcher, options)))
    monkeypatch.setattr(distributed.atexit, 'register', lambda _: None)
    monkeypatch.setenv('SLURM_NTASKS', '2')
    distributed.join(Config({'launcher': 'slurm', **config}))
    assert calls == [('slurm', (config.get('env_cfg') or {}).get('dist_cfg', {}))]


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_a_process_that_no_launcher_has_started_is_told_to_use_torchrun(launcher, monkeypatch):
    for name in ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=f'--launcher {launcher}: .*Fix: torchrun'):
        distributed.join(Config({'launcher': launcher}))


@pytest.mark.slow
def test_no_process_looks_for_results_before_they_are_written(tmp_path):
    port = free_port()
    runs = [start(MENDING, tmp_path, rank=rank, world_size=2, port=port) for rank in (0, 1)]
    try:
        for run in runs:
            _, error = run.communicate()
            assert run.returncode == 0, error
    finally:
        for run in runs:
            run.kill()


@pytest.mark.slow
def test_processes_with_frozen_stages_stay_equal():
    """A frozen parameter that its process group waits for would stop the second step."""
    port = free_port()
    runs = [start(FREEZING, rank=rank, world_size=2, port=port) for rank in (0, 1)]
    try:
        for run in runs:
            out, error = run.communicate()
            assert run.returncode == 0, error
            assert out.splitlines() == [
                f'{name} True True True' for name in ('ResNet', 'MobileNetV2', 'SwinTransformer')
            ]
    finally:
        for run in runs:
            run.kill()


@pytest.mark.slow
def test_two_processes_train_and_one_goes_on(write_config, tool, tmp_path):
    config, run = write_config(tmp_path, 'train_cfg = dict(max_epochs=1)\n'), tmp_path / 'run'
    launch = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node=2', f'--master-port={free_port()}']
    drawing = ['drawn.num_per_class=5', 'drawn.image_size=32', f'data_root={tmp_path / "drawn"}']
    options = ['--work-dir', run, '--launcher', 'pytorch', '--cfg-options', *drawing]
    arguments = [*launch, REPOSITORY / 'tools' / 'train.py', config, *options]
    hidden_gpus = {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    tried = subprocess.run([*arguments, '--dry-run'], capture_output=True, text=True, env=hidden_gpus)
    assert tried.returncode == 0 and tried.stdout.count('one training batch') == 1, tried.stderr
    assert not (tmp_path / 'drawn').exists()
    done = subprocess.run(arguments, capture_output=True, text=True, env=hidden_gpus)
    assert done.returncode == 0, done.stderr
    assert (run / 'metrics.json').is_file() and 'model_wrapper_cfg' not in (run / 'config.py').read_text()
    assert tool('train', run / 'config.py', '--work-dir', run, '--resume') == 0
