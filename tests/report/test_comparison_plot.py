"""comparison.png: names, verdicts and intervals, and their places."""

import warnings
from dataclasses import replace

import pytest
from matplotlib.lines import Line2D
from PIL import Image

from flowercls.compare import rows as words
from flowercls.compare.rows import EffectRow, SettingRow
from flowercls.report.comparison_plot import VERDICTS, plot_comparison

NAMES = ['d$x^$1', '郁金香']
CURVES = {name: [[{'step': 1, 'accuracy/top1': 90.0}, {'step': 2, 'accuracy/top1': 95.0}]] for name in NAMES}
SETTINGS = [
    SettingRow(NAMES[0], 3, 570, 96.0, 0.5, 94.0, 97.0, None, None, None, None, 'best', None, None, None),
    SettingRow(NAMES[1], 3, 570, 95.0, 0.5, 93.0, 96.5, -1.0, -2.75, 0.75, 0.2, 'may be best', None, None, None),
]
EFFECTS = [
    EffectRow('lr', '0.01', 570, 96.0, None, None, None, None, 'best'),
    EffectRow('lr', '0.1', 570, 94.5, -1.5, -2.5, -0.5, 0.01, 'worse'),
    EffectRow('lr', '1', 570, 95.75, -0.25, -1.25, 0.75, 0.4, 'not told apart'),
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
    assert {'best', 'may be best'} <= set(texts) and 'no verdict' not in texts
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


def test_every_verdict_has_a_mark_of_its_own():
    verdicts = [words.BEST, words.MAY_BE_BEST, words.RULED_OUT, words.WORSE, None]
    assert len({VERDICTS[verdict] for verdict in verdicts}) == len({VERDICTS[v][1] for v in verdicts}) == 5
    assert {words.MOST_RIGHT, words.NOT_TOLD_APART, words.FEWER_RIGHT} <= VERDICTS.keys()


def test_of_single_runs_the_models_are_drawn(tmp_path, texts, lines):
    rows = [
        replace(SETTINGS[0], model_verdict='most right'),
        replace(SETTINGS[1], model_low=-1.5, model_high=-0.5, model_p_value=0.01, model_verdict='fewer right'),
    ]
    plot_comparison(tmp_path / 'comparison.png', rows, [], CURVES)
    assert {'most right', 'fewer right'} <= set(texts) and any('of these models' in text for text in texts)
    assert ([-1.5, -0.5], [1, 1]) in lines() and ([-2.75, 0.75], [1, 1]) not in lines()


def test_a_setting_that_scatters_far_more_does_not_squeeze_the_others(tmp_path, saved_figures):
    wide = replace(SETTINGS[1], top1_low=5.0, top1_high=99.0, difference_low=-90.0, difference_high=90.0)
    rows = [*SETTINGS, replace(SETTINGS[1], setting='c'), replace(wide, setting='d', difference=-20.0)]
    plot_comparison(tmp_path / 'comparison.png', rows, [], CURVES)
    accuracy, difference = saved_figures[0].axes[:2]
    assert accuracy.get_xlim()[0] > 90 and -25 < difference.get_xlim()[0] < -20 and difference.get_xlim()[1] < 5
