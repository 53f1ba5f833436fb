from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flowercls.visualization.gallery import plot_mistakes


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
