"""A process that dies at any operation on any file leaves a run that goes on to the same bits."""

import pytest

from helpers import faults


@pytest.mark.parametrize(
    'stride', [pytest.param(9, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.exhaustive)]
)
def test_a_crash_at_an_operation_on_files(
    in_child, quick_train, undisturbed, differences, disagreements, count_operations, tmp_path, stride
):
    num_operations = count_operations()
    assert num_operations > 50
    points = range(1, num_operations + 1, stride)
    for number in points:
        folder, journal = tmp_path / f'at{number}', tmp_path / f'at{number}.journal'

        def crash(folder=folder, journal=journal, number=number):
            folder.mkdir()
            faults.Faults(folder, number, faults.die).install()
            return quick_train(folder / 'run', journal=journal)

        def go_on(folder=folder, journal=journal):
            return quick_train(folder / 'run', '--resume', journal=journal)

        assert in_child(crash) == 137
        assert in_child(go_on) == 0, f'operation {number}'
        assert differences(undisturbed, folder / 'run') == [], f'operation {number}'
        assert disagreements(journal) == [], f'operation {number}'
    print(f'{len(points)} crash points of {num_operations}: all went on to the same bits')
