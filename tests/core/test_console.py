"""Tools whose reader leaves, or whose terminal is closed, in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.processes import started

fcntl, pty, termios = map(pytest.importorskip, ('fcntl', 'pty', 'termios'))  # not on Windows

TRAIN = Path(__file__).parents[2] / 'tools' / 'train.py'


def training(config, folder):
    """The command of a training without pictures."""
    return [sys.executable, *map(str, (TRAIN, config, '--work-dir', folder, '--no-pictures'))]


@pytest.mark.slow
def test_a_run_goes_on_when_its_reader_has_left(write_config, tmp_path):
    train = training(write_config(tmp_path), tmp_path / 'run')
    with started(train, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()  # as `head -1` does
        errors = process.stderr.read()
        assert process.wait() == 0
    assert 'Traceback' not in errors and 'BrokenPipe' not in errors
    assert (tmp_path / 'run' / 'metrics.json').exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path('/dev/full').exists(), reason='has no full device')
def test_a_run_goes_on_when_what_it_prints_finds_no_room(write_config, tmp_path):
    train = training(write_config(tmp_path), tmp_path / 'run')
    with Path('/dev/full').open('w') as full:
        done = subprocess.run(train, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, 'Traceback' in done.stderr) == (0, False)
    assert (tmp_path / 'run' / 'metrics.json').exists()


def train_in_a_terminal_that_is_closed(train, with_nohup):
    """The exit code of a run that is the first process of a terminal, which is closed after the first epoch."""
    ours, theirs = pty.openpty()

    def begin():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if with_nohup else signal.SIG_DFL)

    streams = dict(stdin=theirs, stdout=theirs, stderr=theirs)
    with started(train, **streams, start_new_session=True, preexec_fn=begin) as process:
        os.close(theirs)
        seen = b''
        while b'epoch 1' not in seen:
            seen += os.read(ours, 4096)
        os.close(ours)
        return process.wait()


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_is_saved(write_config, tmp_path, tool, capfd):
    config = write_config(tmp_path, 'train_cfg = dict(max_epochs=500)\n')
    assert train_in_a_terminal_that_is_closed(training(config, tmp_path / 'run'), with_nohup=False) == 129
    newest = Path((tmp_path / 'run' / 'last_checkpoint').read_text()).name
    assert tool('train', config, '--work-dir', tmp_path / 'run', '--resume', '--dry-run') == 0
    assert newest in capfd.readouterr().out


@pytest.mark.slow
def test_a_run_that_ignores_the_hangup_goes_on(write_config, tmp_path):
    train = training(write_config(tmp_path), tmp_path / 'run')
    assert train_in_a_terminal_that_is_closed(train, with_nohup=True) == 0
    assert (tmp_path / 'run' / 'metrics.json').exists()


def test_a_reader_that_is_slow_loses_nothing(tmp_path):
    script = tmp_path / 'script.py'
    lines = 'import os; os.set_blocking(1, False)\nfor n in range(30_000): print(f"line {n}")\n'
    script.write_text(f'from flowercls.core.terminal import set_up_console\nset_up_console()\n{lines}')
    with started([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        time.sleep(0.5)
        assert process.stdout.read().splitlines() == [f'line {number}' for number in range(30_000)]
        assert process.wait() == 0


def test_no_file_of_a_run_takes_the_place_of_a_closed_stream(tmp_path):
    script = tmp_path / 'script.py'
    opened = f'file = open({str(tmp_path / "file.txt")!r}, "w"); file.write(str(file.fileno()))\n'
    script.write_text(f'from flowercls.core.terminal import set_up_console\nset_up_console()\nprint("lost")\n{opened}')
    done = subprocess.run(['sh', '-c', f'exec {sys.executable} {script} <&- >&- 2>&-'])
    assert done.returncode == 0 and int((tmp_path / 'file.txt').read_text()) > 2
