"""What is said of a plan: more photos, more seeds, or neither."""

import numpy as np
import pytest

from flowercls.compare.comparison import Comparison
from flowercls.compare.wording import verdict_lines
from flowercls.evaluate.power import SampleSize, required_samples
from flowercls.evaluate.significance import differences_to_best, score_settings


@pytest.fixture
def say(hits):
    """The sentence about a plan for b beside a, on 200 photos."""

    def make(photos, seeds, seeds_seen=True):
        plan = SampleSize('b', photos, seeds, seeds_seen)
        measured = score_settings(hits), differences_to_best(hits)
        compared = Comparison([], hits, *measured, [], [plan], [], 0, 0, [])
        (said,) = [line for line in verdict_lines(compared) if line.startswith('To tell')]
        return said.partition(': ')[2]

    return make


@pytest.fixture
def hits():
    right = np.ones((2, 200), bool)
    wrong_twice = right.copy()
    wrong_twice[:, :2] = False
    return {'a': right, 'b': wrong_twice}


@pytest.mark.parametrize(
    ('plan', 'said'),
    [
        ((8421, 12), 'about 8,400 photos (now 200) would do, or 12 seeds a setting on the photos there are.'),
        ((8421, None), 'about 8,400 photos (now 200) would do; more seeds alone would not.'),
        ((None, 65), '65 seeds a setting on the photos there are would do; more photos alone would not.'),
        ((None, None), 'neither more photos nor more seeds alone would do, but both together.'),
        ((8421, None, False), 'about 8,400 photos (now 200) would do for these very models; what seeds do is unknown.'),
    ],
)
def test_what_would_tell_two_settings_apart(say, plan, said):
    assert say(*plan) == said


def test_settings_that_are_right_equally_often_need_no_plan():
    """Also where sums of thirds leave a trace of rounding."""
    chance = np.random.default_rng(0)
    compared = {name: np.ones((3, 568), bool) for name in 'ab'}
    for name, missed in (('a', (35, 37, 26)), ('b', (33, 33, 32))):
        for run, number in zip(compared[name], missed, strict=True):
            run[chance.permutation(200)[:number]] = False
    measured = differences_to_best(compared)
    assert measured[0].points != 0
    plan = SampleSize('b', None, None, True)
    said = verdict_lines(Comparison([], compared, score_settings(compared), measured, [], [plan], [], 0, 0, []))
    assert required_samples(compared, measured[0]) == plan
    assert 'b and a are right equally often: there is nothing to tell them apart by.' in said
