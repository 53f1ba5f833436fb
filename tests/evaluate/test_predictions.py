import csv
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from flowercls.core.errors import DataError
from flowercls.evaluate.predictions import Answers, Predictions, csv_line, escaped, unescaped

SCORES = np.array([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.1, 0.8]], np.float32)


@pytest.fixture
def predictions():
    return Predictions(['a/1.jpg', 'b/x, y.jpg', 'ä/3.png'], np.array([0, 1, 2]), SCORES, ['a', 'b', 'ä'])


def test_csv_has_the_agreed_header_and_one_row_a_photo(predictions, tmp_path):
    predictions.write_csv(tmp_path / 'p.csv')
    lines = (tmp_path / 'p.csv').read_text(encoding='utf-8').splitlines()
    assert lines[0] == 'image,label,pred,score_a,score_b,score_ä'
    assert lines[1] == 'a/1.jpg,a,a,0.699999988,0.200000003,0.100000001'
    assert lines[2].startswith('"b/x, y.jpg",b,a,')
    assert len(lines) == 4


def test_csv_brings_back_every_score_exactly(predictions, tmp_path):
    predictions.write_csv(tmp_path / 'p.csv')
    back = Predictions.read_csv(tmp_path / 'p.csv')
    assert back.images == predictions.images and back.class_names == predictions.class_names
    assert np.array_equal(back.labels, predictions.labels)
    assert np.array_equal(back.scores, predictions.scores)


@pytest.mark.parametrize(
    'text',
    ['', 'image,label\nx\n', 'image,label,pred,score_a\n', '\0', 'image,label,pred,score_a\n"x']
    + [f'image,label,pred,score_a\n{row}\n' for row in ('x,b,a,1', 'x,a,a,?', 'x,a,a', 'x,a,a,inf')],
)
def test_what_is_not_a_predictions_file_is_refused_in_plain_words(tmp_path, text):
    (tmp_path / 'p.csv').write_text(text)
    with pytest.raises(DataError, match='not a predictions file.*Fix: ') as refused:
        Predictions.read_csv(tmp_path / 'p.csv')
    for raw in ('unpack', 'in list', 'inhomogeneous', 'could not convert'):
        assert raw not in str(refused.value)


@pytest.mark.parametrize(
    ('row', 'words'),
    [
        ('x/2.jpg,a,nonsense,0.9,0.1', "line 3.*pred 'nonsense' is no class"),
        ('x/2.jpg,tulip,a,0.9,0.1', "line 3.*label 'tulip' is no class"),
        ('x/2.jpg,a,b,0.9,0.1', "line 3.*pred 'b' does not have the highest score"),
        ('x/2.jpg,a,a,0.9', 'line 3.*one score per class'),
    ],
)
def test_a_damaged_row_is_named(tmp_path, row, words):
    path = tmp_path / 'predictions_val_last.csv'
    path.write_text(f'image,label,pred,score_a,score_b\nx/1.jpg,a,a,0.5,0.5\n{row}\n')
    with pytest.raises(DataError, match=f'predictions_val_last.csv.*{words}.*Fix: .* delete it .* best epoch'):
        Answers.read_csv(path)


def test_a_file_that_is_missing_or_no_text_is_refused_in_plain_words(tmp_path):
    with pytest.raises(DataError, match=r'predictions.csv: .*\(No such file or directory\).*Fix: .*test'):
        Answers.read_csv(tmp_path / 'predictions.csv')
    (tmp_path / 'predictions_val.csv').write_bytes(b'\xff\xfe')
    with pytest.raises(DataError, match='not UTF-8 text.*Fix: .*leave this run out'):
        Answers.read_csv(tmp_path / 'predictions_val.csv')


def test_folds_that_share_a_photo_or_no_classes_are_refused_each_in_its_words(predictions):
    with pytest.raises(DataError, match='all: a/1.jpg is in two folds.*--folds'):
        Predictions.join([predictions, predictions], 'all')
    with pytest.raises(DataError, match='all: a/1.jpg is listed twice in one'):
        Predictions.join([replace(predictions, images=['a/1.jpg', 'a/1.jpg', 'c'])], 'all')
    with pytest.raises(DataError, match='different classes'):
        Predictions.join([predictions, replace(predictions, class_names=['a', 'b', 'c'])], 'all')


