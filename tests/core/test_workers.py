"""Worker processes may crash, fail or never start: every item still has its result."""

import errno
import multiprocessing
import signal
import subprocess
import sys

import pytest

from flowercls.core.workers import map_in_processes


def test_every_item_is_answered_once_although_processes_crash():
    # raise_signal(0) is harmless, raise_signal(SIGTERM) ends its process.
    items = [0] * 40
    items[3] = items[25] = items[26] = int(signal.SIGTERM)
    results = list(map_in_processes(signal.raise_signal, items, 2, on_crash=lambda item: f'crash {item}'))
    assert sorted(map(str, results)) == ['None'] * 37 + ['crash 15'] * 3


def test_a_script_without_a_main_guard_still_gets_its_results(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        'from flowercls.core.workers import map_in_processes\n'
        'print(sorted(map_in_processes(abs, range(-20, 0), 2, on_crash=str)))\n'
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == f'{list(range(1, 21))}\n'


def test_no_process_is_left_when_the_caller_stops_early():
    results = map_in_processes(abs, range(100), 2, on_crash=str)
    next(results)
    assert 1 <= len(multiprocessing.active_children()) <= 2  # the second starts only if it is needed
    results.close()
    assert multiprocessing.active_children() == []


def test_an_error_in_a_worker_reaches_the_caller():
    with pytest.raises(ValueError, match='invalid literal'):
        list(map_in_processes(int, ['1', 'x'], 1, on_crash=str))


def test_without_shared_memory_one_process_does_all(monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('multiprocessing.synchronize._multiprocessing.SemLock', refuse)
    assert sorted(map_in_processes(abs, range(-20, 0), 2, on_crash=str)) == list(range(1, 21))
    assert '/dev/shm' in capsys.readouterr().err
