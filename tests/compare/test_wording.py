"""The sentences of a verdict, situation by situation."""

import re
from dataclasses import replace

import numpy as np
import pytest

from flowercls.compare.looks_history import Look
from flowercls.compare.wording import MAX_LINES, verdict_lines
from flowercls.evaluate.significance.power import SampleSize


def line_with(keyword, comparison):
    (line,) = [line for line in verdict_lines(comparison) if keyword in line]
    return line


def has_all(text, *keywords):
    return all(keyword in text for keyword in keywords)


# ---------------------------------------------------------------- settings with several seeds


@pytest.fixture
def three(compared, runs):
    """The best one, one that is a little worse, and one that is much worse."""
    return compared({'a': runs(20, 22, 24), 'b': runs(22, 24, 26), 'c': runs(90, 92, 94)})


def test_who_may_still_be_the_best_stands_in_the_headline_with_how_much_worse_it_could_be(three):
    near = three.verdict.differences[0]
    headline = verdict_lines(three)[0]
    assert headline.startswith('a has the highest top-1, 96.13 %. May still be the best: b (-0.35 points, ')
    assert f'could be {-near.interval[0]:.2f} worse' in headline and 'tied' not in headline


def test_the_worse_setting_is_named_with_the_least_difference(three):
    far = three.verdict.differences[1]
    assert f'c is worse than a: -12.32 points, at least {far.at_least:.2f} worse (p < 0.001).' in verdict_lines(three)


def test_better_than_every_other_needs_every_other_to_be_worse(compared, runs, three):
    words = 'better than every other setting'
    alone = compared({'a': runs(20, 22, 24), 'c': runs(90, 92, 94), 'd': runs(80, 82, 84)})
    assert words in verdict_lines(alone)[0] and words not in verdict_lines(three)[0]


def test_ruled_out_as_best_is_not_worded_as_worse(three):
    b, c = three.verdict.differences
    ruled_out = replace(three.verdict, differences=[replace(b, may_be_best=False), c])
    comparison = replace(three, verdict=ruled_out)
    assert line_with('Ruled out as best', comparison).endswith('not shown to be worse than a: b (-0.35 points).')
    assert verdict_lines(comparison)[0] == 'a has the highest top-1, 96.13 %. No other setting is better.'


def test_equal_settings_have_the_same_top1(compared, runs):
    assert 'b (the same top-1, could be' in verdict_lines(compared({'a': runs(20, 22), 'b': runs(20, 22)}))[0]


def test_fifty_settings_do_not_make_fifty_lines(compared, runs):
    comparison = compared({f'lr={i}': runs(*[20 + 6 * i] * 3) for i in range(50)})
    lines = verdict_lines(comparison)
    assert len(lines) < MAX_LINES + 12 and sum('is worse than' in line for line in lines) == MAX_LINES
    assert re.search(r'\d\d more settings are worse than lr=0, each by at least .* and \d\d more', '\n'.join(lines))


def test_nan_is_no_verdict(three):
    b, c = three.verdict.differences
    unknown = replace(three, verdict=replace(three.verdict, differences=[b, replace(c, p_value=np.nan)]))
    text = '\n'.join(verdict_lines(unknown))
    assert 'No verdict on c' in text and 'c is worse' not in text and 'nan' not in text


# ---------------------------------------------------------------- single runs


def test_two_single_runs_of_nearly_the_same_figure_are_not_told_apart(compared, runs):
    """Report A: 548 and 551 of 568."""
    comparison = compared({'frozen=2': runs(20), 'frozen=3': runs(17, start=10)})
    headline, second, third, *_ = verdict_lines(comparison)
    assert has_all(headline, 'Single runs: this model of frozen=3', '551 of 568', 'no setting can be called better')
    assert second.startswith('Not told apart from this model of frozen=3: frozen=2 (548 right, p = ')
    half_width = comparison.verdict.differences[0].half_width
    assert has_all(third, 'seeds scatter by 1 point (--seed-scatter)', f'at least {half_width:.2f} points', 'several')


def test_single_runs_that_differ_are_told_apart_as_models_and_as_settings_by_assumption(compared, runs):
    """500 against 551 of 568."""
    comparison = compared({'lr=0.01': runs(68), 'lr=0.1': runs(17, start=60)})
    headline, second, third, *_ = verdict_lines(comparison)
    assert headline == 'Single runs: this model of lr=0.1 got the most photos right, 551 of 568.'
    assert second.startswith(
        'This model of lr=0.1 got more photos right than this model of lr=0.01: 551 against 500 of'
    )
    assert re.search(r'on other photos the model of lr=0\.01 is at least \d+\.\d\d points worse', second)
    assert has_all(third, 'Assuming that seeds scatter by 1 point', 'worse than lr=0.1 as a setting: lr=0.01')
    cautious = verdict_lines(compared(comparison.hits.by_setting, scatter=4.0))
    assert has_all(cautious[0], 'if seeds scatter by 4 points', 'no setting can be called better')


def test_models_with_equally_many_photos_right_share_the_headline(compared, runs):
    comparison = compared({'a': runs(10), 'b': runs(10, start=5), 'c': runs(20)})
    assert '558 of 568, as did b. One seed' in verdict_lines(comparison)[0]


