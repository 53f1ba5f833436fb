"""The verdict on settings: on the reports' figures, against textbook tests, and where little is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from flowercls.evaluate.intervals import wilson_interval
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.settings import judge_settings, score_settings
from flowercls.evaluate.simulation import draw_sweep, equal_settings


def only_difference(hits: dict, **options):
    (difference,) = judge_settings(Hits(hits), **options).differences
    return difference


# ---------------------------------------------------------------- single runs


@pytest.mark.parametrize('num_differing', [15, 27, 37])
def test_report_as_frozen_2_and_3_are_not_told_apart(num_differing, with_misses):
    """548 and 551 of 568 right."""
    hits = {
        'frozen 2': with_misses(range(20)),
        'frozen 3': with_misses([*range(num_differing - 20, 20), *range(100, 100)]),
    }
    only_three = (num_differing - 3) // 2
    hits['frozen 3'] = with_misses([*range(17 - only_three), *range(100, 100 + only_three)])
    difference = only_difference(hits)
    assert (difference.name, difference.best, difference.points) == ('frozen 2', 'frozen 3', pytest.approx(-300 / 568))
    assert not difference.is_worse and difference.may_be_best and not difference.model.is_worse
    assert difference.interval[0] < 0 < difference.interval[1] and difference.at_least is None


def test_a_setting_run_once_is_worse_only_beyond_the_assumed_scatter(with_misses):
    hits = {'all': with_misses(range(68)), 'three': with_misses(range(17))}  # 500 and 551 of 568
    assert only_difference(hits).model.is_worse and only_difference(hits).is_worse
    assert only_difference(hits, assumed_scatter=4.0).model.is_worse
    assert not only_difference(hits, assumed_scatter=4.0).is_worse
    two_points = {'a': with_misses(range(24)), 'b': with_misses(range(12))}
    assert only_difference(two_points).model.is_worse and not only_difference(two_points).is_worse
    assert only_difference(two_points, assumed_scatter=0.0).is_worse


def test_the_scatter_of_repeated_runs_replaces_the_assumption(with_misses):
    hits = {'a': with_misses(range(30)), 'b': with_misses(range(10), range(10))}
    assert only_difference(hits, assumed_scatter=9.0).is_worse and only_difference(hits).model is None


# ---------------------------------------------------------------- against textbook tests


def test_seeds_alone_are_the_pooled_t_test():
    """Where each run misses photos of its own, nothing lasts, and the range of two is Student's test."""
    rng = np.random.default_rng(0)
    accuracies = {'a': [0.96, 0.94, 0.95], 'b': [0.93, 0.90, 0.92]}
    hits = {name: rng.random((3, 20_000)) < np.array(row)[:, None] for name, row in accuracies.items()}
    expected = ttest_ind(*(runs.mean(axis=1) for runs in hits.values())).pvalue
    assert only_difference(hits).p_value == pytest.approx(expected, rel=0.03)


def test_settings_whose_seeds_change_nothing_are_compared_by_the_paired_t_test():
    rng = np.random.default_rng(1)
    first, second = rng.random(300) < 0.95, rng.random(300) < 0.90
    hits = {'a': np.array([first] * 3), 'b': np.array([second] * 3)}
    # Of so many photos this takes the variance as known.
    expected = ttest_rel(first.astype(float), second.astype(float)).pvalue
    assert only_difference(hits).p_value == pytest.approx(expected, abs=1e-3)
    few = {name: runs[:, :50] for name, runs in hits.items()}
    expected = ttest_rel(*(runs[0].astype(float) for runs in few.values())).pvalue
    assert only_difference(few).p_value == pytest.approx(expected, rel=1e-3)


def test_ruling_out_takes_less_than_calling_worse():
    cell = replace(equal_settings('', 4, 3), accuracies=(0.96, 0.96, 0.96, 0.94))
    sweeps = [draw_sweep(np.random.default_rng(seed), cell) for seed in range(40)]
    differences = [d for sweep in sweeps for d in judge_settings(sweep).differences]
    assert all(not d.may_be_best for d in differences if d.is_worse)
    assert sum(not d.may_be_best for d in differences) > 1.2 * sum(d.is_worse for d in differences) > 10
    for d in differences:
        assert d.is_worse == (d.interval[1] < 0) == (d.at_least is not None)


def test_a_smaller_error_rate_asks_for_more(with_misses):
    hits = {'a': with_misses(range(20), range(24)), 'b': with_misses(range(8), range(12))}
    usual, strict = only_difference(hits), only_difference(hits, error_rate=0.00001)
    assert usual.is_worse and not strict.is_worse and usual.p_value == strict.p_value
    assert strict.half_width > usual.half_width


