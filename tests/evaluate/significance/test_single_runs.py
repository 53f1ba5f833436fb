"""Single runs as models: against McNemar's exact test, and on the figures of the reports."""

import numpy as np
import pytest
from scipy.stats import binomtest

from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.single_runs import compare_models


def compared(hits: dict, best: str, **options):
    return {model.name: model for model in compare_models(Hits(hits, **options), best, 0.05)}


@pytest.mark.parametrize('num_differing', [15, 25, 40])
def test_report_as_548_and_551_of_568_are_not_told_apart(num_differing, with_misses):
    only_second = (num_differing + 3) // 2
    only_first = only_second - 3
    first = with_misses(range(only_second))
    second = with_misses(range(100, 100 + only_first))
    model = compared({'548': first, '551': second}, '551')['548']
    assert not model.is_worse and model.interval[0] < -100 * 3 / 568 < 0 < model.interval[1]


def test_500_and_551_of_568_are_different_models(with_misses):
    model = compared({'500': with_misses(range(68)), '551': with_misses(range(17))}, '551')['500']
    assert model.is_worse and model.p_value < 0.001
    assert model.interval[0] < -100 * 51 / 568 < model.interval[1] < -5


@pytest.mark.parametrize(('only_first', 'only_second'), [(2, 11), (5, 12), (0, 6)])
def test_two_models_have_mcnemars_p_value(only_first, only_second, with_misses):
    hits = {'a': with_misses(range(only_second)), 'b': with_misses(range(100, 100 + only_first))}
    expected = binomtest(only_first, only_first + only_second).pvalue
    assert compared(hits, 'b')['a'].p_value == pytest.approx(expected, abs=0.02)


def test_more_models_raise_the_p_value_but_less_than_bonferroni(with_misses):
    a, b = with_misses(range(30)), with_misses(range(40, 52))
    others = {f'other {i}': with_misses(range(60 + 15 * i, 80 + 15 * i)) for i in range(4)}
    two, six = compared({'a': a, 'b': b}, 'b')['a'].p_value, compared({'a': a, 'b': b, **others}, 'b')['a'].p_value
    assert two < six < 15 * two


def test_many_photos_have_the_p_value_of_the_shuffles(monkeypatch, with_misses):
    hits = {'a': with_misses(range(100)), 'b': with_misses(range(70, 150)), 'c': with_misses(range(140, 220))}
    shuffled = compared(hits, 'b')['a'].p_value
    monkeypatch.setattr('flowercls.evaluate.significance.single_runs.MANY_GROUPS', 10)
    assert compared(hits, 'b')['a'].p_value == pytest.approx(shuffled, abs=0.03)


def test_copies_in_a_group_tell_no_more_than_the_photos(with_misses):
    hits = {'a': with_misses(range(9), num_photos=100), 'b': with_misses([50, 51], num_photos=100)}
    copied = {name: np.repeat(runs, 4, axis=1) for name, runs in hits.items()}
    alone, grouped = compared(hits, 'b')['a'], compared(copied, 'b', groups=np.repeat(np.arange(100), 4))['a']
    assert grouped.p_value == pytest.approx(alone.p_value, abs=0.01)
    assert grouped.interval == pytest.approx(alone.interval, abs=0.2)
    assert compared(copied, 'b')['a'].p_value < 0.01 < alone.p_value


def test_few_photos_that_differ_are_seen_in_large_groups(with_misses):
    """One photo in each of 12 groups of 3,000; squares of sums need more digits than single precision has."""
    hits = {'a': with_misses(range(0, 36_000, 3_000), num_photos=60_000), 'b': with_misses([], num_photos=60_000)}
    model = compared(hits, 'b', groups=np.arange(60_000) // 3_000)['a']
    assert model.p_value == pytest.approx(binomtest(0, 12).pvalue, abs=0.003)


def test_models_that_agree_on_every_photo():
    hits = {name: np.ones((1, 60), bool) for name in 'abc'}
    for model in compared(hits, 'a').values():
        assert (model.p_value, model.is_worse) == (1, False)
        assert model.interval[0] < -3 and model.interval[1] > 3  # 60 photos rule out little
