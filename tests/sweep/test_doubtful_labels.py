"""The label check at the end of a sweep with folds; and the user's remarks, which the next list keeps."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from mmengine.config import Config

from flowercls.evaluate.predictions import Predictions
from flowercls.sweep.doubtful_labels import COLUMNS, find_doubtful_labels, write_review
from flowercls.sweep.folds import OutOfFold
from flowercls.sweep.ledger import FINISHED
from flowercls.sweep.scheduler import TrialState

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
HEADER = [*COLUMNS, 'review']


@pytest.fixture
def oof(make_trial, tmp_path):
    """The out-of-fold predictions of two folds."""
    trial = make_trial('fold=0', cfg=Config({'data_root': str(tmp_path)}))
    predictions = Predictions(PHOTOS, np.array(LABELS), np.array(SCORES, np.float32), NAMES)
    folds = [TrialState(trial, tmp_path / name, FINISHED) for name in ('fold=0', 'fold=1')]
    return OutOfFold(tmp_path / 'oof_predictions.csv', predictions, 62.5, (), folds)


def with_scores(oof, scores, **others):
    return replace(oof, predictions=replace(oof.predictions, scores=np.array(scores, np.float32)), **others)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'doubtful_labels.csv'


def read(path, delimiter=','):
    with path.open(encoding='utf-8-sig', newline='') as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_the_list_is_ranked_and_in_percent_and_a_summary_names_the_most_frequent_pairs(oof, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    doubtful = find_doubtful_labels([oof], path.parent)
    assert doubtful.path == path and read(path) == [
        ['rank', 'image', 'label', 'suggested', 'score_label', 'score_suggested', 'margin', 'review'],
        ['1', 'tulip/6.jpg', 'tulip', 'rose', '10.00', '90.00', '-80.00', ''],
        ['2', 'daisy/2.jpg', 'daisy', 'rose', '10.00', '70.00', '-60.00', ''],
    ]
    summary, pairs, judges = doubtful.describe()
    assert 'labels to review: 2 of 8 photos, doubtful_labels.csv, .png' in summary
    assert 'daisy that may be rose (1), tulip that may be rose (1); 2 folds' in pairs
    assert 'right on only 62 %' in judges


def test_a_photo_is_no_formula_for_a_spreadsheet_and_keeps_its_review(oof, path):
    photos = [f'={photo}' for photo in PHOTOS]
    oof = replace(oof, predictions=replace(oof.predictions, images=photos))
    find_doubtful_labels([oof], path.parent)
    path.write_text(path.read_text().replace('-80.00,', '-80.00,right'))
    find_doubtful_labels([oof], path.parent)
    assert [row[1:2] + row[-1:] for row in read(path)[1:]] == [["'=tulip/6.jpg", 'right'], ["'=daisy/2.jpg", '']]


def test_a_summary_without_doubtful_labels(oof, path):
    doubtful = find_doubtful_labels([with_scores(oof, np.eye(3)[LABELS])], path.parent)
    assert doubtful.describe() == ['labels to review: none of 8 photos, 2 folds'] and read(path) == [HEADER]


def test_a_list_that_cannot_be_read_is_left_and_named(oof, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    path.write_bytes(b'\xff\xfe')
    first, second, *_ = find_doubtful_labels([oof], path.parent).describe()
    assert 'doubtful_labels.csv: could not be read' in first and 'doubtful_labels-2.csv' in second


def test_scores_are_averaged_over_the_seeds_of_the_best_setting(oof, path):
    surer = np.array(SCORES)
    surer[2] = [0.7, 0.3, 0.0]  # with the other seed: daisy 0.4, rose 0.5 in the mean
    seeds = [replace(oof, setting=('lr=1',)), with_scores(oof, surer, setting=('lr=1',), top1=80.0)]
    worse = with_scores(oof, np.roll(np.eye(3)[LABELS], 1, axis=1), setting=('lr=9',), top1=70.0)
    assert find_doubtful_labels([worse, *seeds], path.parent).origin == '2 folds, mean of 2 seeds, lr=1'
    assert [line[1:7] for line in read(path)[1:]] == [
        ['tulip/6.jpg', 'tulip', 'rose', '10.00', '90.00', '-80.00'],
        ['daisy/2.jpg', 'daisy', 'rose', '40.00', '50.00', '-10.00'],
    ]


def test_photos_are_found_in_whichever_set_they_are(oof, tmp_path):
    doubtful = find_doubtful_labels([oof], tmp_path)
    for number, name in enumerate(('training_set/daisy/0.jpg', 'val_set/daisy/1.jpg')):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
        assert doubtful.photo(number) == tmp_path / name
    assert not doubtful.photo(2).exists()


def test_without_folds_there_is_no_list(tmp_path):
    assert find_doubtful_labels([], tmp_path) is None and list(tmp_path.iterdir()) == []


# --- remarks of the user ---


def row(rank, image, margin='-50.00'):
    return [str(rank), image, 'daisy', 'rose', '20.00', '70.00', margin]


@pytest.fixture
def write(path):
    """Write a list of these photos; returns its lines as cells, without the header."""

    def write(*images):
        assert write_review(path, [row(rank, image) for rank, image in enumerate(images, start=1)]) == (path, [])
        return read(path)[1:]

    return write


def save(path, rows, *, encoding='utf-8', delimiter=',', line_end='\n'):
    with path.open('w', encoding=encoding, newline='') as file:
        csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows(rows)


def test_reviews_follow_their_photos(write, path):
    assert write('a/1.jpg', 'b/2.jpg') == [[*row(1, 'a/1.jpg'), ''], [*row(2, 'b/2.jpg'), '']]  # to be filled in
    save(path, [HEADER, [*row(1, 'a/1.jpg'), 'wrong'], [*row(2, 'b/2.jpg'), ''], [*row(3, 'c/3.jpg'), 'fine']])
    assert write('c/3.jpg', 'd/4.jpg') == [
        [*row(1, 'c/3.jpg'), 'fine'],
        [*row(2, 'd/4.jpg'), ''],
        [*row('', 'a/1.jpg'), 'wrong'],  # not doubtful any more; the review stays
    ]
    assert write('a/1.jpg')[0] == [*row(1, 'a/1.jpg'), 'wrong']  # and comes back with it
    assert [cells[1] for cells in write('a/1.jpg')] == ['a/1.jpg', 'c/3.jpg']


@pytest.mark.parametrize(
    'saved',
    [
        dict(encoding='utf-8-sig', line_end='\r\n'),
        dict(delimiter=';', line_end='\r\n'),
        dict(delimiter='\t', line_end='\r'),
    ],
)
def test_as_spreadsheets_save_it(path, saved):
    remark = 'it is a "rose", I\nthink; 样'
    save(path, [[*HEADER, 'why, and who'], [*row(1, 'a/1.jpg'), remark, 'me']], **saved)
    write_review(path, [row(1, 'b/2.jpg'), row(2, 'a/1.jpg')])
    assert path.read_bytes().startswith(b'\xef\xbb\xbf')  # for what is not ASCII, the next spreadsheet needs the mark
    lines = read(path, saved.get('delimiter', ','))
    assert [cells[7:] for cells in lines] == [['review', 'why, and who'], ['', ''], [remark, 'me']]


def test_own_columns_in_any_order_and_remarks_beside_and_below_stay(write, path):
    mine = ['by', 'image', 'review', 'rank']
    save(path, [mine, ['me', 'a/1.jpg', 'wrong', '1', 'look again'], ['you', 'b/2.jpg'], [], ['', '', '', '2 done']])
    for _ in range(2):  # nothing grows
        assert write('b/2.jpg', 'a/1.jpg') == [
            [*row(1, 'b/2.jpg'), '', 'you', ''],
            [*row(2, 'a/1.jpg'), 'wrong', 'me', 'look again'],
            ['2 done', *[''] * 9],
        ]
        assert read(path)[0] == [*HEADER, 'by', '']


def test_a_photo_that_stands_there_twice_keeps_both_reviews(write, path):
    save(path, [HEADER, [*row(1, 'a/1.jpg'), 'wrong'], [*row(2, 'a/1.jpg'), 'no, fine']])
    assert [cells[-1] for cells in write('a/1.jpg')] == ['wrong', 'no, fine']


def test_an_emptied_file_is_filled_again(write, path):
    path.write_text('\n')
    assert len(write('a/1.jpg')) == 1


@pytest.mark.parametrize(
    'content',
    [
        'rank,image,review\n1,a/1.jpg,schön\n'.encode('cp1252'),
        'rank,image,review\n1,a/1.jpg,wrong\n'.encode('utf-16'),
        b'PK\x03\x04 a workbook under this name',
        b'number,file,review\n1,a/1.jpg,wrong\n',
        b'rank,image,review\n1,a/1.jpg,"wrong\n2,b/2.jpg,fine\n',
    ],
)
def test_what_cannot_be_read_stays_and_the_new_list_goes_beside_it(path, content):
    path.write_bytes(content)
    where, unread = write_review(path, [row(1, 'a/1.jpg')])
    assert where == path.with_name('doubtful_labels-2.csv') and unread == [path] and path.read_bytes() == content
    save(where, [HEADER, [*row(1, 'a/1.jpg'), 'wrong']])
    write_review(path, [row(1, 'b/2.jpg'), row(2, 'a/1.jpg')])
    assert [cells[-1] for cells in read(where)] == ['review', '', 'wrong']
    assert sorted(file.name for file in path.parent.iterdir()) == ['doubtful_labels-2.csv', 'doubtful_labels.csv']
