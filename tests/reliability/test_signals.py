"""SIGTERM and SIGINT end a run at its next step, saved; a second one at once."""

import errno
import functools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.processes import started

SIGNALS_A_RUN = 5
LONGEST_S = 60  # of a busy machine; an idle one takes less than one
SEED = 0
TRAIN = Path(__file__).parents[2] / 'tools' / 'train.py'


@pytest.mark.parametrize(
    'goal', [pytest.param(10, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.exhaustive)]
)
def test_random_signals(in_child, quick_train, undisturbed, differences, disagreements, tmp_path, goal):
    started = time.monotonic()
    assert in_child(lambda: quick_train(tmp_path / 'clock')) == 0
    length = time.monotonic() - started
    moments, sent, number, waits = random.Random(SEED), 0, 0, []
    while sent < goal:
        folder, number = tmp_path / f'run{number}', number + 1
        journal = folder.with_suffix('.journal')
        go_on = functools.partial(quick_train, folder, '--resume', journal=journal)
        for _ in range(min(SIGNALS_A_RUN, goal - sent)):
            signum, moment = moments.choice((signal.SIGTERM, signal.SIGINT)), moments.uniform(0.02, length)
            started = time.monotonic()
            code = in_child(go_on, (signum, moment))
            waits.append(time.monotonic() - started - moment)
            assert code in (0, 128 + signum, -signum), code  # -signum: it came before the first line of ours
            sent += code != 0
        assert in_child(go_on) == 0
        assert differences(undisturbed, folder) == [] and disagreements(journal) == []
    print(f'{sent} signals in {number} runs, at most {max(waits):.2f} s to the end, all went on to the same bits')
    assert max(waits) <= LONGEST_S


def test_a_second_signal_ends_it_at_once_and_leaves_no_broken_file(
    in_child, quick_train, undisturbed, differences, tmp_path
):
    from flowercls.train.checkpoint import WholeCheckpointHook
    from flowercls.train.loop import ResumableTrainLoop

    def run_iter(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return run_iter.original(*args)

    def slow(*args):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    def run():
        WholeCheckpointHook.save_interrupted = slow
        run_iter.original, ResumableTrainLoop.run_iter = ResumableTrainLoop.run_iter, run_iter
        return quick_train(tmp_path / 'run')

    assert in_child(run) == 130
    assert in_child(lambda: quick_train(tmp_path / 'run', '--resume')) == 0
    assert differences(undisturbed, tmp_path / 'run') == []


@pytest.mark.parametrize('numbers', [(signal.SIGHUP, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP)])
def test_a_hangup_and_what_comes_with_it_are_one_wish(
    in_child, quick_train, undisturbed, differences, tmp_path, numbers
):
    from flowercls.train.loop import ResumableTrainLoop

    original = ResumableTrainLoop.run_iter

    def run_iter(*args):
        for number in numbers if not (tmp_path / 'sent').exists() else ():
            os.kill(os.getpid(), number)
        (tmp_path / 'sent').touch()
        return original(*args)

    def run():
        ResumableTrainLoop.run_iter = run_iter
        return quick_train(tmp_path / 'run')

    assert in_child(run) == 143
    assert list((tmp_path / 'run').glob('iter_1.pth'))
    assert in_child(lambda: quick_train(tmp_path / 'run', '--resume')) == 0
    assert differences(undisturbed, tmp_path / 'run') == []


@pytest.mark.parametrize('variables', [{'SLURM_PROCID': '0', 'SLURM_NTASKS': '1'}, {'RANK': '0', 'WORLD_SIZE': '1'}])
def test_a_job_of_one_process_is_saved_as_well(in_child, quick_train, tmp_path, monkeypatch, variables, stop_in_step):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert in_child(lambda: stop_in_step(3) or quick_train(tmp_path / 'run')) == 143
    assert (tmp_path / 'run' / 'iter_3.pth').is_file()


@pytest.mark.slow
def test_a_launched_run_of_one_process_is_saved_as_well(write_config, tmp_path):
    """As ``torchrun --nproc-per-node 1`` starts it."""
    config = write_config(tmp_path, 'train_cfg = dict(max_epochs=500)\n')
    command = [sys.executable, TRAIN, config, '--work-dir', tmp_path / 'run', '--no-pictures']
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        place = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free.getsockname()[1])}
    variables = {**os.environ, **place, 'RANK': '0', 'LOCAL_RANK': '0', 'WORLD_SIZE': '1'}
    with started([*command, '--launcher', 'pytorch'], stderr=subprocess.PIPE, text=True, env=variables) as process:
        while not (tmp_path / 'run' / 'metrics.json').exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.3)  # into the second epoch
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=500)[1]
        assert process.returncode == 143 and 'is saved; add --resume' in said
        assert (tmp_path / 'run' / 'last_checkpoint').read_text() != 'epoch_1.pth'


def test_what_keeps_a_run_from_being_saved_is_told(in_child, quick_train, tmp_path, stop_in_step, capfd):
    def run():
        import flowercls.train.checkpoint as checkpoint

        class Broken(checkpoint._HashingFile):
            def save(self, content):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        checkpoint._HashingFile = Broken
        stop_in_step(3)
        return quick_train(tmp_path / 'run')

    assert in_child(run) == 5
    assert 'Input/output error' in capfd.readouterr().err


@pytest.fixture
def stop_in_step():
    """Lets a run get a SIGTERM in its n-th step; only in a child process."""

    def arrange(number):
        from flowercls.train.loop import ResumableTrainLoop

        original = ResumableTrainLoop.run_iter

        def run_iter(loop, *args):
            if loop._iter + 1 == number:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(loop, *args)

        ResumableTrainLoop.run_iter = run_iter

    return arrange


@pytest.mark.slow
@pytest.mark.parametrize('send', [os.kill, os.killpg])  # killpg: as Ctrl-C and `timeout` do, to its workers, too
@pytest.mark.skipif(not Path('/proc').is_dir(), reason='looks at processes')
def test_loader_workers_end_with_the_run(write_config, tmp_path, send):
    config = write_config(
        tmp_path, "train_dataloader['num_workers'] = 2\nphoto_cache = None\ntrain_cfg = dict(max_epochs=500)\n"
    )
    command = [sys.executable, TRAIN, config, '--work-dir', tmp_path / 'run', '--no-pictures']
    with (
        (tmp_path / 'said.txt').open('w') as said,
        started(command, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True) as process,
    ):
        for line in process.stdout:
            if line.startswith('epoch'):
                break
        assert len(session(process.pid)) > 1  # no more workers than cores
        send(process.pid, signal.SIGTERM)
        assert process.wait(LONGEST_S) == 143 and session(process.pid) == []
    assert 'is saved; add --resume' in (tmp_path / 'said.txt').read_text()


def session(number):
    """Living processes of a session."""
    found = []
    for status in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = status.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[3]) == number and fields[0] != 'Z':
            found.append(int(status.parent.name))
    return found
