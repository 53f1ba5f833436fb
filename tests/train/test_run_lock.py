import pathlib
import subprocess
import sys
from pathlib import Path

import pytest

from flowercls.core.errors import DiskError, RunInUseError
from flowercls.train import run_dir
from flowercls.train.checkpoint import write_checkpoint
from flowercls.train.run_dir import claim_run_dir

HOLDER = """
import fcntl, sys
with open(sys.argv[1], 'a+') as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print('process 77', file=file, flush=True)
    print('ready', flush=True)
    sys.stdin.read()
"""
RESUMABLE = {
    'meta': {'epoch': 2, 'iter': 12},
    'state_dict': {},
    'optimizer': {},
    'param_schedulers': [],
    'message_hub': {},
}


@pytest.fixture(autouse=True)
def in_an_empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make_run(folder):
    folder.mkdir(parents=True)
    (folder / 'config.py').write_text('lr = 1\n')
    return folder


def test_two_starts_of_one_config_take_two_folders():
    with claim_run_dir('net', None, None) as one, claim_run_dir('net', None, None) as two:
        assert [one.folder, two.folder] == [Path('work_dirs/net'), Path('work_dirs/net-2')]


def test_a_folder_that_another_start_takes_meanwhile_is_left_to_it(monkeypatch):
    make_folder = run_dir.make_folder

    def slower(folder):
        if folder.name == 'net':
            folder.mkdir(parents=True)
        return make_folder(folder)

    monkeypatch.setattr(run_dir, 'make_folder', slower)
    with claim_run_dir('net', None, None) as plan:
        assert plan.folder == Path('work_dirs/net-2') and 'net-2' in plan.announcement
    assert Path('work_dirs/net').is_dir()


def test_a_run_in_which_a_process_works_is_refused_until_that_has_ended():
    pytest.importorskip('fcntl')
    folder = make_run(Path('work_dirs/net'))
    arguments = [sys.executable, '-c', HOLDER, folder / '.lock']
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b'ready\n'
        with pytest.raises(RunInUseError, match='work_dirs/net: process 77 is working') as caught:
            claim_run_dir('net', None, 'auto').__enter__()
        assert caught.value.exit_code == 8
        holder.kill()  # without a chance to clean up
    with claim_run_dir('net', None, 'auto') as plan:
        assert plan.folder == folder


def test_a_folder_made_for_a_run_that_never_began_goes_again():
    with pytest.raises(ValueError), claim_run_dir('net', None, None) as plan:
        (plan.folder / 'run.log').touch()
        raise ValueError
    assert not plan.folder.exists()
    with pytest.raises(ValueError), claim_run_dir('net', None, None) as plan:
        (plan.folder / 'config.py').touch()
        raise ValueError
    assert plan.folder.is_dir()
    Path('mine').mkdir()
    with pytest.raises(ValueError), claim_run_dir('net', 'mine', None):
        raise ValueError
    assert Path('mine').is_dir()


def test_a_start_that_is_refused_leaves_the_folder_to_the_one_that_works_in_it(monkeypatch):
    pytest.importorskip('fcntl')
    folder, make_folder = Path('mine'), run_dir.make_folder
    arguments = [sys.executable, '-c', HOLDER, folder / '.lock']
    started = []

    def and_another_is_faster(path):
        made = make_folder(path)
        started.append(subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert started[0].stdout.readline() == b'ready\n'
        return made

    monkeypatch.setattr(run_dir, 'make_folder', and_another_is_faster)
    with pytest.raises(RunInUseError):
        claim_run_dir('net', 'mine', None).__enter__()
    assert (folder / '.lock').is_file()
    with started[0] as holder:
        holder.kill()


def test_a_folder_that_may_not_be_written_to_is_an_error_of_the_disk(monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(pathlib.Path, 'open', refuse)
    with pytest.raises(DiskError, match='work_dirs/net: may not be written'):
        claim_run_dir('net', None, None).__enter__()
    assert not Path('work_dirs/net').exists()
    Path('mine').mkdir()
    with pytest.raises(DiskError):
        claim_run_dir('net', 'mine', None).__enter__()
    assert Path('mine').is_dir()


def test_an_error_inside_is_not_taken_for_one_of_the_folder():
    with pytest.raises(PermissionError), claim_run_dir('net', None, None):
        raise PermissionError(13, 'Permission denied', '/photos')


def test_what_a_killed_process_left_of_a_checkpoint_goes():
    pytest.importorskip('fcntl')
    folder = make_run(Path('work_dirs/net'))
    left = [
        '.epoch_3.pth.71.tmp',
        '.epoch_3.pth.json.71.tmp',
        '.best_accuracy_top1_epoch_3.pth.71.tmp',
        '.iter_7.pth.71.tmp',
        '.last_checkpoint.71.tmp',
        '.predictions_val.csv.71.tmp',
        '.confusion.png.71.tmp',
    ]
    kept = ['notes.txt', '.notes.71.tmp', '.epoch_3.pth.tmp']
    for name in left + kept:
        (folder / name).touch()
    with claim_run_dir('net', None, 'auto'):
        assert {path.name for path in folder.iterdir()} == {'config.py', '.lock', *kept}


def test_what_another_process_saves_before_the_lock_is_held_is_seen(monkeypatch):
    folder, make_folder = make_run(Path('work_dirs/net')), run_dir.make_folder

    def lose_time(path):
        write_checkpoint(folder / 'epoch_2.pth', RESUMABLE)
        return make_folder(path)

    monkeypatch.setattr(run_dir, 'make_folder', lose_time)
    with claim_run_dir('net', None, 'auto') as plan:
        assert plan.checkpoint == folder / 'epoch_2.pth'
