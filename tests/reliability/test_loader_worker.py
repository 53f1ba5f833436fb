"""A process that loads photos and dies, or cannot hand them over, ends a run saved, with what to do."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from multiprocessing.synchronize import SemLock
from pathlib import Path

import pytest
import torch

from flowercls.core.errors import DiskError, WorkerError
from flowercls.core.files import disk_errors
from flowercls.data.image_folder import ImageFolder
from flowercls.train.loop import translate_worker_errors
from flowercls.train.runner import _start_worker


# Two trainings each.
@pytest.mark.parametrize('signum', [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.slow)])
def test_a_killed_worker(signum, write_config, tool, tmp_path, monkeypatch, capsys):
    extra = 'train_dataloader = dict(batch_size=8, num_workers=1, persistent_workers=True)\nphoto_cache = None\n'
    config, run, parent = write_config(tmp_path, extra), tmp_path / 'run', os.getpid()
    original = ImageFolder.__getitem__

    def fatal(self, key):
        if os.getpid() != parent and getattr(key, 'epoch', 0) == 1 and int(key) == 7:
            os.kill(os.getpid(), signum)
        return original(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(ImageFolder, '__getitem__', fatal)
        assert tool('train', config, '--work-dir', run) == 9
    error = capsys.readouterr().err
    assert 'a loader worker has died' in error and '/dev/shm' in error and '--resume' in error
    assert (run / 'epoch_1.pth').is_file()
    assert tool('train', config, '--work-dir', run, '--resume') == 0
    assert (run / 'epoch_2.pth').is_file()


def test_the_report_that_follows_a_lost_connection_is_waited_for(monkeypatch):
    reports = iter([None, None, RuntimeError('DataLoader worker (pid 5) is killed by signal: Segmentation fault.')])

    def report():
        if error := next(reports):
            raise error

    monkeypatch.setattr(torch._C, '_error_if_any_worker_fails', report)
    with pytest.raises(WorkerError, match='Segmentation fault'), translate_worker_errors():
        raise ConnectionResetError
    assert list(reports) == []


IN_WORKER = 'Caught {0} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File\n{0}: {1}'


@pytest.mark.parametrize(
    'text',
    [
        'unable to allocate shared memory(shm) for file </torch_5_12_0>: No space left on device (28)',
        'unable to write to file </torch_5_12_0>: No space left on device (28)',
        'unable to mmap 393216 bytes from file </torch_5_12_0>: Cannot allocate memory (12)',
        "DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        'shared memory. Please try to raise your shared memory limit.',
    ],
)
@pytest.mark.parametrize('is_of_worker', [False, True])
def test_full_shared_memory_is_named_with_its_remedies(text, is_of_worker):
    error = RuntimeError(IN_WORKER.format('RuntimeError', text) if is_of_worker else text)
    with pytest.raises(WorkerError, match='/dev/shm is full') as caught, translate_worker_errors():
        raise error
    message = str(caught.value)
    assert 'docker run --shm-size=1g' in message and 'train_dataloader.num_workers=0' in message
    assert '\n' not in message and caught.value.exit_code == 9


def test_locks_that_find_no_room_are_not_taken_for_a_full_disk(monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with pytest.raises(DiskError), disk_errors(tmp_path), translate_worker_errors():
        refuse()
    monkeypatch.setattr('multiprocessing.synchronize._multiprocessing.SemLock', refuse)
    with pytest.raises(WorkerError, match='/dev/shm'), disk_errors(tmp_path), translate_worker_errors():
        SemLock(1, 1, 1, ctx=torch.multiprocessing.get_context())


@pytest.mark.parametrize('text', ['received 0 items of ancdata', '</torch_5_12_0>: Too many open files (24)'])
def test_too_many_open_files_are_named_with_their_remedy(text):
    with pytest.raises(WorkerError, match='ulimit -n'), translate_worker_errors():
        raise RuntimeError(text)


def test_other_errors_stay_as_they_are():
    for error in (RuntimeError('mat1 and mat2 shapes cannot be multiplied'), OSError(errno.ENOSPC, 'No space')):
        with pytest.raises(type(error)) as caught, translate_worker_errors():
            raise error
        assert caught.value is error


class Unsendable(torch.utils.data.Dataset):
    """One photo that no process can send to another."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return lambda: index


def test_a_batch_that_cannot_be_sent_ends_the_run_instead_of_hanging():
    # Python drops it: without our hook the loader waits for ever, which `timeout` ends.
    loader = torch.utils.data.DataLoader(
        Unsendable(), None, num_workers=1, timeout=20, worker_init_fn=partial(_start_worker, None)
    )
    with pytest.raises(Exception, match='(?i)pickle') as caught:
        next(iter(loader))
    assert 'timed out' not in str(caught.value)


# Trainings of three seconds in a namespace of their own.
@pytest.mark.slow
@pytest.mark.parametrize('collate', ['default_collate', 'pseudo_collate'])
def test_training_with_a_full_shared_memory(collate, write_config, tmp_path):
    mount = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', 'sh']
    if not shutil.which('unshare') or subprocess.run([*mount, 'true'], check=False).returncode:
        pytest.skip('mounting is not permitted')
    extra = f"""train_dataloader = dict(batch_size=32, num_workers=1, collate_fn=dict(type='{collate}'))
photo_cache = None
"""
    tool = Path(__file__).parents[2] / 'tools' / 'train.py'
    command = [*mount, sys.executable, tool, write_config(tmp_path, extra), '--work-dir', tmp_path / 'run']
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 9 and '--shm-size=1g' in done.stderr and 'Traceback' not in done.stderr
