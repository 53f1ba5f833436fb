"""Verdicts on which settings differ: worked by hand, on the reports' figures, and by simulation with known truth."""

import numpy as np
import pytest
from scipy.stats import studentized_range, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from flowercls.evaluate import simulation
from flowercls.evaluate.intervals import wilson_interval
from flowercls.evaluate.significance.noise import Noise
from flowercls.evaluate.significance.settings import differences_to_best, holm, mcnemar_p_value, score_settings

# ---------------------------------------------------------------- the reports


@pytest.mark.parametrize('shared', [0, 10, 17])
def test_report_as_frozen_2_and_3_cannot_be_told_apart(shared, with_misses):
    """548 and 551 of 568 right, single runs, however many of the missed photos are the same."""
    two, three = range(20), [*range(shared), *range(100, 117 - shared)]
    hits = {'frozen 2': with_misses(two), 'frozen 3': with_misses(three)}
    (verdict,) = differences_to_best(hits)
    assert (verdict.name, verdict.best, verdict.tied) == ('frozen 2', 'frozen 3', True)
    assert verdict.points == pytest.approx(-100 * 3 / 568)
    assert verdict.interval[0] < 0 < verdict.interval[1] and verdict.at_least is None


def test_a_single_run_far_below_is_told_apart(with_misses):
    hits = {'all': with_misses(range(60)), 'three': with_misses(range(17))}
    (verdict,) = differences_to_best(hits)
    assert not verdict.tied and verdict.p_value == pytest.approx(2 / 2**43)
    share, n = 43 / 568, 568  # 43 photos that one alone gets right, none the other way round
    half = 1.959964 * np.sqrt(share * (1 - share) / n) + 1 / n
    assert verdict.at_least == pytest.approx(100 * (share - half), abs=1e-4)


@pytest.mark.parametrize(('only_best', 'is_tied'), [(5, True), (6, False)])
def test_interval_and_test_of_two_single_runs_agree_on_few_photos(only_best, is_tied, with_misses):
    (verdict,) = differences_to_best({'a': with_misses(range(only_best)), 'b': with_misses([])})
    assert verdict.tied == is_tied == (verdict.interval[1] > 0)


def test_single_runs_are_corrected_for_all_pairs(with_misses):
    hits = {'a': with_misses(range(30)), 'b': with_misses(range(20)), 'c': with_misses(range(10, 28))}
    p_values = [mcnemar_p_value(hits[x][0], hits[y][0]) for x, y in ('ab', 'ac', 'bc')]
    verdicts = {verdict.name: verdict for verdict in differences_to_best(hits)}
    assert set(verdicts) == {'a', 'b'} and verdicts['a'].best == 'c'
    assert verdicts['a'].p_value == pytest.approx(max(2 * p_values[1], 3 * min(p_values)))


# ---------------------------------------------------------------- several seeds, by hand


def test_the_variance_of_a_difference_by_hand():
    """Two settings, two seeds, four photos."""
    a = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], bool)  # 0.75 and 0.75
    b = np.array([[1, 0, 0, 0], [1, 1, 0, 1]], bool)  # 0.25 and 0.75
    noise = Noise.of({'a': a, 'b': b})
    total = (0 + 0.125) / 2  # the variance of 0.25 and 0.75 is 0.125
    by_photo = (2 * 0.5 / 4 + 2 * 0.5 / 4) / 2  # two photos of each setting differ between its seeds
    chance = (by_photo - total) / 3
    assert (noise.seed, noise.chance, noise.dof) == pytest.approx((total - chance, chance, 2))
    (verdict,) = differences_to_best({'a': a, 'b': b})
    paired = np.array([0, -0.5, -0.5, 0])
    of_photos = max(paired.var(ddof=1) / 4, (1 / 4) ** 2)
    variance = of_photos + (total - chance) * (1 / 2 + 1 / 2)
    freedom = max(2, variance**2 / (total**2 / 2 + of_photos**2 / 3))
    assert verdict.points == pytest.approx(-25)
    assert verdict.p_value == pytest.approx(studentized_range.sf(0.25 / np.sqrt(variance / 2), 2, freedom))
    half = 100 * np.sqrt(variance / 2) * studentized_range.ppf(0.95, 2, freedom)
    assert verdict.interval == pytest.approx((-25 - half, -25 + half))


def test_two_settings_whose_seeds_change_nothing_are_compared_as_photos_alone():
    """Then the range of two is the paired t test over photos."""
    rng = np.random.default_rng(1)
    first, second = rng.random(300) < 0.95, rng.random(300) < 0.90
    hits = {'a': np.array([first] * 3), 'b': np.array([second] * 3)}
    (verdict,) = differences_to_best(hits)
    # Of so many photos this takes the variance as known.
    assert verdict.p_value == pytest.approx(ttest_rel(first.astype(float), second.astype(float)).pvalue, abs=1e-3)
    few = {name: runs[:, :50] for name, runs in hits.items()}
    (verdict,) = differences_to_best(few)
    assert verdict.p_value == pytest.approx(
        ttest_rel(*(runs[0].astype(float) for runs in few.values())).pvalue, rel=1e-6
    )


