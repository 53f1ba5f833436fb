"""A run that is killed at any moment, again and again, can be resumed and ends with the same bits."""

import functools
import random
import signal
import time

import pytest

KILLS_A_RUN = 8
SEED = 0


@pytest.mark.parametrize(
    'goal', [pytest.param(12, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.exhaustive)]
)
def test_random_kills(in_child, quick_train, undisturbed, differences, disagreements, tmp_path, goal):
    started = time.monotonic()
    assert in_child(lambda: quick_train(tmp_path / 'clock')) == 0
    length = time.monotonic() - started
    moments, kills, number = random.Random(SEED), 0, 0
    while kills < goal:
        folder, number = tmp_path / f'run{number}', number + 1
        journal = folder.with_suffix('.journal')
        go_on = functools.partial(quick_train, folder, '--resume', journal=journal)
        for _ in range(min(KILLS_A_RUN, goal - kills)):
            kill = (signal.SIGKILL, moments.uniform(0, length))
            kills += in_child(go_on, kill) != 0
        assert in_child(go_on) == 0, f'{folder} cannot be resumed'
        assert differences(undisturbed, folder) == [] and disagreements(journal) == []
    print(f'{kills} kills in {number} runs: all resumed, all with the same bits')
