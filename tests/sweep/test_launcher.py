"""Trials as processes of this machine; a short script runs instead of the training tool."""

import os
import signal
import subprocess
import sys
import time

import pytest

from flowercls.core import signals
from flowercls.sweep import launcher
from flowercls.sweep.launcher import LocalLauncher, divide_machine, train_command

on_linux = pytest.mark.skipif(sys.platform != 'linux', reason='other systems know no such thing')


@pytest.fixture
def start(tmp_path, make_trial):
    """Start a trial that runs the given code instead of training."""

    def start_code(code, jobs=1):
        launcher = LocalLauncher(jobs, lambda trial, folder: [sys.executable, '-c', code])
        return launcher.start(make_trial('a'), tmp_path / 'run')

    return start_code


def ended(handle):
    while handle.poll() is None:
        time.sleep(0.01)
    return handle.poll()


def console(tmp_path):
    return (tmp_path / 'run' / 'console.txt').read_text()


def test_the_command_trains_a_config(make_trial, tmp_path):
    trial = make_trial('a', seed=3, overrides={'model.frozen_stages': 'all'})
    config, *options = train_command(trial, tmp_path)[3:]
    assert config == 'a.py' and options == [
        '--work-dir', str(tmp_path), '--resume', '--no-pictures',
        '--cfg-options', 'calibration=None', 'model.frozen_stages=all', 'randomness.seed=3',
    ]  # fmt: skip
    for load_from in (None, 'a.pth'):
        trial.cfg.load_from = load_from
        is_trusted = '--trust-checkpoint' in train_command(trial, tmp_path, trust_checkpoint=True)
        assert is_trusted == (load_from is not None)
    done = subprocess.run([*train_command(trial, tmp_path)[:3], 'nowhere.py'], capture_output=True, text=True)
    assert done.returncode == 2 and 'nowhere.py' in done.stderr


def test_cores_and_gpus_are_divided():
    assert [part.cpus for part in divide_machine(2, [4, 5, 6, 7], [])] == [(4, 5), (6, 7)]
    assert [part.cpus for part in divide_machine(3, [4, 5], [])] == [(4,), (4,), (5,)]
    assert [part.gpu for part in divide_machine(3, None, ['0', '7'])] == ['0', '7', '0']


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='cores cannot be assigned here')
def test_a_trial_computes_on_its_share_of_the_cores(start, tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    mine = sorted(os.sched_getaffinity(0))
    go = tmp_path / 'go'  # the cores are assigned to the process when it has started
    code = f'import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n'
    handle = start(code + 'print(os.environ["OMP_NUM_THREADS"], *sorted(os.sched_getaffinity(0)))', jobs=2)
    go.touch()
    assert ended(handle) == 0
    share = mine[: len(mine) // 2] or mine[:1]
    assert console(tmp_path).split() == [str(len(share)), *map(str, share)]


@pytest.mark.parametrize(('number', 'threads'), [('2', '2'), ('64', '4'), ('', '4'), ('0', '4')])
def test_a_smaller_number_of_threads_is_kept(number, threads, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', number)
    assert launcher._environment(launcher.Resources(cpus=(0, 1, 2, 3)))['OMP_NUM_THREADS'] == threads


def test_a_gpu_is_given_by_its_name_and_our_code_is_found(start, tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, 'list_gpus', lambda: ['GPU-abc'])
    code = 'import os; print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["PYTHONPATH"].split(os.pathsep)[0])'
    assert ended(start(code)) == 0
    assert console(tmp_path).split() == ['GPU-abc', str(launcher.PACKAGE_PARENT)]


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        ('print("DataError: x"); raise SystemExit(3)', 'exit code 3: DataError: x'),
        ('print("ConfigError: 2 mistakes\\n  a\\n  b"); raise SystemExit(2)', 'exit code 2: ConfigError: 2 mistakes'),
        ('1 / 0', 'exit code 1: ZeroDivisionError: division by zero'),
        ('import os; print("hm", flush=True); os.kill(os.getpid(), 9)', 'ended by SIGKILL: hm'),
        ('raise SystemExit(5)', 'exit code 5'),
    ],
)
def test_the_last_words_of_this_start_say_why(start, tmp_path, code, words):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'console.txt').write_text('DataError: of an earlier start\n')
    handle = start(code)
    ended(handle)
    assert handle.failure_summary() == words and console(tmp_path).startswith('DataError: of an earlier start\n')


def wait_for(tmp_path, word):
    while word not in console(tmp_path):
        time.sleep(0.01)


@pytest.mark.parametrize('ours', [signal.default_int_handler, signal.SIG_IGN], ids=['', 'in a script with &'])
def test_a_trial_is_stopped_as_by_ctrl_c(start, tmp_path, ours):
    code = (
        'import time\ntry:\n print("up", flush=True); time.sleep(6000)\nexcept KeyboardInterrupt: raise SystemExit(130)'
    )
    before = signal.signal(signal.SIGINT, ours)
    try:
        handle = start(code)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(tmp_path, 'up')
    handle.request_stop()
    handle.wait_stopped()
    assert handle.poll() == 130


def test_a_trial_that_does_not_stop_is_made_to(start, tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, 'MAX_STOP_S', 0.1)
    code = 'import signal, time; signal.signal(2, signal.SIG_IGN); print("up", flush=True); time.sleep(6000)'
    handle = start(code)
    wait_for(tmp_path, 'up')
    handle.request_stop()
    handle.wait_stopped()
    assert handle.poll() == -signal.SIGKILL


def test_a_trial_is_stopped_where_there_is_no_ctrl_c_for_one_process(start, tmp_path, monkeypatch):
    send = subprocess.Popen.send_signal

    def send_as_on_windows(process, number):
        if number == signal.SIGINT:
            raise ValueError(f'Unsupported signal: {number}')
        send(process, number)

    monkeypatch.setattr(subprocess.Popen, 'send_signal', send_as_on_windows)
    handle = start('import time; print("up", flush=True); time.sleep(6000)')
    wait_for(tmp_path, 'up')
    handle.request_stop()
    handle.wait_stopped()
    assert handle.poll() == -signal.SIGTERM


@on_linux
def test_a_trial_ends_when_the_sweep_is_killed(tmp_path):
    """By the way: it would otherwise work on in a folder that the next start wants."""
    code = f"""
import os, pathlib, time
from flowercls.sweep.launcher import LocalHandle, Resources
child = 'import os, time; print(os.getpid(), flush=True); time.sleep(6000)'
folder = pathlib.Path({str(tmp_path / 'run')!r})
LocalHandle([{sys.executable!r}, '-c', child], folder, Resources())
while not (folder / 'console.txt').read_text().endswith('\\n'):
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, '-c', code]).returncode == -signal.SIGKILL
    child = int(console(tmp_path))
    while is_alive(child):  # a trial that lives on ends in the timeout of pytest
        time.sleep(0.01)


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as file:  # noqa: PTH123
            return file.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@on_linux
def test_a_trial_takes_signals_as_any_program_while_the_sweep_handles_them(start, tmp_path):
    code = 'print(open("/proc/self/status").read(), "up", flush=True)'
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started with nohup
    try:
        with signals.handle_signals():
            start(code)
            wait_for(tmp_path, 'up')
    finally:
        signal.signal(signal.SIGHUP, before)
    masks = dict(line.split(':\t') for line in console(tmp_path).splitlines() if line.startswith(('SigBlk', 'SigIgn')))
    assert int(masks['SigBlk'], 16) == 0
    assert not int(masks['SigIgn'], 16) & sum(
        1 << number - 1 for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    )
