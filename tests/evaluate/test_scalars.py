"""Figures of each epoch, from the file of a run, and what they say about overfitting."""

import json

import numpy as np
import pytest

from flowercls.evaluate.predictions import Predictions
from flowercls.evaluate.scalars import overfitting, read_epochs

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


@pytest.fixture
def run(tmp_path):
    """Two epochs; four photos, whose scores for the right class are 1/2 first, and later 1/4, 1/4, 1/4 and 1/2."""
    (tmp_path / 'scalars.json').write_text('\n'.join(map(json.dumps, LINES)))
    for name, right in (('predictions_val', [0.5] * 4), ('predictions_val_last', [0.25] * 3 + [0.5])):
        scores = np.array([[score, 1 - score] for score in right], np.float32)
        Predictions([f'a/{i}' for i in range(4)], np.zeros(4, int), scores, ['a', 'b']).write_csv(
            tmp_path / f'{name}.csv'
        )
    return tmp_path


def test_overfitting_is_a_rise_beyond_its_standard_error_while_training_gets_better(run):
    found = overfitting(run, 1)
    # Rises of ln 2, ln 2, ln 2 and 0; their standard deviation is ln 2 / 2.
    assert found.rise == pytest.approx(0.75 * np.log(2)) and found.rise_se == pytest.approx(np.log(2) / 4)
    assert found.is_seen and (found.best['step'], found.last['step']) == (1, 2)
    (run / 'scalars.json').write_text((run / 'scalars.json').read_text().replace('0.5', '1.6'))
    assert not overfitting(run, 1).is_seen  # the training loss rose, too


def test_overfitting_is_not_known_without_figures(run):
    assert overfitting(run, 7) is overfitting(run, None) is None
    assert overfitting(run, 2).rise == 0
    (run / 'predictions_val_last.csv').unlink()
    assert overfitting(run, 1) is None
    (run / 'scalars.json').unlink()
    assert overfitting(run, 2) is None
