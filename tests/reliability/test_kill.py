"""A run that is killed at any moment, again and again, can be resumed and ends with the same bits (plan: R1)."""

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
        for _ in range(min(KILLS_A_RUN, KILLS - kills)):
            kill = (signal.SIGKILL, moments.uniform(0, length))
            kills += in_child(lambda: quick_train(folder, '--resume'), kill) != 0  # noqa: B023
        assert in_child(lambda: quick_train(folder, '--resume')) == 0, f'{folder} cannot be resumed'  # noqa: B023
        assert differences(undisturbed, folder) == []
    print(f'{kills} kills in {number} runs: all resumed, all with the same bits')
