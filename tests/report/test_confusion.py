import warnings

import numpy as np
import pytest
from PIL import Image

from flowercls.core.errors import DiskError
from flowercls.evaluate.predictions import Predictions
from flowercls.report.confusion import plot_confusion, row_percent


def many_classes(num_classes):
    labels = np.arange(num_classes).repeat(2)
    scores = np.eye(num_classes, dtype=np.float32)[labels]
    names = [f'species {number}' for number in range(num_classes)]
    predictions = Predictions([f'{label}/x.jpg' for label in labels], labels, scores, names)
    return {**predictions.metrics(), 'split': 'test', 'checkpoint': 'epoch_2.pth'}


def test_cells_hold_counts_and_percent_of_the_row(metrics, tmp_path, texts):
    plot_confusion(metrics, tmp_path / 'confusion.png')
    assert Image.open(tmp_path / 'confusion.png').format == 'PNG'
    # Of two oaks one is found, of three others two.
    assert {'1\n50.0 %', '1\n33.3 %', '2\n66.7 %'} <= set(texts)
    assert {'true class', 'predicted class', 'oak', 'a$_b$'} <= set(texts)
    assert any('60.00 %' in text and '5 photos of the validation set' in text for text in texts)


@pytest.mark.parametrize(('num_classes', 'cells'), [(12, '2\n100.0 %'), (13, '2'), (30, '2'), (31, None)])
def test_numbers_go_where_cells_get_small(num_classes, cells, tmp_path, texts):
    plot_confusion(many_classes(num_classes), tmp_path / 'confusion.png')
    assert sum(text == cells for text in texts) == (num_classes if cells else 0)
    assert [*texts].count('species 7') == 2 and f'species {num_classes - 1}' in texts
    width, height = Image.open(tmp_path / 'confusion.png').size
    assert 500 < width < 3000 and 500 < height < 3000


def test_of_more_than_100_classes_not_all_are_named(tmp_path, texts):
    plot_confusion(many_classes(101), tmp_path / 'confusion.png')
    assert 'species 2' in texts and 'species 3' not in texts
    assert Image.open(tmp_path / 'confusion.png').size[0] < 3000


def test_a_letter_that_no_font_has_is_no_warning(metrics, tmp_path, texts):
    scores = next(iter(metrics['per_class'].values()))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        plot_confusion({**metrics, 'per_class': {'oak': scores, '\U000e0fff': scores}}, tmp_path / 'confusion.png')
    assert '\U000e0fff' in texts


def test_a_long_clause_is_broken_into_lines(metrics, tmp_path, texts):
    clause = 'of 430 photos 12 were trained on and 30 chose the epoch; without them top-1 71.13 % (276 of 388)'
    plot_confusion(metrics, tmp_path / 'x.png', clause)
    (title,) = [text for text in texts if text.startswith('Confusion matrix')]
    lines = title.splitlines()
    assert ' '.join(lines[-2:]) == clause and max(map(len, lines)) <= 72


def test_a_class_without_photos_has_zero_percent():
    assert row_percent(np.array([[3, 1], [0, 0]])).tolist() == [[75.0, 25.0], [0.0, 0.0]]


def test_a_picture_that_cannot_be_written_is_a_disk_error(metrics, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('matplotlib.figure.Figure.savefig', full)
    with pytest.raises(DiskError, match='confusion.png'):
        plot_confusion(metrics, tmp_path / 'confusion.png')
    assert not list(tmp_path.iterdir())
