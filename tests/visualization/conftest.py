import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from flowercls.evaluation.predictions import Predictions


@pytest.fixture
def texts(monkeypatch):
    """Every text in the figures saved during the test."""
    found = []
    save = Figure.savefig

    def record(figure, *args, **kwargs):
        save(figure, *args, **kwargs)
        found.extend(text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible())

    monkeypatch.setattr(Figure, 'savefig', record)
    return found


@pytest.fixture
def predictions():
    """Five photos of two classes, two of them mistakes; one class name would be a formula in matplotlib."""
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.45, 0.55]], np.float32)
    names = [f'a/{number}.jpg' for number in range(5)]
    return Predictions(names, np.array([0, 1, 1, 0, 1]), scores, ['oak', 'a$_b$'])


@pytest.fixture
def metrics(predictions):
    return {**predictions.metrics(), 'split': 'val', 'checkpoint': 'epoch_2.pth'}
