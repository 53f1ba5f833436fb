"""SIGTERM and SIGINT end a run at its next step, saved; a second one and SIGKILL at once. All can be resumed."""

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

SEED = 0
TRAIN = Path(__file__).parents[2] / 'tools' / 'train.py'


def signal_in_step(step, *numbers):
    """Let this process, a child, get signals in a step of its training."""
    from flowercls.train.loop import ResumableTrainLoop

    original = ResumableTrainLoop.run_iter

    def run_iter(loop, *args):
        for number in numbers if loop._iter + 1 == step else ():
            os.kill(os.getpid(), number)
        return original(loop, *args)

    ResumableTrainLoop.run_iter = run_iter


@pytest.mark.parametrize(
    ('signals', 'per_run', 'goal'),
    [
        pytest.param([signal.SIGKILL], 8, 12, marks=pytest.mark.slow),
        pytest.param([signal.SIGTERM, signal.SIGINT], 5, 10, marks=pytest.mark.slow),
        pytest.param([signal.SIGKILL], 8, 200, marks=pytest.mark.exhaustive),
        pytest.param([signal.SIGTERM, signal.SIGINT], 5, 100, marks=pytest.mark.exhaustive),
    ],
    ids=str,
)
def test_signals_at_random_moments(in_child, quick_train, check_resumed, tmp_path, signals, per_run, goal):
    begin = time.monotonic()
    assert in_child(lambda: quick_train(tmp_path / 'clock')) == 0
    length = time.monotonic() - begin
    moments, sent, number, waits = random.Random(SEED), 0, 0, []
    while sent < goal:
        folder, number = tmp_path / f'run{number}', number + 1
        go_on = functools.partial(quick_train, folder, '--resume')
        for _ in range(min(per_run, goal - sent)):
            signum, moment = moments.choice(signals), moments.uniform(0.02, length)
            begin = time.monotonic()
            code = in_child(go_on, (signum, moment))
            waits.append(time.monotonic() - begin - moment)
            assert code in (0, 128 + signum, -signum), code  # -signum: it came before the first line of ours
            sent += code != 0
        check_resumed(folder)
    print(f'{sent} signals in {number} runs, at most {max(waits):.2f} s to the end, all went on to the same bits')


def test_a_second_signal_ends_it_at_once_and_leaves_no_broken_file(in_child, quick_train, check_resumed, tmp_path):
    from flowercls.train.checkpoint import WholeCheckpointHook

    def interrupt(*args):
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

    def run():
        WholeCheckpointHook.save_interrupted = interrupt
        signal_in_step(1, signal.SIGTERM)
        return quick_train(tmp_path / 'run')

    assert in_child(run) == 130
    check_resumed(tmp_path / 'run')


@pytest.mark.parametrize('numbers', [(signal.SIGHUP, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP)])
def test_a_hangup_and_what_comes_with_it_are_one_wish(in_child, quick_train, check_resumed, tmp_path, numbers):
    assert in_child(lambda: signal_in_step(1, *numbers) or quick_train(tmp_path / 'run')) == 143
    assert (tmp_path / 'run' / 'iter_1.pth').is_file()
    check_resumed(tmp_path / 'run')


@pytest.mark.parametrize('variables', [{'SLURM_PROCID': '0', 'SLURM_NTASKS': '1'}, {'RANK': '0', 'WORLD_SIZE': '1'}])
def test_a_job_of_one_process_is_saved_as_well(in_child, quick_train, tmp_path, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert in_child(lambda: signal_in_step(3, signal.SIGTERM) or quick_train(tmp_path / 'run')) == 143
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
        process.send_signal(signal.SIGTERM)
        error = process.communicate()[1]
        assert process.returncode == 143 and f'{newest_in(tmp_path / "run").name} is saved; add --resume' in error


def test_what_keeps_a_run_from_being_saved_is_told(in_child, quick_train, tmp_path, capfd):
    def run():
        import flowercls.models.checkpoint_writer as writer

        class Broken(writer._HashingFile):
            def save(self, content):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        writer._HashingFile = Broken
        signal_in_step(3, signal.SIGTERM)
        return quick_train(tmp_path / 'run')

    assert in_child(run) == 5
    assert 'Input/output error' in capfd.readouterr().err


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
        assert process.wait() == 143 and session(process.pid) == []
    assert f'{newest_in(tmp_path / "run").name} is saved; add --resume' in (tmp_path / 'said.txt').read_text()


def newest_in(run):
    checkpoint = run / (run / 'last_checkpoint').read_text()
    assert checkpoint.is_file()
    return checkpoint


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
