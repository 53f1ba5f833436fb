"""Effects of factors: by hand, and equal to the comparison where there is only one."""

import numpy as np
import pytest

from flowercls.evaluate.significance.factors import factor_effects, is_balanced
from flowercls.evaluate.significance.noise import Noise

LEVELS = {
    'a': {'frozen': '0', 'lr': '0.1'},
    'b': {'frozen': '2', 'lr': '0.1'},
    'c': {'frozen': '0', 'lr': '0.01'},
    'd': {'frozen': '2', 'lr': '0.01'},
}


def grid_of_hits(num_photos=400, num_seeds=3):
    """Factor `frozen` does nothing, lr 0.1 misses 40 photos more."""
    rng = np.random.default_rng(0)
    missed = {'a': 60, 'b': 60, 'c': 20, 'd': 20}
    hits = {name: np.ones((num_seeds, num_photos), bool) for name in missed}
    for name, number in missed.items():
        for run in hits[name]:
            run[rng.permutation(100)[:number]] = False
    return hits


def test_only_a_full_grid_of_two_factors_is_balanced():
    assert is_balanced(LEVELS)
    assert not is_balanced({name: LEVELS[name] for name in 'abc'})
    assert not is_balanced({name: {'lr': row['lr']} for name, row in LEVELS.items() if name in 'ac'})
    assert factor_effects(grid_of_hits(), {name: LEVELS[name] for name in 'abc'}) == []


def test_effects_are_differences_of_marginal_means():
    effects = {(e.factor, e.level): e for e in factor_effects(grid_of_hits(), LEVELS)}
    assert len(effects) == 4
    lr = effects['lr', '0.1']
    assert (lr.best, lr.top1, lr.points) == ('0.01', pytest.approx(85), pytest.approx(-10)) and not lr.tied
    assert effects['lr', '0.01'].points == 0
    assert all(effect.tied for (factor, _), effect in effects.items() if factor == 'frozen')


def test_the_noise_of_an_effect_by_hand():
    hits = grid_of_hits()
    noise = Noise.of(hits)
    effect = next(e for e in factor_effects(hits, LEVELS) if (e.factor, e.level) == ('lr', '0.1'))
    mean = {name: runs.mean(axis=0) for name, runs in hits.items()}
    paired = (mean['a'] + mean['b'] - mean['c'] - mean['d']) / 2
    variance = paired.var(ddof=1) / 400 + noise.seed * 4 * 0.25 / 3  # four settings of weight 1/2, three seeds each
    # With so many photos the range of two is near the normal distribution's, 2.24 for two factors at 95 %.
    assert effect.half_width == pytest.approx(100 * 2.2414 * np.sqrt(variance), rel=0.35)
    assert effect.half_width >= 100 * 2.2414 * np.sqrt(variance) - 1e-3


def test_of_single_runs_only_differences_are_told():
    effects = factor_effects(grid_of_hits(num_seeds=1), LEVELS)
    told = {(e.factor, e.level): e for e in effects}['lr', '0.1']
    assert told.points < -5 and (told.half_width, told.p_value, told.tied) == (None, None, None)
