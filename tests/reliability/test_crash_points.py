"""A process that dies at any operation on any file leaves a run that goes on to the same bits (plan: R2)."""

import os

import pytest

STRIDE = int(os.environ.get('FLOWERCLS_CRASH_STRIDE', 6))  # 1: every operation; more: every so many


@pytest.mark.slow
def test_a_crash_at_an_operation_on_files(
    in_child, quick_train, faults, undisturbed, differences, count_operations, tmp_path
):
    num_operations = count_operations()
    assert num_operations > 50
    points = range(1, num_operations + 1, STRIDE)
    for number in points:
        folder = tmp_path / f'at{number}'

        def crash(folder=folder, number=number):
            folder.mkdir()
            faults.Faults(folder, number, faults.die).install()
            return quick_train(folder / 'run')

        assert in_child(crash) == 137
        assert in_child(lambda folder=folder: quick_train(folder / 'run', '--resume')) == 0, f'operation {number}'
        assert differences(undisturbed, folder / 'run') == [], f'operation {number}'
    print(f'{len(points)} crash points of {num_operations}: all went on to the same bits')
