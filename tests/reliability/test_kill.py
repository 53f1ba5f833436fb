"""A run that is killed at any moment, again and again, can be resumed and ends with the same bits (plan: R1)."""

import functools
import os
import random
import signal
import time

import pytest

KILLS = int(os.environ.get('FLOWERCLS_KILLS', 12))
KILLS_A_RUN = 8
SEED = 0


@pytest.mark.slow
def test_random_kills(in_child, quick_train, undisturbed, differences, tmp_path):
    started = time.monotonic()
    assert in_child(lambda: quick_train(tmp_path / 'clock')) == 0
    length = time.monotonic() - started
    moments, kills, number = random.Random(SEED), 0, 0
    while kills < KILLS:
        folder, number = tmp_path / f'run{number}', number + 1
        go_on = functools.partial(quick_train, folder, '--resume')
        for _ in range(min(KILLS_A_RUN, KILLS - kills)):
            kill = (signal.SIGKILL, moments.uniform(0, length))
            kills += in_child(go_on, kill) != 0
        assert in_child(go_on) == 0, f'{folder} cannot be resumed'
        assert differences(undisturbed, folder) == []
    print(f'{kills} kills in {number} runs: all resumed, all with the same bits')
