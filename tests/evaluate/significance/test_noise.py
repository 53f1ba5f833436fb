"""The variance of settings' means: by hand, with groups and folds, and with settings that scatter more."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtr

from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import Noise, Pool
from flowercls.evaluate.simulation import draw_sweep, equal_settings

DIFFERENCE = np.array([1.0, -1.0])


def test_the_variance_of_a_difference_by_hand():
    """Two settings, two seeds, four photos."""
    a = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], bool)  # 0.75 and 0.75
    b = np.array([[1, 0, 0, 0], [1, 1, 0, 1]], bool)  # 0.25 and 0.75
    noise = Noise.of(Hits({'a': a, 'b': b}))
    total = (0 + 0.125) / 2  # the variance of 0.25 and 0.75 is 0.125
    by_photo = (2 * 0.5 / 4 + 2 * 0.5 / 4) / 2  # two photos of each setting differ between its seeds
    chance = ((2 * 0.5 / 4 - 0) / 3 + (2 * 0.5 / 4 - 0.125) / 3) / 2
    assert chance == pytest.approx((by_photo - total) / 3)
    assert noise.seed_scatter == pytest.approx(100 * max(0.0, total - chance) ** 0.5)
    lasting = max(0.0, np.array([0, 0.5, 0.5, 0]).var(ddof=1) / 4 - chance)
    variance, dof = noise.variance(DIFFERENCE)
    assert variance == pytest.approx(max(lasting + total, 1 / 16))  # two means of two seeds each
    assert dof == pytest.approx(variance / (total / 2 + lasting / 3))


def test_degrees_of_freedom_keep_the_error_rate_where_satterthwaites_do_not():
    """Two degrees of freedom for most of the variance, the rest known: 400,000 differences of nothing."""
    rng, known = np.random.default_rng(0), 0.1
    estimates = rng.chisquare(2, 400_000) / 2
    variances = known + estimates
    statistics = np.abs(rng.standard_normal(400_000)) * np.sqrt((known + 1) / variances)
    ratios = variances / estimates
    ours, satterthwaites = ((2 * stdtr(dof, -statistics) <= 0.05).mean() for dof in (2 * ratios, 2 * ratios**2))
    assert ours < 0.06 < 0.075 < satterthwaites
    one = np.zeros((1, 1))
    noise = Noise(['a'], one + known, np.zeros(1), np.ones(1), [Pool(np.ones(1, bool), 2.0)], 1000, 1000, None, [])
    assert noise.variance(np.ones(1)) == pytest.approx((known + 1, 2 * (known + 1)))


def test_seeds_that_agree_by_luck_count_with_a_tenth_of_the_chance_that_photos_show():
    hits = {name: np.ones((2, 200), bool) for name in 'ab'}
    for name, start in (('a', 0), ('b', 100)):
        hits[name][0, start : start + 5] = hits[name][1, start + 5 : start + 10] = False  # both seeds 97.5 %
    noise = Noise.of(Hits(hits))
    chance = 10 * 0.5 / 200**2 * 200 / 199
    assert noise.training == pytest.approx(np.full(2, 0.1 * chance / 2))


def test_nothing_varies_but_one_photo():
    same = np.ones((3, 50), bool)
    variance, _ = Noise.of(Hits({'a': same, 'b': same})).variance(DIFFERENCE)
    assert variance == pytest.approx(1 / 50**2)


@pytest.mark.parametrize('seeds', [1, 3])
def test_copies_of_photos_in_a_group_tell_no_more_than_the_photos(seeds):
    hits = draw_sweep(np.random.default_rng(0), equal_settings('', 2, seeds, photos=300))
    copied = {name: np.repeat(runs, 5, axis=1) for name, runs in hits.by_setting.items()}
    grouped = Noise.of(Hits(copied, groups=np.repeat(np.arange(300), 5)))
    alone, apart = Noise.of(hits), Noise.of(Hits(copied))
    assert (grouped.num_groups, grouped.num_photos) == (300, 1500)
    assert grouped.variance(DIFFERENCE) == pytest.approx(alone.variance(DIFFERENCE))
    assert apart.photos == pytest.approx(alone.photos / 5, rel=0.01)


def test_folds_have_nadeau_and_bengios_variance():
    """Where seeds move whole folds, and photos hardly count."""
    folds, rng = np.repeat(np.arange(5), 2000), np.random.default_rng(0)
    accuracies = np.array([[0.90, 0.95, 0.85, 0.92, 0.88], [0.93, 0.87, 0.91, 0.86, 0.94]])
    hits = {name: (rng.random(10_000) < row[folds])[None] for name, row in zip('ab', accuracies, strict=True)}
    noise = Noise.of(Hits(hits, folds=folds))
    fold_means = [[runs[0, folds == fold].mean() for fold in range(5)] for runs in hits.values()]
    expected = np.subtract(*fold_means).var(ddof=1) * (1 / 5 + 1 / 4)
    variance, dof = noise.variance(DIFFERENCE)
    assert variance == pytest.approx(expected, rel=0.1) and dof == pytest.approx(4, rel=0.2)


def test_folds_whose_models_differ_by_photos_alone_count_as_photos():
    hits = draw_sweep(np.random.default_rng(1), equal_settings('', 4, 1, 0.0, photos=2000, folds=5))
    with_folds, without = (Noise.of(h).variance(np.array([1, -1, 0, 0]))[0] for h in (hits, replace(hits, folds=None)))
    assert with_folds == pytest.approx(without, rel=0.6)


# ---------------------------------------------------------------- settings that scatter more


def collapse(hits: Hits, setting: str, run: int) -> None:
    hits.by_setting[setting][run, ::2] = False


def test_a_collapsed_run_is_named_and_spoils_only_its_own_setting():
    hits = draw_sweep(np.random.default_rng(2), equal_settings('', 4, 3))
    calm = Noise.of(hits).variance(np.array([1, 0, -1, 0]))
    collapse(hits, 'setting 1', 2)
    noise = Noise.of(hits)
    assert [(odd.name, odd.run) for odd in noise.odd] == [('setting 1', 2)] and noise.odd[0].p_value < 0.001
    assert noise.variance(np.array([1, 0, -1, 0]))[0] < 2 * calm[0]
    assert noise.variance(np.array([1, -1, 0, 0]))[0] > 100 * calm[0]


def test_two_collapsed_runs_do_not_hide_each_other():
    hits = draw_sweep(np.random.default_rng(3), equal_settings('', 4, 3))
    collapse(hits, 'setting 1', 2)
    collapse(hits, 'setting 3', 0)
    assert {(odd.name, odd.run) for odd in Noise.of(hits).odd} == {('setting 1', 2), ('setting 3', 0)}


def test_of_two_runs_nobody_knows_which_one_is_odd():
    hits = draw_sweep(np.random.default_rng(4), equal_settings('', 4, 2))
    collapse(hits, 'setting 0', 1)
    assert [(odd.name, odd.run) for odd in Noise.of(hits).odd] == [('setting 0', None)]


@pytest.mark.parametrize('num_settings', [2, 3, 4])
def test_a_collapsed_fold_is_named_and_spoils_only_its_own_setting(num_settings):
    hits = draw_sweep(np.random.default_rng(5), equal_settings('', num_settings, 1, photos=1000, folds=5))
    others = np.eye(num_settings)[0] - np.eye(num_settings)[1]
    calm = Noise.of(hits).variance(others)[0]
    collapsed = f'setting {num_settings - 1}'
    hits.by_setting[collapsed][0, hits.folds == 3] = False
    noise = Noise.of(hits)
    assert [(odd.name, odd.run) for odd in noise.odd] == [(collapsed, 3)]
    if num_settings > 2:
        assert noise.variance(others)[0] < 3 * calm


def test_single_runs_have_the_scatter_that_is_assumed():
    hits = draw_sweep(np.random.default_rng(6), equal_settings('', 2, 1))
    photos_alone, assumed = Noise.of(hits).variance(DIFFERENCE), Noise.of(hits, 1.0).variance(DIFFERENCE)
    assert assumed[0] - photos_alone[0] == pytest.approx(2 * 0.01**2) and np.isinf(assumed[1])
