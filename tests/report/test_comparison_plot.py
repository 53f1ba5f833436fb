"""comparison.png: names, verdicts and intervals, and their places."""

import warnings

import pytest
from matplotlib.lines import Line2D
from PIL import Image

from flowercls.compare.rows import EffectRow, SettingRow
from flowercls.report.comparison_plot import plot_comparison

NAMES = ['d$x^$1', '郁金香']
CURVES = {name: [[{'step': 1, 'accuracy/top1': 90.0}, {'step': 2, 'accuracy/top1': 95.0}]] for name in NAMES}
SETTINGS = [
    SettingRow(NAMES[0], 3, 570, 96.0, 0.5, 94.0, 97.0, None, None, None, None, 'best', None, None, None),
    SettingRow(NAMES[1], 3, 570, 95.0, 0.5, 93.0, 96.5, -1.0, -2.75, 0.75, 0.2, 'tied', None, None, None),
]
EFFECTS = [
    EffectRow('lr', '0.01', 570, 96.0, None, None, None, None, 'best'),
    EffectRow('lr', '0.1', 570, 94.5, -1.5, -2.5, -0.5, 0.01, 'worse'),
    EffectRow('lr', '1', 570, 95.75, -0.25, -1.25, 0.75, 0.4, 'tied'),
    EffectRow('frozen_$tages', '0', 570, 95.0, -0.125, None, None, None, None),
]


def draw(folder, effects=()):
    plot_comparison(folder / 'comparison.png', SETTINGS, list(effects), CURVES)


def test_names_are_drawn_as_they_are(tmp_path, texts):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        draw(tmp_path)
    assert Image.open(tmp_path / 'comparison.png').format == 'PNG'
    assert all([*texts].count(name) == 2 for name in NAMES)  # beside the axis and at the curves
    assert {'best', 'tied for best'} <= set(texts) and 'no verdict' not in texts
    assert not any('each factor' in text for text in texts)


def test_effects_of_factors_have_a_picture_of_their_own(tmp_path, texts):
    draw(tmp_path, EFFECTS)
    assert {'lr = 0.01', 'lr = 0.1', 'lr = 1', 'frozen_$tages = 0', 'no verdict', 'worse'} <= set(texts)
    assert "difference to the factor's best level (percentage points), n = 570 photos, 3 seeds" in texts


@pytest.fixture
def lines(saved_figures):
    """Where each line in the pictures lies: its values and rows."""
    return lambda: [
        (list(map(float, x)), list(map(float, y)))
        for figure in saved_figures
        for x, y in (line.get_data() for line in figure.findobj(Line2D))
    ]


def test_differences_and_effects_are_drawn_with_their_intervals(tmp_path, lines):
    draw(tmp_path, EFFECTS)
    drawn = lines()
    assert ([-2.75, 0.75], [1, 1]) in drawn and ([-1.0], [1]) in drawn  # of the settings
    assert ([-2.5, -0.5], [1, 1]) in drawn and ([-1.25, 0.75], [2, 2]) in drawn and ([-1.5], [1]) in drawn
    assert ([-0.125], [3]) in drawn and not any(rows == [3, 3] for _, rows in drawn)  # no verdict, no interval
