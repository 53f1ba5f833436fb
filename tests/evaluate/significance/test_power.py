"""How much a planned comparison would find: by hand, against the verdict's own noise, and plans carried out."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from flowercls.evaluate.significance.critical_values import range_of
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.noise import Noise
from flowercls.evaluate.significance.power import MARGIN, MAX_PLANS, Scenario, plan_of, required_samples
from flowercls.evaluate.significance.settings import judge_settings


def draw_hits(rng, accuracies, num_seeds, num_photos, scatter=0.0):
    """Hits of settings that find the same photos hard; a run's accuracy scatters by so many points."""
    ease, hits = 2 * rng.standard_normal(num_photos), {}
    for number, accuracy in enumerate(accuracies):
        truths = np.clip(accuracy + scatter / 100 * rng.standard_normal(num_seeds), 0.01, 0.999)
        liking = ease + 0.5 * rng.standard_normal(num_photos)
        skill = norm.ppf(truths)[:, None] * np.sqrt(1 + 4 + 0.25)
        hits[f'setting {number}'] = skill + liking + rng.standard_normal((num_seeds, num_photos)) > 0
    return hits


def plan(hits, points=None):
    """Return what would find the second of two settings worse, which is the one that looks worse."""
    verdict = judge_settings(hits)
    (difference,) = verdict.differences
    return plan_of(hits, verdict, difference.name, points or -difference.points)


