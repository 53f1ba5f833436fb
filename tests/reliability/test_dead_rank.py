"""One of several processes dies under torchrun, which starts them anew: the run ends as an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SEED = 0


def launch(config, folder, max_restarts):
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    command += [f'--max-restarts={max_restarts}', '--monitor-interval=0.1', REPOSITORY / 'tools' / 'train.py', config]
    environment = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen(
        [*command, '--launcher', 'pytorch', '--work-dir', folder, '--resume', '--no-pictures'],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(run):
    said, _ = run.communicate()
    return run.returncode, said


def process_of(run, rank):
    """The number of the process of ``rank`` that the launcher has started."""
    for status in Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = int(status.read_text().rpartition(')')[2].split()[1])
            variables = status.with_name('environ').read_bytes().split(b'\0')
        except OSError:
            continue
        if parent == run.pid and b'RANK=%d' % rank in variables:
            return int(status.parent.name)
    return None


def wait_for(file, run):
    while not file.exists():
        assert run.poll() is None, f'it ended without {file.name}'
        time.sleep(0.01)


@pytest.fixture(scope='module')
def config(write_config, tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('ranks'))


@pytest.fixture(scope='module')
def whole(config, tmp_path_factory):
    """The folder of a run of two processes that nothing happened to, and how long it took from its first sign."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    run = launch(config, folder, 0)
    wait_for(folder / 'config.py', run)
    started = time.monotonic()
    code, said = ended(run)
    assert code == 0, said[-3000:]
    return folder, time.monotonic() - started


pytestmark = pytest.mark.skipif(not Path('/proc').is_dir(), reason='looks at processes')


@pytest.mark.parametrize(
    'kills', [pytest.param(1, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.exhaustive)]
)
def test_a_killed_process_is_started_again(config, whole, differences, tmp_path, kills):
    undisturbed, length = whole
    moments = random.Random(SEED)
    for number in range(kills):
        folder, moment = tmp_path / f'run{number}', moments.uniform(0, length)
        run = launch(config, folder, 3)
        wait_for(folder / 'config.py', run)
        time.sleep(moment)
        if (victim := process_of(run, number % 2)) is not None:
            os.kill(victim, signal.SIGKILL)
        code, said = ended(run)
        assert code == 0, f'process {number % 2} killed after {moment:.1f} s:\n{said[-3000:]}'
        assert differences(undisturbed, folder) == [], f'process {number % 2} killed after {moment:.1f} s'
    print(f'{kills} killed processes of two: all runs ended with the same bits')


@pytest.mark.parametrize(
    'launcher', [pytest.param(True, marks=pytest.mark.slow), pytest.param(False, marks=pytest.mark.exhaustive)]
)
def test_without_a_restart_what_was_saved_stays(config, whole, differences, tmp_path, launcher):
    code = 0
    while code == 0:  # a run may come to its end before it is met
        folder = Path(tempfile.mkdtemp(dir=tmp_path)) / 'run'
        run = launch(config, folder, 0)
        wait_for(folder / 'epoch_1.pth.json', run)
        if launcher:
            run.terminate()  # it passes the signal on: nothing can be saved while one process waits for the other
        elif (victim := process_of(run, 1)) is not None:
            os.kill(victim, signal.SIGKILL)
        code, said = ended(run)
    assert 'damaged' not in said
    code, said = ended(launch(config, folder, 0))
    assert code == 0 and 'resumed from epoch_' in said
    assert differences(whole[0], folder) == []
