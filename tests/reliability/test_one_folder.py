"""Several processes on one run folder: one works, the others say so at once and touch nothing."""

import os
import signal
import time

import pytest
import torch

LONGEST_START_S = 500  # of a busy machine


@pytest.fixture
def held(quick_train, tmp_path):
    """A process that trains into a folder and stops in the middle of it; killed in the end."""
    folder, reached = tmp_path / 'run', tmp_path / 'reached'
    process = os.fork()
    if process == 0:
        from flowercls.train.loop import ResumableTrainLoop

        def wait(*_):
            reached.touch()
            time.sleep(600)

        ResumableTrainLoop._validate = wait
        torch.set_num_threads(1)  # the parent's threads are gone, and OpenMP would wait for them
        try:
            quick_train(folder)
        finally:
            os._exit(1)
    deadline = time.monotonic() + LONGEST_START_S
    try:
        while not reached.exists():
            assert time.monotonic() < deadline, 'the first one did not come to its validation'
            time.sleep(0.02)
        yield folder, process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('num_others', [1, 3])
@pytest.mark.parametrize(
    ('arguments', 'code', 'said'),
    [(('--resume',), 8, 'process {number} is working in this run folder'), ((), 2, 'holds a run, which is never')],
)
def test_the_others_are_refused_at_once_and_change_nothing(
    in_child, quick_train, held, num_others, arguments, code, said, capfd
):
    folder, process = held
    before = contents(folder)
    for _ in range(num_others):
        assert in_child(lambda: quick_train(folder, *arguments)) == code  # while the first one still works
    assert contents(folder) == before
    assert capfd.readouterr().err.count(said.format(number=process)) == num_others


def test_the_lock_of_a_dead_process_holds_nobody_up(in_child, quick_train, held, undisturbed, differences):
    folder, process = held
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    assert in_child(lambda: quick_train(folder, '--resume')) == 0
    assert differences(undisturbed, folder) == []
