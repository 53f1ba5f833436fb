from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flowercls.core.errors import DataError
from flowercls.evaluate.label_errors import check_labels
from flowercls.report.gallery import draw_photos, plot_doubtful_labels, plot_heatmaps, plot_mistakes


@pytest.fixture
def load_photo():
    """Remembers which photos were asked for."""

    def load(number):
        load.asked.append(number)
        return np.full((20, 40 + number, 3), 8 * number, np.uint8)

    load.asked = []
    return load


def draw(predictions, metrics, load_photo, folder):
    metrics = {**metrics, **predictions.metrics()}
    plot_mistakes(predictions, metrics, load_photo, folder / 'mistakes.png')
    return Image.open(folder / 'mistakes.png').size


def test_mistakes_are_shown_with_classes_score_and_file(predictions, metrics, load_photo, tmp_path, texts):
    draw(predictions, metrics, load_photo, tmp_path)
    assert load_photo.asked == [3, 1]
    assert 'oak → a$_b$\nscore 80.0 %\n3.jpg' in texts and 'a$_b$ → oak\nscore 60.0 %\n1.jpg' in texts
    assert any('All 2 mistakes among 5 photos of the validation set' in text for text in texts)


def test_no_mistakes_is_said(predictions, metrics, load_photo, tmp_path, texts):
    draw(replace(predictions, labels=predictions.scores.argmax(axis=1)), metrics, load_photo, tmp_path)
    assert load_photo.asked == [] and any('No mistakes among 5 photos' in text for text in texts)


def test_of_many_mistakes_the_most_confident_are_shown(predictions, metrics, load_photo, tmp_path, texts):
    scores = np.stack([np.linspace(0.51, 0.99, 30), 1 - np.linspace(0.51, 0.99, 30)], axis=1).astype(np.float32)
    names = [f'b/{"x" * 40}{number}.jpg' for number in range(30)]
    many = replace(predictions, images=names, labels=np.ones(30, int), scores=scores)
    width, height = draw(many, metrics, load_photo, tmp_path)
    assert load_photo.asked == list(range(29, 5, -1)) and max(width, height) < 2000
    assert any('The 24 most confident of 30 mistakes' in text for text in texts)
    assert any(text.endswith('x29.jpg') and '…' in text for text in texts)  # a long name keeps its end


def test_heat_maps_stand_beside_their_photos(predictions, metrics, load_photo, tmp_path, texts, saved_figures):
    def draw_heatmaps(photos, classes):
        assert classes == [1, 0]  # as predicted for photos 3 and 1
        return [255 - photo for photo in photos]

    plot_heatmaps(predictions, metrics, load_photo, draw_heatmaps, tmp_path / 'maps.png')
    assert 'evidence for\na$_b$\n' in texts and 'oak → a$_b$\nscore 80.0 %\n3.jpg' in texts
    shown = [int(np.asarray(axes.images[0].get_array())[0, 0, 0]) for axes in saved_figures[0].axes if axes.images]
    assert shown == [24, 255 - 24, 8, 255 - 8]


def test_without_mistakes_no_heat_map_is_asked_for(predictions, metrics, load_photo, tmp_path, texts):
    right = replace(predictions, labels=predictions.scores.argmax(axis=1))
    plot_heatmaps(right, metrics, load_photo, None, tmp_path / 'maps.png')
    assert any('No mistakes among 5 photos' in text for text in texts)


@pytest.fixture
def check(predictions):
    return check_labels(predictions.scores, predictions.labels)


def test_doubtful_labels_are_shown_with_both_classes_and_scores(predictions, check, load_photo, tmp_path, texts):
    # Thresholds 0.55 and 0.55: photo 3 (label oak) has 0.8 for the other, photo 1 the other way round 0.6.
    plot_doubtful_labels(predictions, check, '5 folds', load_photo, tmp_path / 'doubtful.png')
    assert load_photo.asked == [3, 1]
    assert 'oak → a$_b$?\n20.0 % → 80.0 %\n3.jpg' in texts and 'a$_b$ → oak?\n40.0 % → 60.0 %\n1.jpg' in texts
    assert 'All 2 doubtful labels among 5 photos, 5 folds\nlabel → suggestion' in texts


def test_photos_that_are_gone_are_left_out_of_the_gallery(predictions, check, load_photo, tmp_path, texts):
    def load(number):
        if number == 3:
            raise DataError('gone')
        return load_photo(number)

    plot_doubtful_labels(predictions, check, '5 folds', load, tmp_path / 'doubtful.png')
    assert load_photo.asked == [1] and not any('3.jpg' in text for text in texts)
    assert any(text.endswith('5 folds\nlabel → suggestion\nwithout 1 that cannot be read any more') for text in texts)


def test_of_many_doubtful_labels_the_first_are_shown(predictions, load_photo, tmp_path, texts):
    scores = np.full((1030, 2), [0.0, 1.0], np.float32)
    labels = np.where(np.arange(1030) < 30, 0, 1)
    many = replace(predictions, images=[f'a/{number}.jpg' for number in range(1030)], labels=labels, scores=scores)
    plot_doubtful_labels(many, check_labels(scores, labels), '5 folds', load_photo, tmp_path / 'doubtful.png')
    assert load_photo.asked == list(range(24))
    assert 'The 24 most doubtful of 30 labels among 1,030 photos, 5 folds\nlabel → suggestion' in texts


def test_no_doubtful_label_is_said(predictions, load_photo, tmp_path, texts):
    none = check_labels(predictions.scores, predictions.scores.argmax(axis=1))
    plot_doubtful_labels(predictions, none, '5 folds', load_photo, tmp_path / 'doubtful.png')
    assert 'No doubtful labels among 5 photos, 5 folds' in texts and (tmp_path / 'doubtful.png').exists()


def test_every_photo_is_drawn_and_mistakes_come_first(predictions, tmp_path):
    photo = np.zeros((50, 100, 3), np.uint8)
    photo[:, :50] = (200, 30, 30)
    draw_photos(predictions, lambda number: photo, tmp_path / 'new' / 'show')
    names = sorted(path.name for path in (tmp_path / 'new' / 'show').iterdir())
    # Mistakes by falling confidence 0.8, 0.6; hits by rising confidence 0.55, 0.7, 0.9.
    assert names == [
        '00001_wrong_3.jpg', '00002_wrong_1.jpg', '00003_right_4.jpg', '00004_right_2.jpg', '00005_right_0.jpg'
    ]  # fmt: skip
    picture = np.asarray(Image.open(tmp_path / 'new' / 'show' / names[0]), int)
    assert picture.shape == (64 + 192, 384, 3)
    assert abs(picture[150, 50] - (200, 30, 30)).max() < 12 and picture[150, 300].max() < 12
    assert (picture[:64] < 128).any()  # the caption


@pytest.mark.parametrize('letter', ['x', '向', '🌷'])
def test_photos_with_the_longest_names_are_drawn(predictions, tmp_path, letter):
    photo, stem = np.zeros((8, 8, 3), np.uint8), letter * (251 // len(letter.encode()))
    five = replace(predictions, images=[f'a/{stem}.jpg'] * 5)
    draw_photos(five, lambda number: photo, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 5 and names[0] == f'00001_wrong_{letter * 25}…{letter * 24}.jpg'
