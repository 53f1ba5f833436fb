"""The sentences on more photos and more seeds."""

import numpy as np
import pytest

from flowercls.compare.comparison import Comparison
from flowercls.compare.wording import verdict_lines
from flowercls.evaluate.significance.hits import Hits
from flowercls.evaluate.significance.power import SampleSize, required_samples
from flowercls.evaluate.significance.settings import differences_to_best, score_settings


@pytest.fixture
def sentence(hits):
    """The sentence on what would tell b from a, on 200 photos."""

    def make(photos, seeds, seeds_seen=True):
        size = SampleSize('b', photos, seeds, seeds_seen)
        comparison = Comparison(
            [], Hits(hits), score_settings(hits), differences_to_best(hits), [], [size], [], 0, 0, []
        )
        (line,) = [line for line in verdict_lines(comparison) if line.startswith('To tell')]
        return line.partition(': ')[2]

    return make


@pytest.fixture
def hits():
    right = np.ones((2, 200), bool)
    wrong_twice = right.copy()
    wrong_twice[:, :2] = False
    return {'a': right, 'b': wrong_twice}


@pytest.mark.parametrize(
    ('sizes', 'keywords'),
    [
        ((8421, 12), ('about 8,400 photos (now 200)', 'or 12 seeds a setting')),
        ((8421, None), ('about 8,400 photos', 'more seeds alone would not')),
        ((None, 65), ('65 seeds a setting', 'more photos alone would not')),
        ((None, None), ('together', 'neither alone')),
        ((8421, None, False), ('about 8,400 photos', 'seed noise is unknown')),
    ],
)
def test_sample_sizes_that_would_tell_two_settings_apart(sentence, sizes, keywords):
    assert all(keyword in sentence(*sizes) for keyword in keywords)


def test_settings_that_are_right_equally_often_need_no_samples():
    """Also if sums of thirds leave a trace of rounding."""
    rng = np.random.default_rng(0)
    hits = {name: np.ones((3, 568), bool) for name in 'ab'}
    for name, missed in (('a', (35, 37, 26)), ('b', (33, 33, 32))):
        for run, number in zip(hits[name], missed, strict=True):
            run[rng.permutation(200)[:number]] = False
    differences = differences_to_best(hits)
    assert differences[0].points != 0
    size = SampleSize('b', None, None, True)
    assert required_samples(hits, differences[0]) == size
    lines = verdict_lines(Comparison([], Hits(hits), score_settings(hits), differences, [], [size], [], 0, 0, []))
    assert any('b and a are right equally often' in line for line in lines)