def test_no_difference_of_more_than_100_points_is_asked_for(compared, runs):
    text = '\n'.join(verdict_lines(compared({'a': runs(10), 'b': runs(20)}, scatter=100.0)))
    assert 'no difference is enough to call a setting better' in text and 'it takes a difference' not in text


def test_a_single_run_is_never_called_better_than_every_other_setting(compared, runs):
    text = '\n'.join(verdict_lines(compared({'a': runs(10), 'b': runs(200)})))
    assert 'better than every other' not in text and 'has the highest top-1' not in text


def test_fifty_single_runs_do_not_make_fifty_lines(compared, runs):
    lines = verdict_lines(compared({f'lr={i}': runs(20 + 6 * i) for i in range(50)}))
    assert len(lines) < MAX_LINES + 12 and any('more settings got fewer photos right' in line for line in lines)


# ---------------------------------------------------------------- looks


@pytest.mark.parametrize(
    ('look', 'beginning'),
    [
        (Look(1), 'a has'),
        (Look(2), 'Second look: its error rate is not controlled. a has'),
        (Look(12), 'Look 12: its error rate is not controlled. a has'),
        (
            Look(2, 0.02, (3, 5), True),
            'Look 2 of 2 (3, 5 seeds): 5 % holds over all looks; a difference counts below p = 0.02. a has',
        ),
        (
            Look(2, 0.02, (3, 5), True, late=(3, 5, 8)),
            'Look 2 of 2 (3, 5 seeds): 5 % holds over all looks; a difference counts below p = 0.02. The looks at '
            '3, 5, 8 seeds were declared only after a verdict, so that plan does not count. a has',
        ),
        (Look(1, declared=(5, 8)), 'First look: its error rate is not controlled; declared are looks at 5, 8 seeds'),
        (Look(2, late=(3, 5)), 'Second look: its error rate is not controlled; looks at 3, 5 seeds were declared only'),
    ],
)
def test_a_look_stands_before_the_verdict(three, look, beginning):
    assert verdict_lines(replace(three, look=look))[0].startswith(beginning)


# ---------------------------------------------------------------- factors

GRID = {f'{f}{lr}': {'frozen': f, 'lr': lr} for f in ('0', '2') for lr in ('0.1', '0.01')}


def test_an_interaction_is_said(compared, runs):
    misses = dict(zip(GRID, (20, 90, 90, 20), strict=True))
    hits = {name: runs(number, number + 2, number + 4) for name, number in misses.items()}
    line = line_with('factors interact', compared(hits, levels=GRID))
    assert has_all(line, 'p < 0.001', 'no level is better or worse by itself', 'table of combinations')


def test_without_an_interaction_its_p_value_is_told(compared, runs):
    hits = {name: runs(20, 24, 22) for name in GRID}
    assert 'No interaction of the factors was found (p = ' in line_with('interaction', compared(hits, levels=GRID))


def test_single_runs_show_no_interaction(compared, runs):
    comparison = compared({name: runs(20) for name in GRID}, levels=GRID)
    assert 'takes several seeds' in line_with('whether the factors interact', comparison)


def test_an_incomplete_grid_is_said(compared, runs):
    levels = dict(list(GRID.items())[:3])
    comparison = compared({name: runs(20, 22) for name in levels}, levels=levels)
    assert line_with('grid is incomplete', comparison).endswith('frozen=2 with lr=0.01 is missing.')


# ---------------------------------------------------------------- plans


@pytest.mark.parametrize(
    ('numbers', 'keywords'),
    [
        ((8421, 12), ('about 8,400 photos (now 568), or 12 seeds a setting',)),
        ((8421, None), ('about 8,400 photos', 'more seeds alone would not')),
        ((None, 55), ('55 seeds a setting', 'more photos alone would not')),
        ((None, None), ('neither 10 times the photos nor 60 seeds',)),
    ],
)
def test_a_plan_says_what_would_find_the_difference(three, numbers, keywords):
    comparison = replace(three, sample_sizes=[SampleSize('b', 1.25, *numbers, None)])
    assert has_all(line_with('To find b worse, if it truly is by 1.25 points', comparison), *keywords)


def test_a_plan_for_single_runs_names_the_assumption(three):
    comparison = replace(three, sample_sizes=[SampleSize('b', 1.25, None, 8, 0.5)])
    assert 'seeds scatter by 0.5 points' in line_with('To find b worse', comparison)


def test_a_verdict_after_a_plan_is_another_look(three):
    plan = SampleSize('b', 1.25, 8000, 12, None)
    line = line_with('another look', replace(three, sample_sizes=[plan]))
    assert has_all(line, '80 of 100', 'not controlled', 'declare looks')
    declared = replace(three, sample_sizes=[plan], look=Look(1, 0.02, (3, 5), True))
    assert 'except at 3 or 5 seeds' in line_with('another look', declared)


def test_a_difference_below_the_margin_is_not_worth_chasing(three):
    assert line_with('worth chasing', three).endswith('(below 1 point): b.')
