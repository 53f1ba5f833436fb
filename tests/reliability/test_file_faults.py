"""A death, a power cut or a full disk at any operation on files leaves a run that goes on to the same bits."""

import errno
import functools
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import stock
from helpers.faults import OPERATIONS, Faults, die
from helpers.power import PowerLoss

TRAIN = Path(__file__).parents[2] / 'tools' / 'train.py'
TAKE_ROOM = ('link', 'mkdir', 'fsync')  # beside writing


def crash(folder, number):
    Faults(folder, number, die).install()


def cut_power(folder, number, keeps_names):
    PowerLoss(folder, number, folder.with_name(f'aside_{folder.name}'), keeps_names).install()


def fill_disk(folder, number):
    """From now on the disk takes nothing more; half of what was to be written still found room."""

    def fail(file, data):
        if file is not None:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, 'No space left on device')

    Faults(folder, number, fail, TAKE_ROOM, is_permanent=True).install()


# What happens, which operations of `os` are counted, the exit codes, and the first operation and step of the slow run.
FAULTS = {
    'death': (crash, OPERATIONS, (137,), (1, 9)),
    'power cut, names kept': (functools.partial(cut_power, keeps_names=True), OPERATIONS, (137,), (13, 24)),
    'power cut, names forgotten': (functools.partial(cut_power, keeps_names=False), OPERATIONS, (137,), (1, 24)),
    'full disk': (fill_disk, TAKE_ROOM, (0, 5), (1, 14)),  # 0: a line of the log is all that was lost
}


@pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='looks up the folders of descriptors')
@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize(
    'tries_all', [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.exhaustive)]
)
def test_a_fault_at_an_operation_on_files(in_child, quick_train, check_resumed, tmp_path, capfd, fault, tries_all):
    strike, operations, codes, (first, step) = FAULTS[fault]

    def count():
        counting = Faults(tmp_path / 'counted', operations=operations)
        counting.install()
        assert quick_train(tmp_path / 'counted' / 'run') == 0
        (tmp_path / 'count').write_text(str(counting.count))

    (tmp_path / 'counted').mkdir()
    assert in_child(count) == 0
    num_operations = int((tmp_path / 'count').read_text())
    assert num_operations > 50
    points = range(1, num_operations + 1) if tries_all else range(first, num_operations + 1, step)
    for number in points:
        folder, seen = tmp_path / f'at{number}', tmp_path / f'aside_at{number}' / 'seen'

        def run(folder=folder, number=number):
            folder.mkdir()
            strike(folder, number)
            return quick_train(folder / 'run')

        code = in_child(run)
        assert code in codes and 'Traceback' not in capfd.readouterr().err, f'operation {number}: exit code {code}'
        if seen.exists():  # a power cut costs one epoch at most
            left = [epoch_of(path) for path in folder.rglob('epoch_*.pth') if path.stat().st_size]
            assert max(left, default=0) >= max(map(epoch_of, seen.read_text().split()), default=0) - 1, number
        assert code == 137 or not list(folder.rglob('.*.tmp')), f'operation {number}'
        check_resumed(folder / 'run')
    print(f'{fault}: {len(points)} of {num_operations} operations, all runs went on to the same bits')


def epoch_of(path):
    return int(Path(path).stem.removeprefix('epoch_'))


@pytest.mark.parametrize(
    ('step', 'least'), [pytest.param(4, 3, marks=pytest.mark.slow), pytest.param(1, 10, marks=pytest.mark.exhaustive)]
)
def test_crashes_leave_mmengines_own_training_unusable(in_child, tmp_path, step, least):
    """What the test above looks for in our runs is there to be found."""
    assert in_child(lambda: stock.train(tmp_path / 'whole')) == 0
    weights = torch.load(tmp_path / 'whole' / 'epoch_3.pth', weights_only=False)['state_dict']
    bad = []
    for number in itertools.count(1, step):
        folder = tmp_path / f'at{number}'

        def run(folder=folder, number=number):
            folder.mkdir()
            crash(folder, number)
            return stock.train(folder / 'run')

        if (code := in_child(run)) == 0:  # there are no more operations
            break
        assert code == 137 and number < 1000
        goes_on = in_child(lambda folder=folder: stock.train(folder / 'run', resume=True)) == 0
        end = torch.load(folder / 'run' / 'epoch_3.pth', weights_only=False)['state_dict'] if goes_on else {}
        if not goes_on or not all(torch.equal(end[key], weights[key]) for key in weights):
            bad.append(number)
    print(f'mmengine alone: {len(bad)} of {number // step} crash points leave a run that cannot go on')
    assert len(bad) >= least, bad


# A disk of its own, in a namespace of its own, that something else fills as soon as there is a checkpoint.
SMALL_DISK = """
mount -t tmpfs -o size=64m none "$1" || exit 99
(until [ -e "$1/run/epoch_1.pth" ]; do sleep 0.02; done; cat /dev/zero > "$1/filler" 2>&-) &
"$2" "$3" "$4" --work-dir "$1/run"
echo "ended with $?"
wait
ls -A "$1/run" | grep tmp && exit 98
rm "$1/filler"
"$2" "$3" "$4" --work-dir "$1/run" --resume && cp -r "$1/run" "$5"
"""


@pytest.mark.slow
def test_a_small_disk_that_something_else_fills(write_config, tool, tmp_path):
    if shutil.which('unshare') is None or subprocess.run(['unshare', '-rm', 'true'], check=False).returncode:
        pytest.skip('no disk can be mounted here')
    config = write_config(tmp_path, 'train_cfg = dict(max_epochs=6)\n')
    assert tool('train', config, '--work-dir', tmp_path / 'whole') == 0
    (tmp_path / 'disk').mkdir()
    paths = [tmp_path / 'disk', sys.executable, TRAIN, config, tmp_path / 'run']
    command = ['unshare', '-rm', 'sh', '-c', SMALL_DISK, 'sh', *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 99:
        pytest.skip('no disk can be mounted here')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'ended with 5' in done.stdout and 'No space left' in done.stderr and 'Traceback' not in done.stderr
    last = [torch.load(tmp_path / name / 'epoch_6.pth', weights_only=True)['state_dict'] for name in ('whole', 'run')]
    assert all(torch.equal(last[0][key], last[1][key]) for key in last[0] | last[1])
