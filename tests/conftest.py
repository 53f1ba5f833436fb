"""What many tests start from: a prepared folder of drawn flowers, a tiny config, one finished run."""

import importlib.util
import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

TINY_CONFIG = """
_base_ = ['{configs}/demo_flower.py']
data_root = '{data_root}'
cache_dir = '{cache_dir}'
# Not fewer: torch 2.15's channels_last gradient of a strided 1x1 convolution of 8 or 12 channels corrupts memory.
model = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
train_dataloader = dict(batch_size=8, num_workers=0)
val_dataloader = dict(batch_size=8, num_workers=0)
train_cfg = dict(max_epochs=2)
default_hooks = dict(logger=dict(interval=2))
"""


def load_tool(name):
    """The module of tools/<name>.py, as the command line would run it."""
    spec = importlib.util.spec_from_file_location(f'tools_{name}', REPOSITORY / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def tool():
    """Run a tool in this process: ``tool('train', 'configs/x.py', '--dry-run')`` returns its exit code."""
    return lambda name, *arguments: load_tool(name).main([str(argument) for argument in arguments])


@pytest.fixture(scope='session')
def drawn_root(tmp_path_factory):
    """A prepared folder of 60 drawn flowers: 45 to train with, 15 to validate."""
    from flowercls.data.drawn import draw_flowers
    from flowercls.data.prepare.preparation import prepare

    folder = tmp_path_factory.mktemp('drawn')
    draw_flowers(folder / 'raw', num_per_class=12, image_size=48, seed=0)
    prepare(folder / 'raw', folder / 'flower', val_ratio=0.25, workers=0)
    return folder / 'flower'


@pytest.fixture(scope='session')
def write_config(drawn_root):
    """Write a tiny config into a folder; extra text comes last and so overrides."""

    def write(folder, extra='', name='tiny_flower.py', data_root=drawn_root):
        path = Path(folder) / name
        places = dict(configs=REPOSITORY / 'configs', data_root=data_root, cache_dir=drawn_root.parent / 'cache')
        path.write_text(TINY_CONFIG.format(**places) + extra)
        return path

    return write


@pytest.fixture(scope='session')
def trained_run(tmp_path_factory, write_config, tool):
    """A finished run of two epochs: (config file, run folder). Look, do not touch."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config(folder)
    assert tool('train', config, '--work-dir', folder / 'run') == 0
    return config, folder / 'run'


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch):
    """No setting of the machine, and no run before, may change what a test sees."""
    for name in ('FLOWERCLS_WEIGHTS', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    yield
    os.environ.pop('LOCAL_RANK', None)
