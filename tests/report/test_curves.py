import json

import pytest

from flowercls.core.errors import DiskError
from flowercls.report.curves import plot_curves

LINES = [
    {'epoch': 1, 'train_loss': 1.5, 'train_top1': 40.0, 'lr': 0.1, 'step': 1},
    {'accuracy/top1': 50.0, 'nll': 1.2, 'step': 1},
    {'epoch': 2, 'train_loss': 0.5, 'train_top1': 80.0, 'lr': 0.1, 'step': 2},
    {'accuracy/top1': 70.0, 'nll': 0.7, 'step': 2},
]


def write(folder):
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, LINES)))


def test_curves_are_drawn_into_the_run_folder(tmp_path):
    write(tmp_path)
    path = plot_curves(tmp_path, best_epoch=2)
    assert path.read_bytes().startswith(b'\x89PNG') and path.name == 'curves.png'
    assert not list(tmp_path.glob('.*'))


def test_the_name_of_a_run_folder_is_no_formula(tmp_path, texts):
    folder = tmp_path / 'd$x^$1'
    folder.mkdir()
    write(folder)
    assert plot_curves(folder).is_file() and 'd$x^$1' in texts


def test_no_picture_without_a_finished_epoch(tmp_path):
    assert plot_curves(tmp_path) is None


def no_space(*args, **kwargs):
    raise OSError(28, 'No space left on device')


def test_a_full_disk_is_named_when_curves_are_written(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr('matplotlib.figure.Figure.savefig', no_space)
    with pytest.raises(DiskError, match=r'curves.png: the disk is full'):
        plot_curves(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['scalars.json']
