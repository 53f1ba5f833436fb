"""A prepared folder without photos (the config room reads only its lists), and configs written by the test."""

from pathlib import Path

import pytest

from flowercls.config import resolve_config
from flowercls.core.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']


@pytest.fixture
def make_root(tmp_path):
    """Write a prepared folder: its classes and lists, of which only the training list names photos."""

    def write_lists(name, classes=CLASSES, labels=(), sets=('train', 'val')):
        folder = tmp_path / name
        folder.mkdir()
        for split in sets:
            (folder / f'{split}.txt').touch()
        lines = [f'{classes[label]}/{i}.jpg {label}\n' for i, label in enumerate(labels)]
        (folder / 'train.txt').write_text(''.join(lines), encoding='utf-8')
        (folder / 'classes.txt').write_text('\n'.join(classes) + '\n', encoding='utf-8')
        return folder

    return write_lists


@pytest.fixture
def data_root(make_root):
    return make_root('data')


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a config and get its name; the working folder is where it lies, so names in messages are short."""
    monkeypatch.chdir(tmp_path)

    def write_config(text, name='my.py'):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding='utf-8')
        return name

    return write_config


@pytest.fixture
def mistakes():
    """The lines of the ConfigError that a call raises, without the headline and the file name."""

    def lines_of(function, *args):
        with pytest.raises(ConfigError) as caught:
            function(*args)
        head, *lines = str(caught.value).split('\n  ')
        assert head.startswith(f'{len(lines)} mistake')
        return [line.removeprefix(f'{args[0]}: ') for line in lines]

    return lines_of


@pytest.fixture
def resolve(data_root):
    """Resolve one of our configs on the small prepared folder; '__' in a key is a dot."""

    def resolve_ours(name='resnet50_flower.py', **overrides):
        overrides = {key.replace('__', '.'): value for key, value in overrides.items()}
        return resolve_config(CONFIGS / name, {'data_root': str(data_root), **overrides})

    return resolve_ours


@pytest.fixture
def inherit(write, data_root):
    """Resolve a config over one of mmpretrain's."""

    def resolve_child(text='', base='resnet/resnet18_8xb32_in1k.py'):
        return resolve_config(write(f"_base_ = ['mmpretrain::{base}']\ndata_root = {str(data_root)!r}\n{text}\n"))

    return resolve_child
