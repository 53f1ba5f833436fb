"""A disk that fills up at any moment ends a run with a message, and leaves what was saved as it was."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import faults

TRAIN = Path(__file__).parents[2] / 'tools' / 'train.py'
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

TAKE_ROOM = ('link', 'mkdir', 'fsync')  # beside writing


def fill_up(file, data):
    """From now on the disk takes nothing more; half of what was to be written still found room."""
    if file is not None:
        file.write(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize(
    'stride', [pytest.param(14, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.exhaustive)]
)
def test_a_disk_that_is_full(
    in_child, quick_train, undisturbed, differences, count_operations, tmp_path, capfd, stride
):
    num_operations = count_operations(TAKE_ROOM)
    points = range(1, num_operations + 1, stride)
    for number in points:
        folder = tmp_path / f'at{number}'

        def fill(folder=folder, number=number):
            folder.mkdir()
            full = faults.Faults(folder, number, fill_up)
            full.is_permanent, full.operations = True, TAKE_ROOM
            full.install()
            return quick_train(folder / 'run')

        code = in_child(fill)
        assert code in (0, 5), f'operation {number}: exit code {code}'  # 0: what failed was a line of the log
        assert 'Traceback' not in capfd.readouterr().err, f'operation {number}'
        if (folder / 'run').is_dir():
            assert not list((folder / 'run').glob('.*.tmp')), f'operation {number}'
        assert in_child(lambda folder=folder: quick_train(folder / 'run', '--resume')) == 0, f'operation {number}'
        assert differences(undisturbed, folder / 'run') == [], f'operation {number}'
    with capfd.disabled():
        print(f'{len(points)} of {num_operations} operations on a full disk: all went on to the same bits')


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
