"""What a comparison could find: the table, the numbers that are enough, and sweeps of the size asked about."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from flowercls.core.errors import ConfigError
from flowercls.evaluate.plan import Question, as_markdown, as_rows, make_plan
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.settings import judge_settings

QUESTION = Question(photos=570, seeds=3, difference=2.0, settings=4, accuracy=95.0, seed_scatter=1.0)


@pytest.fixture(scope='module')
def plan():
    return make_plan(QUESTION)


def test_models_by_hand():
    """Two models of 95 and 85 %, 200 photos: they differ lastingly on 5 %, and by chance."""
    (finding,) = make_plan(Question(200, 1, 10.0, 2, 95.0, 3.0)).lines[0][1:2]
    deviation = np.sqrt((0.05 + 0.4 * (0.0475 + 0.1275)) / 200)
    assert (finding.about, finding.difference, finding.ruled_out) == ('models', 10.0, None)
    assert finding.found_worse == pytest.approx(norm.cdf(0.1 / deviation - norm.ppf(0.975)), abs=1e-3)


def test_more_seeds_find_more_and_ruling_out_takes_less(plan):
    asked = [findings[1] for findings in plan.lines if findings[0].about == 'settings']
    assert [finding.seeds for finding in asked] == [1, 2, 3, 5, 8, 12]
    shares = [finding.found_worse for finding in asked]
    assert shares == sorted(shares) and all(finding.ruled_out > finding.found_worse for finding in asked)


def test_the_smallest_difference_is_found_just_often_enough(plan):
    for findings, smallest in zip(plan.curves, plan.smallest, strict=True):
        found = np.interp(smallest, [f.difference for f in findings], [f.found_worse for f in findings])
        if findings[-1].difference > smallest:
            assert 0.79 < found < 0.84


def test_the_number_of_seeds_that_is_needed_is_the_smallest(plan):
    assert make_plan(replace(QUESTION, seeds=plan.seeds_needed)).lines[-1][1].found_worse >= 0.8
    assert plan.seeds_needed == 18 and plan.photos_needed is None


def test_what_no_number_finds_is_said():
    """20 photos and half a photo's difference: the last cells say so as well."""
    plan = make_plan(Question(20, 2, 2.5, 4, 95.0, 1.0))
    text = as_markdown(plan)
    assert (plan.seeds_needed, plan.photos_needed) == (None, None)
    assert 'more than 60 seeds' in text and 'more than 200 photos' in text


def test_the_text_has_the_assumptions_and_a_row_for_each_number_of_seeds(plan):
    text = as_markdown(plan, 'plan.png')
    assert '| 3 seeds 4 / 12 18 / 36 68 / 87 4.6 points |' in ' '.join(text.replace(' | ', ' ').split())
    for assumption in ('95 % of photos', '1 point (`--seed-scatter`)', '22 of 570', '`looks`', '(plan.png)'):
        assert assumption in text
    assert len(as_rows(plan)) == 7 * 41 and set(as_rows(plan)[0]) == {
        'about', 'seeds', 'difference', 'found_worse', 'ruled_out'
    }  # fmt: skip


def test_one_run_each_is_answered_about_models_and_about_settings_with_the_assumption():
    text = as_markdown(make_plan(replace(QUESTION, seeds=1)))
    assert 'compared as models' in text and 'nothing about other seeds' in text


@pytest.mark.parametrize(
    ('key', 'value'),
    [('photos', 1), ('photos', 10**18), ('seeds', 0), ('settings', 1), ('accuracy', 100.0), ('accuracy', float('nan')),
     ('difference', 0.0), ('difference', 95.0), ('difference', float('nan')), ('seed_scatter', -1.0),
     ('seed_scatter', 30.0), ('seed_scatter', 5.1), ('accuracy', 0.96)],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_flag(key, value):
    with pytest.raises(ConfigError, match=f'--{key.replace("_", "-")} .* Expected .* Fix: '):
        make_plan(replace(QUESTION, **{key: value}))


def test_an_accuracy_that_is_a_share_is_answered_in_percent():
    with pytest.raises(ConfigError, match='percent.*--accuracy 96'):
        make_plan(replace(QUESTION, accuracy=0.96))


@pytest.mark.parametrize(
    ('changed', 'kept'),
    [({'seed_scatter': 4.5}, 'about 29 of'), ({'difference': 50.0, 'photos': 100}, 'differ on 50.')],
)
def test_runs_differ_on_as_many_photos_as_their_accuracies_are_apart(changed, kept):
    """4.5 points a run are 2 / sqrt(pi) times as many between two, on average: 29 of 570 photos."""
    assert kept in as_markdown(make_plan(replace(QUESTION, **changed)))


def test_simulated_sweeps_find_as_much_as_the_plan_says():
    """Two settings of 95 and 91 %, three seeds; photos are easy, lost, or right in half of the runs."""
    asked = Question(570, 3, 4.0, 2, 95.0, 1.0)
    rng, found = np.random.default_rng(0), []
    for _ in range(150):
        hits, kind = {}, rng.random(570)  # hard photos are hard for both
        for name, accuracy in (('good', 0.95), ('bad', 0.91)):
            # Of the variance of a hit, 0.4 is chance: as many photos are hit by halves.
            halves = 4 * 0.4 * accuracy * (1 - accuracy)
            truths = np.clip(accuracy + 0.01 * rng.standard_normal((3, 1)), 0, 1)
            easy = kind < truths - halves / 2
            hits[name] = easy | ((kind < truths + halves / 2) & (rng.random((3, 570)) < 0.5))
        verdict = judge_settings(Hits(hits))
        found.append(verdict.best == 'good' and verdict.differences[0].is_worse)
    (finding,) = (f[1] for f in make_plan(asked).lines if (f[0].about, f[0].seeds) == ('settings', 3))
    assert np.mean(found) == pytest.approx(finding.found_worse, abs=0.15)
