"""A power cut at any operation on files costs a run one epoch at most, and not a bit of its results."""

from pathlib import Path

import pytest

from helpers.power import PowerLoss


@pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='looks up the folders of descriptors')
@pytest.mark.parametrize('keeps_names', [True, False])
@pytest.mark.parametrize(
    'stride', [pytest.param(24, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.exhaustive)]
)
def test_a_power_cut_at_an_operation_on_files(
    in_child, quick_train, undisturbed, differences, count_operations, tmp_path, keeps_names, stride
):
    points = range(1 + stride // 2 * keeps_names, count_operations() + 1, stride)
    for number in points:
        folder, aside = tmp_path / f'at{number}', tmp_path / f'aside{number}'
        folder.mkdir()

        def cut(folder=folder, aside=aside, number=number):
            PowerLoss(folder, number, aside, keeps_names).install()
            return quick_train(folder / 'run')

        assert in_child(cut) == 137
        seen = [int(name.removeprefix('epoch_')) for name in (aside / 'seen').read_text().split()]
        left = [int(path.stem.removeprefix('epoch_')) for path in folder.rglob('epoch_*.pth') if path.stat().st_size]
        assert max(left, default=0) >= max(seen, default=0) - 1, f'operation {number}: {seen} before, {left} after'
        assert in_child(lambda folder=folder: quick_train(folder / 'run', '--resume')) == 0, f'operation {number}'
        assert differences(undisturbed, folder / 'run') == [], f'operation {number}'
    print(f'{len(points)} power cuts, names {"kept" if keeps_names else "forgotten"}: all went on to the same bits')
