"""comparison.png: what is drawn where."""

import warnings

import pytest
from matplotlib.lines import Line2D
from PIL import Image

from flowercls.evaluate.significance import Difference, SettingScore
from flowercls.report import comparison_plot
from flowercls.report.comparison_plot import plot_comparison

NAMES = ['d$x^$1', '郁金香']
CURVES = {name: [[{'step': 1, 'accuracy/top1': 90.0}, {'step': 2, 'accuracy/top1': 95.0}]] for name in NAMES}


def effect(factor, level, difference, low, high, verdict):
    texts = {'factor': factor, 'level': level, 'verdict': verdict}
    return {**texts, 'difference': difference, 'difference_low': low, 'difference_high': high}


EFFECTS = [
    effect('lr', '0.01', None, None, None, 'best'),
    effect('lr', '0.1', -1.5, -2.5, -0.5, 'worse'),
    effect('lr', '1', -0.25, -1.25, 0.75, 'tied'),
    effect('frozen_$tages', '0', -0.125, None, None, None),
]


def draw(folder, effects=()):
    scores = [SettingScore(NAMES[0], 96.0, 0.5, 3, (94.0, 97.0)), SettingScore(NAMES[1], 95.0, 0.5, 3, (93.0, 96.5))]
    differences = [Difference(NAMES[1], NAMES[0], -1.0, 0.2, True, 1.75)]
    plot_comparison(folder / 'comparison.png', scores, differences, list(effects), 570, CURVES)


def test_names_are_drawn_as_they_are(tmp_path, texts):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        draw(tmp_path)
    assert Image.open(tmp_path / 'comparison.png').format == 'PNG'
    assert all(texts.count(name) == 2 for name in NAMES)  # beside the axis and at the curves
    assert {'best', 'tied for best'} <= set(texts) and 'no verdict' not in texts
    assert not any('each factor' in text for text in texts)


def test_effects_of_factors_have_a_picture_of_their_own(tmp_path, texts):
    draw(tmp_path, EFFECTS)
    assert {'lr = 0.01', 'lr = 0.1', 'lr = 1', 'frozen_$tages = 0', 'no verdict', 'worse'} <= set(texts)
    assert "difference to the factor's best level (percentage points), n = 570 photos, 3 seeds" in texts


@pytest.fixture
def lines(monkeypatch):
    """Where each line in the picture lies: its values and rows."""
    found = []

    def record(figure, path):
        found.extend(
            (list(map(float, x)), list(map(float, y))) for x, y in (a.get_data() for a in figure.findobj(Line2D))
        )

    monkeypatch.setattr(comparison_plot, 'save_png', record)
    return found


def test_differences_and_effects_are_drawn_with_their_intervals(tmp_path, lines):
    draw(tmp_path, EFFECTS)
    assert ([-2.75, 0.75], [1, 1]) in lines and ([-1.0], [1]) in lines  # of the settings
    assert ([-2.5, -0.5], [1, 1]) in lines and ([-1.25, 0.75], [2, 2]) in lines and ([-1.5], [1]) in lines
    assert ([-0.125], [3]) in lines and not any(rows == [3, 3] for _, rows in lines)  # no verdict, no interval