def test_metrics_are_plain_json_with_the_agreed_keys(predictions):
    metrics = json.loads(json.dumps(predictions.metrics(), allow_nan=False))
    assert set(metrics) == {
        'top1', 'top1_interval', 'n', 'nll', 'ece', 'per_class', 'macro', 'confusion', 'most_confused', 'reliability'
    }  # fmt: skip
    assert metrics['top1'] == pytest.approx(200 / 3)
    assert metrics['n'] == 3
    assert metrics['confusion'] == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert metrics['per_class']['ä'] == {'precision': 100.0, 'recall': 100.0, 'f1': 100.0, 'support': 1}
    assert metrics['macro'] == pytest.approx({'precision': 50.0, 'recall': 200 / 3, 'f1': 500 / 9})
    assert metrics['most_confused'] == [{'true': 'b', 'pred': 'a', 'photos': 1}]
    assert [row['photos'] for row in metrics['reliability']] == [1, 1, 1]
    # 1/3 is above 33.33... in float32, so it lies in the bin from 5/15 to 6/15.
    assert metrics['reliability'][0] == pytest.approx(
        {'low': 100 / 3, 'high': 40.0, 'photos': 1, 'confidence': 100 / 3, 'accuracy': 0.0}
    )


def test_mistakes_are_listed_with_the_most_confident_first(tmp_path):
    scores = np.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], np.float32)
    found = Predictions(['a/1', 'b/2', 'b/3', 'a/4'], np.array([0, 1, 1, 0]), scores, ['a', 'b'])
    assert found.mistakes() == [1, 2, 3]
    found.write_mistakes_csv(tmp_path / 'm.csv')
    rows = (tmp_path / 'm.csv').read_text().splitlines()
    assert rows == ['image,label,pred,score', 'b/2,b,a,0.899999976', 'b/3,b,a,0.800000012', 'a/4,a,b,0.699999988']


@pytest.mark.parametrize('names', [['daisy', 'rose'], ['a "b", c', 'nan']])
def test_answers_are_what_the_scores_say(tmp_path, names):
    """Also where the table has quotes, or classes that look like numbers."""
    images = [f'{names[i % 2]}/{i}.jpg' for i in range(9)]
    scores = np.random.default_rng(0).random((9, 2), np.float32)
    predictions = Predictions(images, np.arange(9) % 2, scores, names)
    predictions.write_csv(tmp_path / 'p.csv')
    answers = Answers.read_csv(tmp_path / 'p.csv')
    assert (answers.images, answers.labels) == (images, [names[i % 2] for i in range(9)])
    assert answers.hits.tolist() == predictions.hits.tolist() and 0 < answers.hits.sum() < 9
    assert answers.digest == hashlib.sha256((tmp_path / 'p.csv').read_bytes()).hexdigest()


def test_answers_of_a_table_with_other_line_ends_are_read(tmp_path):
    (tmp_path / 'p.csv').write_bytes(b'image,label,pred,score_a,score_b\r\nx/1.jpg,a,b,0.2,0.8\r\n')
    answers = Answers.read_csv(tmp_path / 'p.csv')
    assert (answers.images, answers.hits.tolist()) == (['x/1.jpg'], [False])


@pytest.mark.parametrize('row', ['x/1.jpg,a', 'x/1.jpg,a,b,0.2', 'x/1.jpg,c,b,0.2,0.8', 'x/1.jpg,a,b,nan,0.8', '', '"'])
def test_answers_of_what_is_no_table_are_refused(tmp_path, row):
    (tmp_path / 'p.csv').write_text(f'image,label,pred,score_a,score_b\n{row}\n')
    with pytest.raises(DataError, match='is not a predictions file'):
        Answers.read_csv(tmp_path / 'p.csv')


@pytest.mark.parametrize(
    ('name', 'cell'),
    [
        ('=cmd', "'=cmd"),
        ('+1', "'+1"),
        ('-1', "'-1"),
        ('@sum', "'@sum"),
        ('\tx', "'\tx"),
        ('\rx', "'\rx"),
        ("'=x", "''=x"),
        ("''@", "'''@"),
        ("'quoted'", "'quoted'"),
        ('a=1', 'a=1'),
        ('', ''),
    ],
)
def test_a_name_that_a_spreadsheet_would_run_is_escaped_and_comes_back(name, cell):
    assert escaped(name) == cell and unescaped(cell) == name


def test_hostile_names_come_back_from_a_file(tmp_path):
    images = ['=a/1\r2.jpg', "'=a/x\ny.jpg", '+a/"3", 4.jpg']
    hostile = Predictions(images, np.array([0, 1, 2]), SCORES, ['=a', "'=a", '+a'])
    hostile.write_csv(tmp_path / 'p.csv')
    with (tmp_path / 'p.csv').open(newline='') as file:
        assert [cell[0] for row in list(csv.reader(file))[1:] for cell in row[:3]] == ["'"] * 9
    back, answers = Predictions.read_csv(tmp_path / 'p.csv'), Answers.read_csv(tmp_path / 'p.csv')
    assert back.images == answers.images == images
    assert back.class_names == hostile.class_names and answers.labels == hostile.class_names
    assert back.labels.tolist() == [0, 1, 2] and answers.hits.tolist() == hostile.hits.tolist()


def test_a_return_in_a_cell_is_quoted():
    assert csv_line(['a\rb', 'c']) == '"a\rb",c\n'