# ---------------------------------------------------------------- where little is known


def test_equal_settings_are_not_told_apart_with_nothing_to_divide_by(with_misses):
    verdict = judge_settings(Hits({name: with_misses([3], [3]) for name in 'abc'}))
    assert verdict.best == 'a'
    assert [(d.points, d.p_value, d.is_worse, d.may_be_best) for d in verdict.differences] == [
        (0, pytest.approx(1), False, True)
    ] * 2


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('num_seeds', [1, 2, 3])
@pytest.mark.parametrize('num_photos', [1, 2])
def test_one_or_two_photos_prove_nothing(num_seeds, num_photos):
    hits = {'a': np.ones((num_seeds, num_photos), bool), 'b': np.zeros((num_seeds, num_photos), bool)}
    difference = only_difference(hits)
    assert difference.points == -100 and not difference.is_worse and difference.may_be_best


def test_the_order_of_photos_and_seeds_changes_nothing():
    rng = np.random.default_rng(0)
    hits = draw_sweep(rng, replace(equal_settings('', 3, 3, 1.0), accuracies=(0.96, 0.93, 0.9)))
    photos = rng.permutation(570)
    turned = Hits({name: runs[::-1, photos] for name, runs in hits.by_setting.items()})
    for before, after in zip(judge_settings(hits).differences, judge_settings(turned).differences, strict=True):
        assert (before.name, before.points) == (after.name, pytest.approx(after.points))
        assert before.p_value == pytest.approx(after.p_value)


# ---------------------------------------------------------------- scores


def test_a_single_run_has_wilsons_interval_and_no_spread(with_misses):
    (score,) = score_settings(Hits({'a': with_misses(range(20))}))
    assert (score.top1, score.spread, score.num_seeds) == (pytest.approx(100 * 548 / 568), None, 1)
    assert score.interval == pytest.approx(wilson_interval(548, 568))


def test_the_winners_interval_allows_for_the_choice():
    hits = draw_sweep(np.random.default_rng(0), equal_settings('', 8, 3))
    verdict = judge_settings(hits)
    chosen, alone = ({score.name: score for score in scores} for scores in (verdict.scores, score_settings(hits)))
    for name, score in alone.items():
        assert chosen[name].interval[1] == pytest.approx(score.interval[1])
        if name == verdict.best:
            assert chosen[name].interval[0] < score.interval[0] - 0.3
        else:
            assert chosen[name].interval[0] == pytest.approx(score.interval[0])


def test_photos_in_groups_widen_the_interval_of_a_single_run(with_misses):
    runs = {'a': with_misses(range(20), num_photos=500)}
    (alone,) = score_settings(Hits(runs))
    (grouped,) = score_settings(Hits(runs, groups=np.arange(500) // 10))
    assert grouped.interval[0] < alone.interval[0] - 1


def test_seeds_that_agree_on_every_photo_tell_no_more_than_one(with_misses):
    (score,) = score_settings(Hits({'a': with_misses(*[range(20)] * 3)}))
    low, high = wilson_interval(548, 568)
    assert score.spread == pytest.approx(0) and score.interval == pytest.approx((low, high), abs=0.02)


def test_seeds_that_differ_widen_the_interval(with_misses):
    (before,) = score_settings(Hits({'a': with_misses(range(20), range(20), range(20))}))
    (after,) = score_settings(Hits({'a': with_misses(range(2), range(20), range(38))}))
    assert before.top1 == pytest.approx(after.top1)
    assert after.interval[1] - after.interval[0] > 1.5 * (before.interval[1] - before.interval[0])


def test_nothing_missed_beside_a_restless_setting_is_not_called_unknown(with_misses):
    """One restless setting does not make 120 hits of 120 mean nothing."""
    runs = {'all': np.ones((3, 120), bool), 'one': with_misses([0], [0], [1])[:, :120]}
    runs['restless'] = with_misses(range(2), range(10), range(24))[:, :120]
    for score, least in zip(score_settings(Hits(runs)), (90, 90, 50), strict=True):
        assert least < score.interval[0] < 97.5 and score.interval[1] <= 100


def test_a_setting_is_not_worse_where_not_even_its_model_is(with_misses):
    """80 photos, 3 against 11 that only one gets right: exact tests are more careful than the normal distribution."""
    hits = {'a': with_misses(range(11), num_photos=80), 'b': with_misses(range(20, 23), num_photos=80)}
    difference = only_difference(hits, assumed_scatter=0.0)
    assert difference.model.p_value > 0.05 and not difference.model.is_worse and not difference.is_worse
    assert difference.model.interval[1] >= 0 and difference.interval[1] >= 0
