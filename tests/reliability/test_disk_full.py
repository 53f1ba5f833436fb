"""A disk that fills up at any moment ends a run with a message, and leaves what was saved as it was."""

import errno

import pytest

TAKE_ROOM = ('link', 'mkdir', 'fsync')  # beside writing


def fill_up(file, data):
    """From now on the disk takes nothing more; half of what was to be written still found room."""
    if file is not None:
        file.write(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize(
    'stride', [pytest.param(8, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.exhaustive)]
)
def test_a_disk_that_is_full(
    in_child, quick_train, faults, undisturbed, differences, count_operations, tmp_path, capfd, stride
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