@pytest.mark.parametrize(
    ('seeds', 'folds', 'group_size'),
    [((3, 3), 0, 1), ((2, 5), 0, 1), ((3, 3), 0, 4), ((1, 1), 0, 1), ((1, 1), 0, 4), ((1, 1), 5, 1), ((3, 3), 5, 1)],
)
def test_a_comparison_of_the_present_size_has_the_noise_of_the_verdict(seeds, folds, group_size):
    rng = np.random.default_rng(0)
    parts = [draw_hits(rng, [0.85, 0.9], max(seeds), 400 // (folds or 1), scatter=3.0) for _ in range(folds or 1)]
    drawn = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    by_setting = {name: runs[:number] for (name, runs), number in zip(drawn.items(), seeds, strict=True)}
    hits = Hits(
        by_setting,
        folds=np.arange(400) // (400 // folds) if folds else None,
        groups=np.arange(400) // group_size if group_size > 1 else None,
    )
    noise = Noise.of(hits, assumed_scatter=1.0)
    scenario = Scenario.of(hits, noise, list(by_setting))
    pair = np.array([1.0, -1.0])
    assert scenario.noise().variance(pair) == pytest.approx(noise.variance(pair))
    if not folds:  # one seed does not show whether it is seeds or training sets
        assert scenario.true_variance == pytest.approx(noise.variance(pair)[0])


def test_power_of_single_runs_by_hand():
    """95 and 91 %, 500 photos: chance 0.4 a (1 - a), lasting 0.5 x 4 points of a photo, seeds scatter by 0.5 points."""
    scenario = Scenario.assumed(2, 500, 1, 0.04, 0.95, 0.005)
    deviation = np.sqrt((0.4 * (0.0475 + 0.0819) + 0.5 * 0.04) / 500 + 2 * 0.005**2)
    assert scenario.true_variance == pytest.approx(deviation**2)
    (worse,) = scenario.powers(0.04)
    (ruled_out,) = scenario.powers(0.04, as_best=True)
    assert worse == pytest.approx(norm.cdf(0.04 / deviation - norm.ppf(0.975)), abs=1e-3)
    assert ruled_out == pytest.approx(norm.cdf(0.04 / deviation - norm.ppf(0.95)), abs=1e-3)


def test_power_of_few_seeds_is_the_mean_over_what_they_show():
    """Four settings, two seeds: the pooled scatter has four degrees of freedom."""
    scenario, rng = Scenario.assumed(4, 2000, 2, 0.03, 0.95, 0.01), np.random.default_rng(0)
    by_chance = 0.4 * (0.0475 + 0.92 * 0.08) / 2 / 2000  # the mean of the two settings
    scatter = np.maximum((0.01**2 + by_chance) * rng.chisquare(4, 4000) / 4, by_chance / 10)
    variance = scenario.lasting / 2000 + scatter
    dof = 4 * variance / scatter
    critical = range_of(4).critical_values(0.05, dof) * np.sqrt(variance / 2)
    measured = 0.03 + np.sqrt(scenario.true_variance) * rng.standard_normal(4000)
    assert scenario.powers(0.03).mean() == pytest.approx((measured > critical).mean(), abs=0.02)


def test_more_of_anything_never_hurts():
    scenario = Scenario.assumed(5, 570, 2, 0.02, 0.95, 0.005)
    for key, numbers in (('num_photos', (570, 2_000, 20_000)), ('num_seeds', (2, 3, 5, 20))):
        powers = [replace(scenario, **{key: number}).powers(0.02).mean() for number in numbers]
        assert powers == sorted(powers) and powers[-1] > powers[0] + 0.1


def test_what_few_seeds_do_not_show_is_counted():
    """A scatter of 1 point known from 4, 40 and 4000 degrees of freedom: the less is known, the more it may be."""
    scenario = Scenario.assumed(2, 570, 3, 0.02, 0.95, 0.01)
    largest = []
    for dof in (4.0, 40.0, 4000.0):
        truths = [np.sqrt(truth.seed[0]) for truth in replace(scenario, dof=np.full(2, dof)).truths()]
        assert truths == sorted(truths) and truths[0] < 0.01 < truths[-1]
        largest.append(truths[-1])
    assert largest == sorted(largest, reverse=True) and largest[-1] == pytest.approx(0.01, abs=0.001)


def test_no_plan_goes_below_one_photo():
    """20 photos: 2.5 points are half a photo, which no number of seeds finds."""
    hits = Hits(draw_hits(np.random.default_rng(1), [0.95, 0.95], 3, 20))
    assert plan(hits, points=2.5).seeds is None


def test_where_seeds_cause_all_noise_no_number_of_photos_helps():
    rng = np.random.default_rng(0)
    restless = {
        name: np.array([rng.random(20_000) < share for share in shares])
        for name, shares in {'a': (0.90, 0.94, 0.92), 'b': (0.92, 0.96, 0.94)}.items()
    }
    found = plan(Hits(restless))
    assert found.photos is None and 3 < found.seeds < 60 and found.assumed_scatter is None


def test_where_photos_cause_all_noise_no_number_of_seeds_helps(with_misses):
    found = plan(Hits({'a': with_misses(*[range(20)] * 3), 'b': with_misses(*[range(100, 109)] * 3)}))
    assert found.seeds is None and 568 < found.photos <= 5680


def test_a_plan_is_the_smallest_number_that_is_enough():
    hits = Hits(draw_hits(np.random.default_rng(4), [0.94, 0.96], 3, 570, scatter=0.3))
    found, scenario = plan(hits, 2.0), Scenario.of(hits, judge_settings(hits).noise, list(hits.by_setting))
    assert replace(scenario, num_seeds=found.seeds).is_enough(0.02)
    assert not replace(scenario, num_seeds=found.seeds - 1).is_enough(0.02)


def test_single_runs_are_planned_with_the_assumed_scatter(with_misses):
    hits = Hits({'a': with_misses(range(24)), 'b': with_misses(range(100, 110))})
    plans = {}
    for scatter in (0.8, 1.2):
        verdict = judge_settings(hits, assumed_scatter=scatter)
        (plans[scatter],) = required_samples(hits, verdict, scatter)
        assert plans[scatter].assumed_scatter == scatter
    assert plans[1.2].photos is None and 1 < plans[0.8].seeds < plans[1.2].seeds


def test_only_the_largest_open_differences_get_a_plan(with_misses):
    missed = {'best': 10, 'near': 14, **{f'{number}': 16 + number for number in range(7)}, 'far': 150}
    hits = Hits({name: with_misses(*(range(number + i) for i in range(3))) for name, number in missed.items()})
    hits.by_setting['restless'] = with_misses(range(10), range(90), range(40))
    verdict = judge_settings(hits)
    plans = required_samples(hits, verdict)
    is_open = {d.name for d in verdict.differences if d.may_be_best and not d.is_worse}
    assert 'far' not in is_open and 'near' in is_open
    assert len(plans) <= MAX_PLANS and plans and {p.name for p in plans} <= is_open - {'near'}
    points = [p.points for p in plans]
    assert points == sorted(points, reverse=True) and points[-1] >= MARGIN


@pytest.mark.filterwarnings('error')
def test_single_runs_beside_settings_with_seeds_are_planned_without_a_warning(with_misses):
    three = with_misses(range(10), range(20), range(31))
    hits = Hits({'three': three, 'a': with_misses(range(18)), 'b': with_misses([1, 2])})
    plans = required_samples(hits, judge_settings(hits))
    assert plans and all(p.assumed_scatter is None and p.seeds != 1 for p in plans)


@pytest.mark.slow  # hundreds of sweeps
@pytest.mark.parametrize(('num_photos', 'accuracies'), [(20, (0.95, 0.75)), (60, (0.95, 0.85)), (570, (0.95, 0.93))])
def test_a_sweep_of_the_planned_size_finds_the_difference_as_often_as_promised(num_photos, accuracies):
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        hits = Hits(draw_hits(rng, accuracies, 3, num_photos, scatter=0.7))
        verdict = judge_settings(hits)
        if verdict.best != 'setting 0':
            continue
        number = plan_of(hits, verdict, 'setting 1', 100 * (accuracies[0] - accuracies[1])).seeds
        for _ in range(10 if number else 0):
            then = judge_settings(Hits(draw_hits(rng, accuracies, number, num_photos, scatter=0.7)))
            found.append(then.best == 'setting 0' and then.differences[0].is_worse)
    assert len(found) > 100 and 0.75 < np.mean(found) < 0.98
