"""Runs that are killed: forked from this process, which has imported everything, so that a trial takes seconds."""

import faulthandler
import gc
import json
import os
import shutil
import signal
import time
import traceback

import pytest
import torch

# A child that hangs is a failure, not the end of the whole suite: it says where, and ends.
LONGEST_CHILD_S = 500

TINY = """
train_dataloader = dict(batch_size=16, num_workers=0)
val_dataloader = dict(batch_size=16, num_workers=0)
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
"""


@pytest.fixture(scope='session')
def in_child(heavy_imports):
    """Run a function in a forked process; returns its exit code, negative if a signal has ended it.

    ``signals`` are sent one after another, each after its delay in seconds.
    """

    def run(function, *signals):
        process = os.fork()
        if process == 0:
            _be_child(function)
        for number, delay in signals:
            time.sleep(delay)
            os.kill(process, number)  # it is not forgotten before it is waited for
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    return run


def _be_child(function):
    code = 70
    try:
        gc.freeze()  # what the tests before have left is not looked through for every dataset
        faulthandler.register(signal.SIGALRM, file=2, chain=True)
        signal.alarm(LONGEST_CHILD_S)
        torch.set_num_threads(1)  # the parent's threads are gone, and OpenMP would wait for them
        code = function() or 0
    except KeyboardInterrupt:  # a signal before the tool's first line
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.fixture(scope='session')
def journal_of(tmp_path_factory):
    """The file that notes every step of the run in a folder. It lies elsewhere, as faults spoil files of the folder."""
    journals = tmp_path_factory.mktemp('journals')
    return lambda folder: journals / str(folder).replace('/', '-')


@pytest.fixture(scope='session')
def quick_train(tool, write_config, tmp_path_factory, journal_of):
    """Train a tiny config into a folder, as ``train.py --work-dir``; returns the exit code. Only in a child process."""
    config = write_config(tmp_path_factory.mktemp('quick'), TINY)

    def train(folder, *arguments):
        from flowercls.train.loop import ResumableTrainLoop

        run_iter = ResumableTrainLoop.run_iter

        def run_and_note(loop, number, batch):
            run_iter(loop, number, batch)
            photos = [sample.img_path for sample in batch['data_samples']]
            with os.fdopen(os.open(journal_of(folder), os.O_APPEND | os.O_CREAT | os.O_WRONLY), 'w') as file:
                file.write(json.dumps([loop._iter, loop._epoch, photos]) + '\n')

        ResumableTrainLoop.run_iter = run_and_note
        return tool('train', config, '--work-dir', folder, *arguments)

    return train


def errors_in(journal):
    """What is wrong with the journal of a run of 45 photos and 2 epochs, written in one start or in many."""
    steps = {}
    for step, epoch, photos in map(json.loads, journal.read_text().splitlines()):
        if steps.setdefault(step, (epoch, photos)) != (epoch, photos):
            yield f'step {step} was trained again with other photos'
    if sorted(steps) != list(range(1, len(steps) + 1)):
        yield f'steps are missing: there are {sorted(steps)}'
    for number in (0, 1):
        seen = [photo for epoch, photos in steps.values() for photo in photos if epoch == number]
        if len(seen) != 45 or len(set(seen)) != 45:
            yield f'epoch {number + 1} has {len(seen)} photos, {len(set(seen))} of them different'


@pytest.fixture(scope='session')
def check_resumed(in_child, quick_train, journal_of, undisturbed, differences):
    """Resume the run in a folder: it ends with the bits of an undisturbed one, and each step has the same photos."""

    def check(folder):
        assert in_child(lambda: quick_train(folder, '--resume')) == 0, f'{folder} cannot be resumed'
        assert differences(undisturbed, folder) == [], folder
        assert list(errors_in(journal_of(folder))) == [], folder

    return check


@pytest.fixture(scope='session')
def undisturbed(in_child, quick_train, tmp_path_factory):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp('undisturbed') / 'run'
    assert in_child(lambda: quick_train(folder)) == 0
    return folder


def leaves(value, path=''):
    """The path and value of everything in a checkpoint that is no container; a tensor as its type and bytes."""
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f'{path}.{key}')
    elif isinstance(value, torch.Tensor):
        yield path, (value.dtype, value.shape, value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    else:
        yield path, value


@pytest.fixture(scope='session')
def differences():
    """Where two run folders have other bits: the last checkpoint and the best one as wholes, and its results."""

    def compare(*folders):
        metrics = [json.loads((folder / 'metrics.json').read_text()) for folder in folders]
        best = {figures['checkpoint'] for figures in metrics}
        different = ['metrics.json'] * (metrics[0] != metrics[1])
        for name in ('predictions_val.csv', 'predictions_val_last.csv'):
            tables = [(folder / name).read_bytes() for folder in folders]
            different += [name] * (tables[0] != tables[1])
        for name in ['epoch_2.pth', *(best if len(best) == 1 else ())]:
            states = [dict(leaves(torch.load(folder / name, weights_only=True))) for folder in folders]
            keys = states[0].keys() | states[1].keys()
            different += [f'{name}{key}' for key in keys if states[0].get(key) != states[1].get(key)]
        return different

    return compare


@pytest.fixture
def canary(tmp_path):
    """A path at which nothing may ever be."""
    yield tmp_path / 'canary'
    assert not (tmp_path / 'canary').exists(), 'code from a file was run'


@pytest.fixture
def harm(canary):
    """Makes the canary where it is unpickled."""

    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    return Harm()


@pytest.fixture
def evil(tmp_path, harm):
    """A checkpoint that runs code where it is unpickled."""
    torch.save({'state_dict': harm}, tmp_path / 'evil.pth')
    return tmp_path / 'evil.pth'


@pytest.fixture
def copied_run(trained_run, tmp_path):
    """A run folder of a colleague, which may be written to."""
    return shutil.copytree(trained_run[1], tmp_path / 'run')
