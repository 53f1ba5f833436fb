"""Effects of factors and their interaction: against the classical analysis of variance, and in simulated grids."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, studentized_range
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from flowercls.evaluate.significance.factors import factor_effects
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import Noise
from flowercls.evaluate.simulation import draw_sweep, equal_settings

# How many of 100 photos each of four runs misses, by setting: the settings are equal, their runs are not.
MISSED = [(40, 30, 20, 10), (10, 38, 34, 18), (15, 20, 40, 25), (28, 12, 36, 24), (34, 14, 18, 34), (40, 25, 25, 10)]


def levels_of(shape):
    """Levels of a full grid, by setting: factor `f0` varies slowest."""
    cells = product(*(range(number) for number in shape))
    return {'-'.join(map(str, cell)): {f'f{i}': str(level) for i, level in enumerate(cell)} for cell in cells}


def textbook_grid(more_missed):
    """A grid of 2 x 3 whose noise is all in its runs, as each photo is missed by as many of them.

    Args:
        more_missed: Photos that each run of a setting misses beside `MISSED`, 0 or 25.

    Returns:
        Its hits, and the classical analysis of variance of its runs' accuracies.
    """
    hits, table = {}, []
    for (name, levels), missed, more in zip(levels_of((2, 3)).items(), MISSED, more_missed, strict=True):
        hits[name] = np.ones((4, 100), bool)
        run = np.repeat(np.arange(4), np.add(missed, more))
        hits[name][run, np.arange(len(run)) % 100] = False
        table += [{**levels, 'top1': accuracy} for accuracy in hits[name].mean(axis=1)]
    return Hits(hits), anova_lm(ols('top1 ~ C(f0) * C(f1)', pd.DataFrame(table)).fit(), typ=2)


def test_without_noise_of_photos_the_interaction_is_that_of_the_classical_anova():
    hits, anova = textbook_grid([0, 0, 25, 0, 0, 0])
    assert Noise.of(hits).odd == []
    factors = factor_effects(hits, levels_of((2, 3)))
    assert factors.interaction_p == pytest.approx(anova.loc['C(f0):C(f1)', 'PR(>F)'])
    assert 0.01 < factors.interaction_p < 0.1


def test_of_an_additive_grid_the_levels_are_judged_as_by_the_classical_anova_and_tukey():
    hits, anova = textbook_grid([0, 0, 25, 0, 0, 25])
    factors = factor_effects(hits, levels_of((2, 3)))
    assert factors.interaction_p == pytest.approx(1) and not factors.has_interaction
    best, equal, worse = (effect for effect in factors.effects if effect.factor == 'f1')
    error = np.sqrt(anova.loc['Residual', 'sum_sq'] / anova.loc['Residual', 'df'] / 8)  # eight runs have each level
    assert (best.points, best.half_width, best.p_value, best.is_worse) == (0, None, None, None)
    assert (equal.points, equal.p_value, equal.is_worse) == (0, 1, False)
    assert (worse.level, worse.best, worse.points, worse.is_worse) == ('2', '0', pytest.approx(-25), True)
    # Two factors: each p-value counts twice.
    assert worse.p_value == pytest.approx(2 * studentized_range.sf(0.25 / error, 3, 18), rel=0.01)
    assert worse.half_width == pytest.approx(100 * error * studentized_range.ppf(0.975, 3, 18), rel=1e-3)


def drawn_grid(rng, accuracies, num_seeds=3, num_photos=570, seed_scatter=0.0):
    """Hits of a grid with these true accuracies in percent; photos differ in difficulty, by a probit model."""
    ease, hits = 2 * rng.standard_normal(num_photos), {}
    for name, accuracy in zip(levels_of(np.shape(accuracies)), np.ravel(accuracies), strict=True):
        truths = np.clip((accuracy + seed_scatter * rng.standard_normal((num_seeds, 1))) / 100, 0.001, 0.999)
        chance = rng.standard_normal((num_seeds, num_photos))
        hits[name] = norm.ppf(truths) * np.sqrt(5) + ease + chance > 0
    return Hits(hits)


def worse_levels(factors):
    return {(effect.factor, effect.level) for effect in factors.effects if effect.is_worse}


def test_top1_of_a_level_is_the_mean_of_its_settings():
    hits = drawn_grid(np.random.default_rng(0), [[97, 97], [96, 96], [92, 92]])
    factors = factor_effects(hits, levels_of((3, 2)))
    effects = {(e.factor, e.level): e for e in factors.effects}
    top1 = {name: 100 * runs.mean() for name, runs in hits.by_setting.items()}
    assert factors.names == ['f0', 'f1'] and len(effects) == 5
    assert effects['f0', '2'].top1 == pytest.approx((top1['2-0'] + top1['2-1']) / 2)
    assert effects['f0', '2'].points == pytest.approx(effects['f0', '2'].top1 - effects['f0', '0'].top1)
    assert ('f0', '2') in worse_levels(factors)


def test_where_one_combination_diverges_no_level_is_called_worse():
    hits = drawn_grid(np.random.default_rng(0), [[97.8, 97], [96.5, 83]], seed_scatter=0.7)
    factors = factor_effects(hits, levels_of((2, 2)))
    assert factors.has_interaction and factors.interaction_p < 0.01
    effects = {(e.factor, e.level): e for e in factors.effects}
    assert effects['f0', '1'].points < -6
    assert {(e.half_width, e.p_value, e.is_worse) for e in factors.effects} == {(None, None, None)}


def test_a_combination_of_three_levels_alone_is_an_interaction_too():
    """Every two of the factors look additive on average."""
    accuracies = 90 + 5 * np.array([(-1) ** (a + b + c) for a, b, c in product((0, 1), repeat=3)]).reshape(2, 2, 2)
    factors = factor_effects(drawn_grid(np.random.default_rng(0), accuracies), levels_of((2, 2, 2)))
    assert factors.has_interaction and not worse_levels(factors)
    assert all(abs(effect.points) < 2 for effect in factors.effects)


def test_of_single_runs_only_differences_are_told():
    factors = factor_effects(drawn_grid(np.random.default_rng(0), [[97, 96], [90, 89]], num_seeds=1), levels_of((2, 2)))
    assert factors.interaction_p is None and not factors.has_interaction
    assert min(effect.points for effect in factors.effects) < -5
    assert {(e.half_width, e.p_value, e.is_worse) for e in factors.effects} == {(None, None, None)}


def test_folds_of_one_seed_show_noise():
    hits = drawn_grid(np.random.default_rng(0), [[97, 97], [90, 90]], num_seeds=1)
    factors = factor_effects(Hits(hits.by_setting, folds=np.arange(570) % 5), levels_of((2, 2)))
    assert ('f0', '1') in worse_levels(factors) and not factors.has_interaction


def some_of(shape, *left_out):
    return {name: row for name, row in levels_of(shape).items() if name not in left_out}


def effects_of(levels, num_seeds=2):
    return factor_effects(Hits({name: np.ones((num_seeds, 20), bool) for name in levels}), levels)


@pytest.mark.parametrize(
    'left_out',
    [['1-1'], ['0-0', '1-2'], ['2-1', '2-2', '0-2', '1-1'], ['0-0', '0-1', '1-2', '2-0']],
    ids=['one', 'two', 'nearly all of a level', 'here and there'],
)
def test_combinations_that_are_missing_are_named_and_nothing_is_averaged(left_out):
    factors = effects_of(some_of((3, 3), *left_out))
    assert ['-'.join(row.values()) for row in factors.missing] == sorted(left_out)
    assert (factors.effects, factors.interaction_p, factors.has_interaction) == ([], None, False)
    assert list(factors.missing[0]) == factors.names == ['f0', 'f1']


NO_GRIDS = {
    'one setting': levels_of((1, 1)),
    'no factors': {'a': {}},
    'one factor': levels_of((4, 1)),
    'two unrelated configs': some_of((2, 2), '0-1', '1-0'),
    'half of the combinations': some_of((3, 2), '0-1', '1-0', '2-0'),
    'the same levels twice': {**levels_of((2, 2)), 'again': {'f0': '1', 'f1': '1'}},
}


@pytest.mark.parametrize('levels', NO_GRIDS.values(), ids=NO_GRIDS)
def test_what_is_no_grid_has_no_factors(levels):
    assert effects_of(levels) is None


def test_a_factor_with_one_level_is_left_out():
    factors = effects_of(levels_of((2, 1, 2)))
    assert factors.names == ['f0', 'f2'] and factors.missing == [] and len(factors.effects) == 4


@pytest.mark.parametrize('folds', [None, np.arange(20) % 5], ids=['seeds', 'folds'])
def test_runs_that_answer_alike_give_no_verdict(folds):
    factors = factor_effects(
        Hits({name: np.ones((2, 20), bool) for name in levels_of((2, 3))}, folds), levels_of((2, 3))
    )
    assert factors.interaction_p == 1 and not worse_levels(factors)
    assert all(effect.p_value == 1 for effect in factors.effects if effect.level != effect.best)


def test_one_photo_gives_no_verdict():
    hits = Hits({name: np.full((2, 1), name == '0-0') for name in levels_of((2, 2))})
    factors = factor_effects(hits, levels_of((2, 2)))
    assert 0.05 < factors.interaction_p <= 1 and not worse_levels(factors)
    assert all(0.05 < effect.p_value <= 1 for effect in factors.effects if effect.level != effect.best)


def test_a_p_value_that_is_not_a_number_is_no_verdict(monkeypatch):
    hits = drawn_grid(np.random.default_rng(0), [[97, 97], [90, 90]])
    assert worse_levels(factor_effects(hits, levels_of((2, 2))))
    monkeypatch.setattr(Noise, 'variance', lambda noise, weights: (np.nan, np.nan))
    factors = factor_effects(hits, levels_of((2, 2)))
    assert not factors.has_interaction and not worse_levels(factors)


def test_the_error_rate_of_all_verdicts_can_be_chosen():
    hits = drawn_grid(np.random.default_rng(2), [[97, 97], [94.8, 94.8]], seed_scatter=0.3)
    usual, strict = (factor_effects(hits, levels_of((2, 2)), rate).effects for rate in (0.05, 1e-6))
    (worse,) = [effect for effect in usual if effect.is_worse]
    (same,) = [effect for effect in strict if (effect.factor, effect.level) == (worse.factor, worse.level)]
    assert worse.p_value == same.p_value > 1e-6 and not same.is_worse
    assert same.half_width > -same.points > worse.half_width


# ---------------------------------------------------------------- simulated grids


def rates(accuracies, num_grids, **options):
    """Return how often an interaction is found, a level is called worse, and one is that the best setting has."""
    rng, levels, counts = np.random.default_rng(0), levels_of(np.shape(accuracies)), np.zeros(3)
    for _ in range(num_grids):
        hits = drawn_grid(rng, accuracies, **options)
        factors, best = factor_effects(hits, levels), max(levels, key=lambda name: hits.by_setting[name].mean())
        worse = worse_levels(factors)
        counts += factors.has_interaction, bool(worse), bool(worse & set(levels[best].items()))
    return counts / num_grids


@pytest.mark.slow  # 300 grids in each cell
@pytest.mark.parametrize('num_seeds', [2, 3, 5])
@pytest.mark.parametrize('seed_scatter', [0, 0.7, 2])
@pytest.mark.parametrize('num_photos', [60, 570])
def test_among_equal_settings_hardly_any_interaction_is_found_and_hardly_any_level_worse(
    num_seeds, seed_scatter, num_photos
):
    options = dict(num_seeds=num_seeds, seed_scatter=seed_scatter, num_photos=num_photos)
    has_interaction, worse, _ = rates(np.full((3, 4), 95), 300, **options)
    assert has_interaction < 0.085 and worse < 0.085  # 5 % and three standard errors


@pytest.mark.slow  # 300 grids in each cell
@pytest.mark.parametrize('num_seeds', [2, 3, 5])
def test_no_level_is_worse_that_the_best_setting_has(num_seeds):
    """One combination diverges at the level that is best elsewhere: unasked, means alone would call it worse."""
    accuracies = [[97, 96.5], [83, 97.8]]
    has_interaction, worse, contradicts = rates(accuracies, 300, num_seeds=num_seeds, seed_scatter=0.7)
    assert has_interaction > 0.98 and worse < 0.02 and contradicts == 0


def test_a_collapsed_run_withholds_the_verdicts_on_its_levels():
    cell = replace(equal_settings('', 4, 3), accuracies=(0.96, 0.96, 0.90, 0.90))
    hits = draw_sweep(np.random.default_rng(0), cell)
    levels = dict(zip(hits.by_setting, [{'a': a, 'b': b} for a in '12' for b in '12'], strict=True))
    assert [effect.is_worse for effect in factor_effects(hits, levels).effects[:2]] == [None, True]
    hits.by_setting['setting 0'][1, ::2] = False
    factors = factor_effects(hits, levels)
    assert factors.spoiled_by == ['setting 0'] and factors.interaction_p is None
    assert {effect.is_worse for effect in factors.effects} == {None}
