"""Checkpoints under a second name, and removed."""

import pytest
import torch

from flowercls.models.checkpoint_reader import read_checkpoint
from flowercls.train import checkpoint
from flowercls.train.checkpoint import link_checkpoint, remove_checkpoint, write_checkpoint


def content(epoch):
    return {'meta': {'epoch': epoch, 'iter': 10 * epoch}, 'state_dict': {'w': torch.full((3,), float(epoch))}}


@pytest.fixture
def written(tmp_path):
    write_checkpoint(tmp_path / 'epoch_3.pth', content(3))
    return tmp_path / 'epoch_3.pth'


def test_a_second_name_is_the_same_file_and_outlives_the_first(written):
    best = written.parent / 'best.pth'
    for _ in range(2):  # a resumed run does it again
        link_checkpoint(written, best)
    remove_checkpoint(written)
    assert read_checkpoint(best)['meta']['epoch'] == 3
    assert sorted(path.name for path in best.parent.iterdir()) == ['best.pth', 'best.pth.json']


def test_a_checkpoint_without_a_digest_gets_its_second_name_too(written):
    (written.parent / 'epoch_3.pth.json').unlink()  # the run was killed between the two
    link_checkpoint(written, written.parent / 'best.pth')
    assert sorted(path.name for path in written.parent.iterdir()) == ['best.pth', 'epoch_3.pth']


def test_a_kill_between_a_second_name_and_its_digest_leaves_a_file_that_can_be_read(written, monkeypatch):
    best = written.parent / 'best_epoch_3.pth'
    write_checkpoint(best, content(2))  # with a digest of its own

    class Killed(BaseException):
        pass

    link = checkpoint._link

    def first_only(old, new):
        if new.suffix == '.json':
            raise Killed
        link(old, new)

    with monkeypatch.context() as killed:
        killed.setattr(checkpoint, '_link', first_only)
        with pytest.raises(Killed):
            link_checkpoint(written, best)
    assert read_checkpoint(best)['meta']['epoch'] == 3
    link_checkpoint(written, best)
    assert best.with_name('best_epoch_3.pth.json').read_bytes() == written.with_name('epoch_3.pth.json').read_bytes()
