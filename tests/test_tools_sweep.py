"""The sweep tool as a user meets it."""

import subprocess
import sys

import pytest

from flowercls.engine.run_lock import lock_folder


@pytest.fixture
def write_sweep(write_config, tmp_path):
    def write(stages="[0, 'all']"):
        path = tmp_path / 'my_sweep.py'
        path.write_text(f"base = '{write_config(tmp_path)}'\ngrid = {{'model.frozen_stages': {stages}}}\nseeds = [0]\n")
        return path

    return write


def test_a_dry_run_lists_the_trials_and_writes_nothing(tool, write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert tool('sweep', write_sweep(), '--dry-run') == 0
    out = capsys.readouterr().out
    assert 'frozen_stages=0_seed0' in out and 'frozen_stages=all_seed0' in out and '2 trials' in out
    assert not (tmp_path / 'work_dirs').exists()


def test_mistakes_are_answered_before_anything_is_written(tool, write_sweep, tmp_path, capsys):
    for code, options in (
        (2, ['--jobs', '0']),
        (2, ['--cfg-options', 'a.b=1']),
        (4, ['--cfg-options', 'load_from=x.pth']),
    ):
        assert tool('sweep', write_sweep(), '--work-dir', tmp_path / 'sweep', *options) == code
        assert 'Traceback' not in capsys.readouterr().err
    assert not (tmp_path / 'sweep').exists()


def test_a_second_sweep_in_the_folder_is_refused(tool, write_sweep, tmp_path, capsys):
    folder = tmp_path / 'sweep'
    folder.mkdir()
    script = 'import fcntl, os, sys, time; file = open(sys.argv[1], "w"); fcntl.lockf(file, fcntl.LOCK_EX); '
    script += 'print("process", os.getpid(), file=file, flush=True); print("held", flush=True); time.sleep(600)'
    other = subprocess.Popen([sys.executable, '-c', script, str(folder / '.lock')], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == 'held\n'
        assert tool('sweep', write_sweep(), '--work-dir', folder) == 8
        assert f'process {other.pid} is working in this sweep folder' in capsys.readouterr().err
        assert not (folder / 'ledger.jsonl').exists()
    finally:
        other.kill()
        other.wait()
    with lock_folder(folder):
        pass  # free again


def test_the_folder_of_a_run_is_no_place_for_a_sweep(tool, write_sweep, tmp_path, capsys):
    (tmp_path / 'config.py').touch()
    assert tool('sweep', write_sweep(), '--work-dir', tmp_path) == 2
    assert 'holds a run' in capsys.readouterr().err
