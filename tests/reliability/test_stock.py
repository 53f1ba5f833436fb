"""The same crashes under mmengine's own training: what the tests of ours look for is there to be found."""

import pytest
import torch

from helpers import faults, stock


@pytest.mark.slow
def test_crashes_leave_mmengines_own_training_unusable(in_child, tmp_path):
    assert in_child(lambda: stock.train(tmp_path / 'whole')) == 0
    weights = torch.load(tmp_path / 'whole' / 'epoch_3.pth', weights_only=False)['state_dict']
    bad, number = [], 0
    while True:
        folder, number = tmp_path / f'at{number}', number + 1

        def crash(folder=folder, number=number):
            folder.mkdir()
            faults.Faults(folder, number, faults.die).install()
            return stock.train(folder / 'run')

        code = in_child(crash)
        assert code in (0, 137) and number < 1000
        if code == 0:  # there are no more operations
            break
        if in_child(lambda folder=folder: stock.train(folder / 'run', resume=True)) != 0:
            bad.append(number)
            continue
        ended = torch.load(folder / 'run' / 'epoch_3.pth', weights_only=False)['state_dict']
        if not all(torch.equal(ended[key], weights[key]) for key in weights):
            bad.append(number)
    print(f'mmengine alone: {len(bad)} of {number - 1} crash points leave a run that cannot go on')
    assert len(bad) >= 10
