"""Runs that are killed: forked from this process, which has imported everything, so that a trial takes seconds."""

import faulthandler
import gc
import importlib
import json
import os
import shutil
import signal
import time
import traceback

import pytest
import torch

from helpers.faults import Faults

# A child that hangs is a failure, not the end of the whole suite: it says where, and ends.
LONGEST_CHILD_S = 500

TINY = """
train_dataloader = dict(batch_size=16, num_workers=0)
val_dataloader = dict(batch_size=16, num_workers=0)
custom_hooks = [dict(type='EMAHook', momentum=0.3)]
"""


@pytest.fixture(scope='session')
def in_child():
    """Run a function in a forked process; returns its exit code, negative if a signal has ended it.

    ``signals`` are sent one after another, each after its delay in seconds.
    """
    importlib.import_module('matplotlib.figure')  # else mmengine's visualizer would, in each child

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
def quick_train(tool, write_config, tmp_path_factory):
    """Train a tiny config into a folder, without pictures, as ``train.py --work-dir``; returns the exit code.

    Only in a child process: it changes the modules. With a ``journal`` each step adds a line to that file.
    """
    config = write_config(tmp_path_factory.mktemp('quick'), TINY)

    def train(folder, *arguments, journal=None):
        if journal is not None:
            _keep_journal(journal)
        return tool('train', config, '--work-dir', folder, *arguments)

    return train


def _keep_journal(path):
    from flowercls.train.loop import ResumableTrainLoop

    run_iter = ResumableTrainLoop.run_iter

    def and_note(loop, number, batch):
        run_iter(loop, number, batch)
        photos = [sample.img_path for sample in batch['data_samples']]
        with path.open('a') as file:
            file.write(json.dumps([loop._iter, loop._epoch, photos]) + '\n')

    ResumableTrainLoop.run_iter = and_note


@pytest.fixture(scope='session')
def disagreements():
    """What is wrong with the journal of a run of 45 photos and 2 epochs, written in one start or in many."""

    def check(journal):
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

    return lambda journal: list(check(journal))


@pytest.fixture(scope='session')
def count_operations(in_child, quick_train, tmp_path_factory):
    """How many operations on files an undisturbed run has; of all that are known, or of those named."""

    def of_a_run(operations=None):
        folder = tmp_path_factory.mktemp('counted')

        def count():
            counting = Faults(folder)
            counting.operations = operations or counting.operations
            counting.install()
            assert quick_train(folder / 'run') == 0
            (folder.parent / 'operations.txt').write_text(str(counting.count))

        assert in_child(count) == 0
        return int((folder.parent / 'operations.txt').read_text())

    return of_a_run


@pytest.fixture(scope='session')
def undisturbed(in_child, quick_train, tmp_path_factory):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp('undisturbed') / 'run'
    assert in_child(lambda: quick_train(folder)) == 0
    return folder


def leaves(value, path=''):
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f'{path}.{key}')
    else:
        yield path, value


def _same(one, other):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    return one is other or bool(one == other)


@pytest.fixture(scope='session')
def differences():
    """Where two run folders have other bits: the last checkpoint and the best one as wholes, and its results."""

    def compare(one, other):
        metrics = [json.loads((folder / 'metrics.json').read_text()) for folder in (one, other)]
        best, found = {figures['checkpoint'] for figures in metrics}, []
        for name in ['epoch_2.pth', *(best if len(best) == 1 else ())]:
            states = [dict(leaves(torch.load(folder / name, weights_only=True))) for folder in (one, other)]
            keys = states[0].keys() | states[1].keys() - {'.meta.cfg'}
            found += [f'{name}{key}' for key in keys if not _same(states[0].get(key), states[1].get(key))]
        tables = [(folder / 'predictions_val.csv').read_bytes() for folder in (one, other)]
        found += ['metrics.json'] * (metrics[0] != metrics[1])
        return found + ['predictions_val.csv'] * (tables[0] != tables[1])

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
