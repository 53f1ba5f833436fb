"""How much too high a picked figure is: worked by hand, and in simulated trainings."""

import json
import math

import numpy as np
import pytest
from scipy.stats import norm

from flowercls.evaluate.optimism import (
    best_epoch_optimism,
    chose_the_epoch,
    epoch_optimism,
    optimism_text,
    seen_clause,
    selection_clause,
    selection_optimism,
)
from helpers.run_folders import predictions_with

IMAGES = [f'daisy/{i:03d}.jpg' for i in range(200)]


@pytest.mark.parametrize(
    ('values', 'noise', 'expected'),
    [
        ([96.0], 1.0, 0),
        ([96.0, 96.0], 1.0, 0),  # nothing was picked
        ([90.0, 96.0], 0.0, 0),
        ([0.0, 0.1], 1.0, 1 / math.sqrt(math.pi)),  # as good as equal: the expected maximum of two normals
        ([0.0, 0.1, 0.2], 2.0, 2 * 3 / (2 * math.sqrt(math.pi))),  # of three
        ([0.0, 0.1], [0.0, 1.0], norm.pdf(0)),  # only one can be lucky
        # 2 apart is a variance of 2, half of which is noise: truths are taken to be sqrt(2) apart.
        ([0.0, 2.0], 1.0, math.sqrt(2) * norm.pdf(1)),
        ([0.0, 50.0], 1.0, 0),
    ],
)
def test_the_optimism_of_the_highest_value(values, noise, expected):
    assert selection_optimism(values, noise) == pytest.approx(expected, abs=0.04)
    assert selection_optimism(values[::-1], noise[::-1] if isinstance(noise, list) else noise) >= 0


def training(rng, num_photos, num_epochs):
    """Hits of equally good epochs; a third of the chance in a photo is new in each. The first three epochs rise."""
    ease, lasting = 2 * rng.standard_normal(num_photos), 0.8 * rng.standard_normal(num_photos)
    new = 0.6 * rng.standard_normal((num_epochs + 3, num_photos))
    skill = np.array([0.5, 2.0, 2.6, *[2.9] * num_epochs])  # right about 90 of 100 photos in the end
    return skill[:, None] + ease + lasting + new > 0


@pytest.mark.parametrize(('num_photos', 'num_epochs'), [(60, 12), (285, 5), (570, 30)])
@pytest.mark.parametrize('has_last', [True, False])
def test_in_simulated_trainings_it_is_right_on_average(num_photos, num_epochs, has_last):
    rng, true, found = np.random.default_rng(1), [], []
    for _ in range(100):
        hits = training(rng, num_photos, num_epochs)
        top1 = 100 * hits.mean(axis=1)
        true.append(top1.max() - top1[3:].mean())  # these epochs have one truth, and their mean is not picked
        found.append(epoch_optimism(top1, hits[top1.argmax()], hits[-1] if has_last else None))
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.3)


def test_a_training_that_really_moves_is_not_taken_for_chance():
    best, last = np.ones(200, bool), np.ones(200, bool)
    best[:10], last[:14] = False, False  # 95 and 93 %: 4 photos differ, all in one direction
    top1 = [93.0, 94.0, 95.0, 91.0, 94.5, 92.0, 93.0]
    assert 0 < epoch_optimism(top1, best, last) < 0.7 * epoch_optimism(top1, best)


@pytest.fixture
def run(tmp_path):
    """A run whose best epoch gets 4 of 200 photos wrong, whose last one 6, of which 2 are the same."""

    def write(*top1, last=(0, 1, 5, 6, 7, 8), images=IMAGES):
        lines = [json.dumps({'accuracy/top1': value, 'step': step}) for step, value in enumerate(top1, start=1)]
        (tmp_path / 'scalars.json').write_text('\n'.join(lines))
        predictions_with((0, 1, 2, 3), IMAGES).write_csv(tmp_path / 'predictions_val.csv')
        predictions_with(last, images).write_csv(tmp_path / 'predictions_val_last.csv')
        return tmp_path

    return write


def test_the_best_epoch_of_a_run(run):
    found = best_epoch_optimism(run(70.0, 97.5, 98.0, 97.5, 97.0))
    # 6 of 200 photos differ: 0.03 - 0.01 ** 2 is the variance of a difference, times 200.
    noise = 100 * math.sqrt((0.03 - 0.01**2) / 400)
    assert found == pytest.approx(selection_optimism([97.5, 98.0, 97.5, 97.0], noise)) and 0.4 < found < 1
    assert (
        0 < best_epoch_optimism(run(70.0, 97.5, 98.0, 97.5, 97.0, images=IMAGES[:100], last=())) < 1
    )  # of other photos


def test_nothing_false_is_said_where_nothing_was_picked_or_nothing_is_known(run, tmp_path):
    assert best_epoch_optimism(run(98.0)) == 0
    assert best_epoch_optimism(run(98.0, 99.0)) is None  # another metric chose
    assert best_epoch_optimism(run('98', None, math.nan)) is None
    (run(97.0, 98.0) / 'predictions_val.csv').unlink()
    assert best_epoch_optimism(tmp_path) is None


def test_the_photos_of_a_test_chose_the_epoch_if_it_is_the_best_one(run):
    folder = run(97.0, 98.0)
    assert not chose_the_epoch(IMAGES, {'epoch': 2}, folder)  # nobody knows the best epoch
    (folder / 'metrics.json').write_text('{"epoch": 2}')
    assert chose_the_epoch(IMAGES[::-1], {'epoch': 2}, folder)
    assert not chose_the_epoch(IMAGES, {'epoch': 1}, folder)
    assert not chose_the_epoch(IMAGES[1:], {'epoch': 2}, folder)


def test_the_size_in_words():
    assert [optimism_text(points) for points in (0.66, 0.04)] == ['about 0.7 points', 'less than 0.1 points']
    assert 'expect about 0.7 points less on other photos' in selection_clause(0.66)
    assert 'expect less on other photos' in selection_clause(None) and selection_clause(0.0) == ''


@pytest.mark.parametrize(
    ('seen', 'clause'),
    [
        (None, ''),
        (dict(unknown='it is gone'), 'not checked: whether some photos were trained on, as it is gone'),
        (dict(trained_on=0, chose_epoch=0, n=430, hits=300), 'none of the 430 photos was trained on'),
        (dict(trained_on=12, chose_epoch=0, n=418, hits=298), '12 were trained on; without them top-1 71.29'),
        (dict(trained_on=0, chose_epoch=30, n=400, hits=1), 'of 430 photos 30 chose the epoch; without them top-1 0.2'),
        (dict(trained_on=12, chose_epoch=8, n=410, hits=41), '12 were trained on and 8 chose the epoch; without'),
        (dict(trained_on=430, chose_epoch=0, n=0, hits=0), 'of 430 photos 430 were trained on; no photo is left'),
    ],
)
def test_photos_that_were_trained_on_are_told(seen, clause):
    found = seen_clause({'n': 430} if seen is None else {'n': 430, 'seen': seen})
    assert clause in found if clause else found == ''
