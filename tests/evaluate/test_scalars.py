"""Figures of each epoch, from the file of a run."""

import json

from flowercls.evaluate.scalars import read_epochs

LINES = [
    {'lr': 0.1, 'loss': 2.0, 'step': 10},  # an iteration, no epoch
    {'epoch': 1, 'train_loss': 1.5, 'train_top1': 40.0, 'lr': 0.1, 'step': 1},
    {'accuracy/top1': 50.0, 'nll': 1.2, 'step': 1},
    {'epoch': 2, 'train_loss': 9.9, 'lr': 0.1, 'step': 2},
    {'accuracy/top1': 1.0, 'nll': 9.9, 'step': 2},
    {'epoch': 2, 'train_loss': 0.5, 'train_top1': 80.0, 'lr': 0.1, 'step': 2},  # the epoch again, after a resume
    {'accuracy/top1': 70.0, 'nll': 0.7, 'step': 2},
]


def test_epochs_join_training_and_validation_and_the_later_of_two_counts(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text('\n'.join([*map(json.dumps, LINES), '{"epo']))  # a crash tore the last line
    first, second = read_epochs(path)
    assert (first['train_loss'], first['nll'], first['accuracy/top1']) == (1.5, 1.2, 50.0)
    assert (second['train_loss'], second['nll'], second['accuracy/top1']) == (0.5, 0.7, 70.0)
