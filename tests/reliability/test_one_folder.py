"""Several processes on one run folder: one works, the others say so at once and touch nothing."""

import os
import signal
import time

import pytest
import torch


@pytest.fixture
def held(quick_train, tmp_path):
    """A process that trains into a folder and stops in the middle of it; killed in the end."""
    folder, reached = tmp_path / 'run', tmp_path / 'reached'
    process = os.fork()
    if process == 0:
        from flowercls.train.loop import ResumableTrainLoop

        def wait(*_):
            reached.touch()
            signal.pause()

        ResumableTrainLoop._validate = wait
        torch.set_num_threads(1)  # the parent's threads are gone, and OpenMP would wait for them
        try:
            quick_train(folder)
        finally:
            os._exit(1)
    try:
        while not reached.exists():
            ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            assert ended is None, 'the first one did not come to its validation'
            time.sleep(0.02)
        yield folder, process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob('*') if path.is_file()}


def test_the_others_are_refused_at_once_and_change_nothing(in_child, quick_train, held, capfd):
    folder, process = held
    before = contents(folder)
    assert [in_child(lambda: quick_train(folder, '--resume')) for _ in range(3)] == [8] * 3
    assert in_child(lambda: quick_train(folder)) == 2
    assert contents(folder) == before
    error = capfd.readouterr().err
    assert error.count(f'process {process} is working') == 3 and error.count('holds a run') == 1


def test_the_lock_of_a_dead_process_holds_nobody_up(held, check_resumed):
    folder, process = held
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    check_resumed(folder)
