"""The label check at the end of a sweep with folds."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from flowercls.evaluate.predictions import Predictions
from flowercls.sweep.doubtful_labels import find_doubtful_labels
from flowercls.sweep.folds import OutOfFold
from flowercls.sweep.ledger import FINISHED
from flowercls.sweep.scheduler import Progress
from flowercls.sweep.sweep_dir import describe_sweep

# Thresholds 0.6, 0.5, 0.5: the third photo may be a rose (margin -0.6), the last but one as well (-0.8).
SCORES = [
    [0.9, 0.1, 0.0],
    [0.8, 0.1, 0.1],
    [0.1, 0.7, 0.2],
    [0.2, 0.8, 0.0],
    [0.58, 0.2, 0.22],
    [0.0, 0.1, 0.9],
    [0.0, 0.9, 0.1],
    [0.3, 0.2, 0.5],
]
LABELS = [0, 0, 0, 1, 1, 2, 2, 2]
NAMES = ['daisy', 'rose', 'tulip']
PHOTOS = [f'{NAMES[label]}/{number}.jpg' for number, label in enumerate(LABELS)]


@pytest.fixture
def found(write_config, make_trial, tmp_path):
    """The out-of-fold predictions of two folds."""
    trial = replace(make_trial('fold=0'), config=str(write_config(tmp_path)))
    predictions = Predictions(PHOTOS, np.array(LABELS), np.array(SCORES, np.float32), NAMES)
    folds = [Progress(trial, tmp_path / name, FINISHED) for name in ('fold=0', 'fold=1')]
    return OutOfFold(tmp_path / 'oof_predictions.csv', predictions, 62.5, (), folds)


def lines(path):
    with path.open(encoding='utf-8-sig', newline='') as file:
        return list(csv.reader(file))


def with_scores(found, scores, **others):
    predictions = replace(found.predictions, scores=np.array(scores, np.float32))
    return replace(found, predictions=predictions, **others)


def test_the_list_is_ranked_and_in_percent(found, tmp_path):
    doubtful = find_doubtful_labels([found], tmp_path)
    assert doubtful.path == tmp_path / 'doubtful_labels.csv' and lines(doubtful.path) == [
        ['rank', 'image', 'label', 'suggested', 'score_label', 'score_suggested', 'margin', 'review'],
        ['1', 'tulip/6.jpg', 'tulip', 'rose', '10.00', '90.00', '-80.00', ''],
        ['2', 'daisy/2.jpg', 'daisy', 'rose', '10.00', '70.00', '-60.00', ''],
    ]


def test_it_is_said_at_the_end_of_the_sweep(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    doubtful = find_doubtful_labels([found], tmp_path)
    text = str(describe_sweep(list(found.folds), tmp_path, out_of_fold=[found], doubtful=doubtful))
    assert 'out of fold: top-1 62.50 %, oof_predictions.csv' in text
    assert 'labels to review: 2 of 8 photos, doubtful_labels.csv, .png; nothing was changed' in text
    assert 'daisy that may be rose (1), tulip that may be rose (1); 2 folds' in text


def test_where_none_is_doubtful_it_is_said(found, tmp_path):
    doubtful = find_doubtful_labels([with_scores(found, np.eye(3)[LABELS])], tmp_path)
    assert doubtful.describe() == ['labels to review: none of 8 photos, 2 folds']
    assert len(lines(doubtful.path)) == 1


def test_a_review_is_carried_over_when_the_sweep_is_started_again(found, tmp_path):
    path = find_doubtful_labels([found], tmp_path).path
    path.write_text(path.read_text().replace('-60.00,', '-60.00,really a rose'))
    find_doubtful_labels([found], tmp_path)
    assert [line[-1] for line in lines(path)] == ['review', '', 'really a rose']


def test_a_list_that_cannot_be_read_is_left_and_told(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'doubtful_labels.csv').write_bytes(b'\xff\xfe')
    said = find_doubtful_labels([found], tmp_path).describe()
    assert said[0].startswith('doubtful_labels.csv: could not be read and was left as it is')
    assert 'doubtful_labels-2.csv' in said[1]


def test_scores_are_averaged_over_the_seeds_of_the_best_setting(found, tmp_path):
    surer = np.array(SCORES)
    surer[2] = [0.7, 0.3, 0.0]  # with the other seed: daisy 0.4, rose 0.5 in the mean
    seeds = [replace(found, setting=('lr=1',)), with_scores(found, surer, setting=('lr=1',), top1=80.0)]
    worse = with_scores(found, np.roll(np.eye(3)[LABELS], 1, axis=1), setting=('lr=9',), top1=70.0)
    doubtful = find_doubtful_labels([worse, *seeds], tmp_path)
    assert doubtful.origin == '2 folds, mean of 2 seeds, lr=1'
    assert [line[1:7] for line in lines(doubtful.path)[1:]] == [
        ['tulip/6.jpg', 'tulip', 'rose', '10.00', '90.00', '-80.00'],
        ['daisy/2.jpg', 'daisy', 'rose', '40.00', '50.00', '-10.00'],
    ]


def test_photos_are_found_in_whichever_set_they_are(found, tmp_path):
    doubtful = replace(find_doubtful_labels([found], tmp_path), data_root=tmp_path)
    for name in ('training_set/daisy/0.jpg', 'val_set/daisy/1.jpg'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert doubtful.photo(0) == tmp_path / 'training_set/daisy/0.jpg'
    assert doubtful.photo(1) == tmp_path / 'val_set/daisy/1.jpg'
    assert not doubtful.photo(2).exists()


def test_without_folds_there_is_no_list(tmp_path):
    assert find_doubtful_labels([], tmp_path) is None and list(tmp_path.iterdir()) == []


def test_models_that_are_often_wrong_are_called_poor_judges(found, tmp_path):
    assert '  by models that are right on 62 % of the photos' in find_doubtful_labels([found], tmp_path).describe()[-1]
