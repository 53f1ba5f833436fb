"""The sentences on what a verdict rests on: scatter, photos, epochs, optimism, error rate."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowercls.compare.comparison import BestEpochs
from flowercls.compare.conditions import condition_lines
from flowercls.compare.looks_history import Look


def line_with(keyword, comparison):
    (line,) = [line for line in condition_lines(comparison) if keyword in line]
    return line


@pytest.fixture
def equal(compared, runs):
    return compared({name: runs(20, 22, 24, start=start) for name, start in (('a', 0), ('b', 3), ('c', 6), ('d', 9))})


# ---------------------------------------------------------------- scatter


def test_a_collapsed_run_is_named_with_its_seed_and_folder(equal, compared, runs):
    hits = {**equal.hits.by_setting, 'b': runs(20, 22, 400)}
    line = line_with('b scatters more than the others (p < 0.001)', compared(hits))
    assert 'most by seed 12 (29.58 %, b_seed12): it is judged by its own scatter' in line


def test_of_two_runs_both_are_named(compared, runs):
    hits = {name: runs(20, 20 + more) for name, more in zip('abcd', (1, 2, 1, 300), strict=True)}
    assert 'seed 10 96.48 % and seed 11 43.66 %' in line_with('d scatters more than', compared(hits))


def test_ten_odd_settings_do_not_make_ten_lines(compared, runs):
    hits = {f's{i}': runs(20, 22, 24, 26, 21, 20 + (i > 14) * 20 * i) for i in range(25)}
    comparison = compared(hits)
    lines = [line for line in condition_lines(comparison) if 'scatters more than the others' in line]
    assert len(comparison.verdict.noise.odd) == 10 and len(lines) == 3
    assert 'and 4 more, for the same reason' in line_with('So are', comparison)


def test_an_odd_fold_is_named(compared, runs):
    folds = np.arange(570) % 5
    hits = {name: runs(20 + i, photos=570) for i, name in enumerate('abcd')}
    hits['d'][0, folds == 3] = False
    line = line_with('d scatters more than', compared(hits, folds=folds))
    assert 'most by fold 3 (0.00 %)' in line
    assert 'counts as one training' in line_with('5 folds', compared(hits, folds=folds))


def test_a_scatter_that_chance_explains_is_not_called_0(compared, runs):
    comparison = compared({'a': runs(20, 20), 'b': runs(20, 20)})
    assert comparison.verdict.noise.seed_scatter == 0
    line = line_with('(±)', comparison)
    assert 'no more than chance' in line and line.endswith('568 photos.') and '0.00' not in line


def test_the_scatter_of_repeated_settings_stands_for_those_that_were_run_once(compared, runs):
    comparison = compared({'a': runs(20, 30, 40), 'b': runs(20), 'c': runs(25)})
    assert line_with('Seeds alone scatter', comparison).endswith('stands for b; c as well, run with one seed.')


# ---------------------------------------------------------------- photos and epochs


def test_groups_are_counted(compared, runs):
    comparison = compared({'a': runs(20, 22), 'b': runs(22, 24)}, groups=np.arange(568) // 4)
    line = line_with('one photo is 0.18 points', comparison)
    assert line.endswith('568 photos in 142 groups of look-alikes count as 142.')
    assert 'look-alikes are in one group' in line_with('Of 100 such', comparison)


@pytest.mark.parametrize(('torn', 'words'), [(1, 'One group of look-alikes is'), (2, '2 groups of look-alikes are')])
def test_groups_in_several_folds_are_told_and_no_error_rate_is(compared, runs, torn, words):
    """Simulated, up to 16 of 100 comparisons are wrong; groups that are kept in one fold do no harm."""
    hits, folds = {'a': runs(20), 'b': runs(22)}, np.arange(568) // 4 % 5
    groups = np.arange(568) // 4
    assert 'look-alikes are in one group' in line_with('Of 100 such', compared(hits, folds=folds, groups=groups))
    groups[4 * np.arange(1, torn + 1)] -= 1
    comparison = compared(hits, folds=folds, groups=groups)
    assert line_with('in several folds', comparison).startswith(words)
    assert not any('Of 100' in line for line in condition_lines(comparison))


def test_unknown_groups_are_a_condition(equal):
    comparison = replace(equal, groups_unknown='no manifest.')
    assert line_with('groups of look-alikes are unknown', comparison).endswith('no manifest.')
    assert 'no two photos are look-alikes' in line_with('Of 100 such', comparison)


def test_best_epochs_that_count_are_a_condition(equal):
    comparison = replace(equal, best_epoch_only=[Path('a_seed10')])
    assert '1 of 12 runs count with their best epoch' in line_with('best epoch,', comparison)
    assert 'last epoch' not in line_with('was chosen by these photos', comparison)
    assert 'equally many epochs to choose from' in line_with('Of 100 such', comparison)


# ---------------------------------------------------------------- optimism


def test_the_figure_of_the_best_setting_has_the_size_of_its_optimism(compared, runs):
    hits = {name: runs(20 + i, start=20 * i) for i, name in enumerate('abcdefgh')}
    comparison = compared(hits)
    size = comparison.best_optimism
    assert 0.5 < size < 2.5
    assert size == compared(hits, scatter=5.0).best_optimism  # of a model, whatever other seeds would do
    line = line_with('a was chosen by these photos', comparison)
    assert (
        f'its 96.48 % (last epoch) is about {size:.1f} points too high' in line and 'interval allows for that' in line
    )


def test_a_collapsed_rival_makes_the_best_setting_no_more_optimistic(equal, compared, runs):
    hits = equal.hits.by_setting
    collapsed = compared({**hits, 'e': runs(20, 22, 500)})
    assert collapsed.best_optimism == pytest.approx(equal.best_optimism, abs=0.3)


def test_a_run_of_one_epoch_had_no_choice(equal):
    comparison = replace(equal, best_epochs={'a': BestEpochs(97.5, 0.0)})
    assert not any('best epochs' in line for line in condition_lines(comparison))
    assert any(
        'best epochs' in line for line in condition_lines(replace(equal, best_epochs={'a': BestEpochs(97.5, 0.1)}))
    )


@pytest.mark.parametrize(('optimism', 'size'), [(0.74, 'about 0.7 points too high'), (None, 'cannot be estimated')])
def test_the_figure_of_the_best_epochs_has_the_size_of_its_optimism(equal, optimism, size):
    comparison = replace(equal, best_epochs={'a': BestEpochs(97.5, optimism)})
    line = line_with('best epochs', comparison)
    assert '97.50 % of a (best epochs) is' in line and size in line


# ---------------------------------------------------------------- the error rate and its conditions


def test_the_error_rate_stands_with_its_conditions(equal):
    line = line_with('Of 100 such', equal)
    for keyword in ('equal settings at most 5 call one worse', 'fixed before the first verdict', 'scatter alike'):
        assert keyword in line
    assert 'true best is ruled out in at most 5' in line and 'level' not in line


def test_declared_looks_need_no_fixed_number_of_seeds(equal):
    declared = replace(equal, look=Look(1, 0.02, (3, 5), True))
    assert 'fixed before' not in line_with('Of 100 such', declared)


@pytest.mark.parametrize('look', [Look(2), Look(1, declared=(5, 8))])
def test_an_error_rate_that_is_not_controlled_is_not_told(equal, look):
    assert not any('of 100' in line or 'Of 100' in line for line in condition_lines(replace(equal, look=look)))


@pytest.mark.parametrize(('seeds', 'most'), [(2, 18), (3, 14), (5, 8)])
def test_where_one_scatters_more_the_rate_is_higher(compared, runs, seeds, most):
    hits = {name: runs(20, 22, 24, 20, 22, start=i)[-seeds:] for i, name in enumerate('acd')}
    line = line_with('Of 100 such', compared({**hits, 'b': runs(20, 22, 24, 22, 400)[-seeds:]}))
    assert f'up to {most} have a wrong verdict, as b scatters more.' in line and 'at most' not in line
    assert 'alike in all other settings' in line


@pytest.mark.parametrize(
    ('seeds', 'most'), [((2, 1, 1), 15), ((3, 1), 11), ((2, 2, 1), 11), ((2, 2), None), ((4, 1), None), ((1, 1), None)]
)
def test_where_hardly_any_run_is_repeated_the_rate_is_higher(compared, runs, seeds, most):
    line = line_with('Of 100 such', compared({str(i): runs(20, 22, 24, 26)[:n] for i, n in enumerate(seeds)}))
    assert ('hardly any run' in line) == (most is not None) and (most is None or f'up to {most} have' in line)
    assert ('at most' in line) == (most is None)  # one of the two


def test_the_rate_of_single_runs_is_about_models_and_about_settings_by_assumption(compared, runs):
    line = line_with('Of 100 such', compared({'a': runs(20), 'b': runs(25)}, scatter=0.5))
    assert 'equally good models at most 5' in line and 'if seeds scatter by 0.5 points at most' in line


def test_levels_of_factors_share_the_rate(compared, runs):
    levels = {f'{f}{lr}': {'frozen': f, 'lr': lr} for f in ('0', '2') for lr in ('0.1', '0.01')}
    comparison = compared({name: runs(20, 24, 22) for name in levels}, levels=levels)
    assert 'at most 5 a level of a factor' in line_with('Of 100 such', comparison)


def test_one_setting_alone_has_no_error_rate(compared, runs):
    lines = condition_lines(compared({'a': runs(20, 22)}))
    assert not any('100' in line or 'was chosen' in line for line in lines)
