"""The pictures of a run, from its result files and the photos of its validation set."""

import json
import os
import shutil

import numpy as np
import pytest

from flowercls.core.errors import CheckpointError, ConfigError, DataError
from flowercls.report.run_pictures import draw_run

PICTURES = ['confusion.png', 'curves.png', 'mistakes.png', 'reliability.png']


@pytest.fixture
def folder(tmp_path, predictions, metrics):
    """A run folder without pictures, and its prepared folder; the photos are empty files."""
    folder, root = tmp_path / 'run', tmp_path / 'flower'
    folder.mkdir()
    root.mkdir()
    dataset = {'ann_file': 'val.txt', 'data_prefix': 'val_set'}
    (folder / 'config.py').write_text(f'data_root = {str(root)!r}\nval_dataloader = dict(dataset={dataset!r})\n')
    (root / 'val.txt').write_text(''.join(f'{image} 0\n' for image in predictions.images))
    predictions.write_csv(folder / 'predictions_val.csv')
    (folder / 'metrics.json').write_text(json.dumps({**metrics, 'epoch': 1}))
    (folder / 'scalars.json').write_text('{"train_loss": 1.0, "step": 1}\n{"accuracy/top1": 60.0, "step": 1}\n')
    return folder


def decode(path):
    decode.paths.append(path)
    return np.zeros((8, 8, 3), np.uint8)


def pictures_in(folder):
    return sorted(path.name for path in folder.glob('*.png'))


def test_all_pictures_are_drawn_from_files(folder, tmp_path, texts):
    decode.paths = []
    draw_run(folder, decode)
    assert pictures_in(folder) == PICTURES and 'best validation top-1: 60.00 % at epoch 1' in texts
    assert decode.paths == [tmp_path / 'flower/val_set/a/3.jpg', tmp_path / 'flower/val_set/a/1.jpg']
    assert (folder / 'mistakes.csv').read_text().count('\n') == 3


def test_figures_of_the_best_epoch_are_called_optimistic(folder, texts):
    with (folder / 'scalars.json').open('a') as file:
        file.write('{"accuracy/top1": 40.0, "step": 2}\n')
    decode.paths = []
    draw_run(folder, decode)
    curves, confusion = (text for text in texts if 'less on other photos' in text)
    assert 'epoch 1' in curves and 'Confusion matrix' in confusion


def test_without_the_photos_only_their_gallery_is_left_out(folder, tmp_path):
    def no_photo(path):
        raise DataError(f'{path}: no such file')

    for vanished in ('val_set', ''):
        shutil.rmtree(tmp_path / 'flower' / vanished, ignore_errors=True)
        draw_run(folder, no_photo)
        assert pictures_in(folder) == ['confusion.png', 'curves.png', 'reliability.png']
        for picture in folder.glob('*.png'):
            picture.unlink()


def test_a_list_that_is_not_that_of_the_predictions_gives_no_gallery(folder, tmp_path):
    (tmp_path / 'flower/val.txt').write_text('a/other.jpg 0\n')
    draw_run(folder, decode)
    assert 'mistakes.png' not in pictures_in(folder)


@pytest.mark.parametrize('name', ['metrics.json', 'predictions_val.csv', 'config.py', 'scalars.json'])
def test_unusable_files_lead_to_fewer_pictures(folder, name):
    (folder / name).write_text('nonsense')
    draw_run(folder, decode)
    assert len(pictures_in(folder)) < 4


def test_only_missing_and_outdated_pictures_are_drawn(folder):
    draw_run(folder, decode)
    (folder / 'curves.png').write_bytes(b'')
    (folder / 'confusion.png').write_bytes(b'')
    draw_run(folder, decode, only_missing=True)
    assert (folder / 'curves.png').stat().st_size == (folder / 'confusion.png').stat().st_size == 0
    os.utime(folder / 'confusion.png', (1, 1))
    draw_run(folder, decode, only_missing=True)
    assert (folder / 'curves.png').stat().st_size == 0 < (folder / 'confusion.png').stat().st_size
    (folder / 'curves.png').unlink()
    draw_run(folder, decode, only_missing=True)
    assert (folder / 'curves.png').stat().st_size > 0


def test_heat_maps_are_drawn_where_they_can_be(folder):
    decode.paths = []
    for error in (CheckpointError, ConfigError):

        def no_model(photos, classes, error=error):
            raise error('no model')

        draw_run(folder, decode, no_model)
        assert pictures_in(folder) == PICTURES
    (folder / 'mistakes.png').write_bytes(b'')
    draw_run(folder, decode, lambda photos, classes: photos, only_missing=True)
    assert pictures_in(folder) == sorted([*PICTURES, 'mistakes_heatmaps.png'])
    assert (folder / 'mistakes.png').stat().st_size == 0  # is there, and is not drawn again
