"""A damaged checkpoint is noticed, named, and the one before it is used."""

import random
import shutil

import pytest

from flowercls.core.errors import CheckpointError
from flowercls.models.checkpoint_reader import read_checkpoint
from flowercls.train.resume import newest_usable

SEED = 0


def truncated(content, number):
    return content[: len(content) * number // 50]  # 0 of 50 to 49 of 50


def flipped(content, number):
    place = random.Random(f'{SEED} {number}').randrange(len(content) * 8)
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def zeroed(content, number):
    start = number * (len(content) // 10)
    changed = bytearray(content)
    changed[start : start + 512] = bytes(512)
    return bytes(changed)


CORRUPTIONS = [(truncated, i) for i in range(50)] + [(flipped, i) for i in range(40)] + [(zeroed, i) for i in range(10)]


@pytest.fixture
def run(trained_run, tmp_path):
    """A run folder of two checkpoints, without a second name for the newer one."""
    folder = shutil.copytree(trained_run[1], tmp_path / 'run')
    for path in folder.glob('best_*'):
        path.unlink()
    return folder


@pytest.mark.parametrize('with_digest', [True, False])
@pytest.mark.parametrize('step', [6, pytest.param(1, marks=pytest.mark.slow)])
def test_damaged_checkpoints_are_noticed_and_the_one_before_is_used(run, step, with_digest):
    newest, good = run / 'epoch_2.pth', (run / 'epoch_2.pth').read_bytes()
    if not with_digest:  # a crash can come between a checkpoint and its digest; the file has checksums of its own
        (run / 'epoch_2.pth.json').unlink()
    content = repr(read_checkpoint(newest))
    for corrupt, number in CORRUPTIONS[::step]:
        newest.write_bytes(corrupt(good, number))
        start, rejected = newest_usable(run)
        if not with_digest and start.path == newest:  # a bit that no checksum covers changes nothing that is read
            assert repr(read_checkpoint(newest)) == content
        else:
            assert start.path.name == 'epoch_1.pth' and rejected[0].startswith(f'{newest}: ')


def test_a_run_goes_on_from_the_one_before_and_keeps_the_damaged_file(run, trained_run, tool, capsys):
    damaged = truncated((run / 'epoch_2.pth').read_bytes(), 25)
    (run / 'epoch_2.pth').write_bytes(damaged)
    assert tool('train', trained_run[0], '--work-dir', run, '--resume') == 0
    told = capsys.readouterr().out
    assert f'not used: {run}/epoch_2.pth: damaged' in told and 'resumed from epoch_1.pth' in told
    assert (run / 'epoch_2.pth.damaged').read_bytes() == damaged
    state, before = (read_checkpoint(folder / 'epoch_2.pth')['state_dict'] for folder in (run, trained_run[1]))
    assert all(state[name].equal(before[name]) for name in before)


def test_where_all_are_damaged_nothing_is_started_afresh(run, trained_run, tool, capsys):
    for path in run.glob('epoch_*.pth'):
        path.write_bytes(path.read_bytes()[:1000])
    before = {path: path.read_bytes() for path in run.iterdir()}
    assert tool('train', trained_run[0], '--work-dir', run, '--resume') == 4
    error = capsys.readouterr().err
    assert 'no checkpoint can be used' in error and 'epoch_1.pth' in error and 'epoch_2.pth' in error
    assert {path: path.read_bytes() for path in run.iterdir() if path.name != '.lock'}.items() <= before.items()


def test_a_damaged_checkpoint_that_is_named_is_refused(run, trained_run, tool, capsys):
    (run / 'epoch_2.pth').write_bytes(b'')
    with pytest.raises(CheckpointError):
        read_checkpoint(run / 'epoch_2.pth')
    assert tool('train', trained_run[0], '--resume', run / 'epoch_2.pth') == 4