def test_equal_settings_are_tied_with_nothing_to_divide_by(with_misses):
    hits = {name: with_misses([3], [3]) for name in 'abc'}
    assert [(v.points, v.p_value, v.tied) for v in differences_to_best(hits)] == [(0, 1, True)] * 2


def test_the_order_of_photos_and_seeds_changes_nothing():
    rng = np.random.default_rng(0)
    hits = simulation.draw_sweep(rng, [0.96, 0.93, 0.9], seed_spread=1.0)
    photos = rng.permutation(570)
    turned = {name: runs[::-1, photos] for name, runs in hits.items()}
    for before, after in zip(differences_to_best(hits), differences_to_best(turned), strict=True):
        assert (before.name, before.points) == (after.name, pytest.approx(after.points))
        assert before.p_value == pytest.approx(after.p_value)


# ---------------------------------------------------------------- scores


def test_a_single_run_has_wilsons_interval_and_no_spread(with_misses):
    (score,) = score_settings({'a': with_misses(range(20))})
    assert (score.top1, score.spread, score.num_seeds) == (pytest.approx(100 * 548 / 568), None, 1)
    assert score.interval == wilson_interval(548, 568)


def test_seeds_that_agree_on_every_photo_tell_no_more_than_one(with_misses):
    same = {'a': with_misses(*[range(20)] * 3)}
    (score,) = score_settings(same)
    low, high = wilson_interval(548, 568)
    assert score.spread == pytest.approx(0) and score.interval == pytest.approx((low, high), abs=0.02)


def test_seeds_that_differ_widen_the_interval(with_misses):
    calm = {'a': with_misses(range(20), range(20), range(20))}
    restless = {'a': with_misses(range(2), range(20), range(38))}
    (before,), (after,) = score_settings(calm), score_settings(restless)
    assert before.top1 == pytest.approx(after.top1)
    assert after.interval[1] - after.interval[0] > 1.5 * (before.interval[1] - before.interval[0])


def test_nothing_missed_beside_a_restless_setting_is_not_called_unknown(with_misses):
    """One restless setting raises what seeds may do to all; it does not make 120 hits of 120 mean nothing."""
    runs = {'all': np.ones((3, 120), bool), 'one': with_misses([0], [0], [1])[:, :120]}
    runs['restless'] = with_misses(range(2), range(10), range(24))[:, :120]
    for score, (least, most) in zip(score_settings(runs), ((70, 97), (70, 97), (60, 88)), strict=True):
        assert least < score.interval[0] < most and score.interval[1] <= 100


def test_one_run_beside_settings_with_seeds_is_not_taken_for_surer_than_they_are(with_misses):
    three = with_misses(range(10), range(20), range(30))
    single, several = score_settings({'one': with_misses(range(20)), 'three': three})
    assert single.spread is None and single.top1 == pytest.approx(several.top1)
    assert single.interval[0] < several.interval[0] and single.interval[1] > several.interval[1] - 0.2


def test_two_photos_prove_nothing():
    (verdict,) = differences_to_best({'a': np.ones((3, 2), bool), 'b': np.zeros((3, 2), bool)})
    assert verdict.points == -100 and verdict.tied and verdict.half_width > 100


# ---------------------------------------------------------------- simulation


@pytest.mark.slow
@pytest.mark.parametrize('seed_spread', [0.0, 0.5, 1.0])
def test_equal_settings_are_rarely_called_different_and_a_worse_one_is_mostly_found(seed_spread):
    """`python -m flowercls.evaluate.simulation` has 2,000 sweeps; 300 reach 9.2 % by chance once in a hundred."""
    assert simulation.wrong_calls(300, seed_spread=seed_spread) <= 0.06 + 0.032
    assert simulation.power(300, seed_spread=seed_spread) >= 0.80


# ---------------------------------------------------------------- tests of single runs


def test_mcnemars_test_by_hand_and_by_statsmodels():
    hits = np.ones(10, bool)
    missed = hits.copy()
    missed[:6] = False  # six tosses, all to one side: 2 / 2**6
    assert mcnemar_p_value(hits, missed) == mcnemar_p_value(missed, hits) == pytest.approx(2 / 64)
    assert mcnemar_p_value(hits, hits) == 1.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first, second = rng.random(200) < 0.9, rng.random(200) < 0.8 + 0.01 * seed
        table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
        assert mcnemar_p_value(first, second) == pytest.approx(mcnemar(table, exact=True).pvalue)


def test_holms_correction_by_hand_and_by_statsmodels():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    for number in (7, 70):  # not more: multipletests collects garbage, which takes a second beside a loaded torch
        p_values = np.random.default_rng(number).random(number) ** 3
        np.testing.assert_allclose(holm(p_values), multipletests(p_values, method='holm')[1])
