"""A process that loads photos and dies ends a run saved, with what to do."""

import os
import signal

import pytest
import torch

from flowercls.core.errors import WorkerError
from flowercls.data.image_folder import ImageFolder
from flowercls.train.loop import translate_worker_errors


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
