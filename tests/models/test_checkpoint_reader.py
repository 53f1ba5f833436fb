"""Reading a checkpoint file: what is wrong with it is named, whatever lies beside it."""

import errno

import pytest
import torch

from flowercls.core.errors import CheckpointError
from flowercls.models import checkpoint_reader
from flowercls.models.checkpoint_reader import class_names_in, read_checkpoint, read_progress
from flowercls.models.checkpoint_writer import write_checkpoint


@pytest.mark.parametrize('sidecar', ['', '[]', '{"iter": "9"}', '[' * 100_000])
def test_a_sidecar_that_says_nothing_is_not_needed(tmp_path, sidecar):
    path = tmp_path / 'epoch_2.pth'
    torch.save({'meta': {'iter': 6, 'epoch': 2}}, path)
    path.with_name('epoch_2.pth.json').write_text(sidecar)
    assert read_progress(path) == (6, 2)
    assert read_checkpoint(path)['meta'] == {'iter': 6, 'epoch': 2}


@pytest.mark.parametrize(('name', 'reason'), [('gone.pth', 'no such file'), ('a' * 300, 'cannot be read')])
def test_a_path_that_leads_nowhere_is_named(tmp_path, name, reason):
    with pytest.raises(CheckpointError, match=f'{reason}.* Fix: ') as caught:
        read_checkpoint(tmp_path / name)
    assert caught.value.exit_code == 4


def test_a_file_that_is_cut_short_is_called_damaged_in_whole_words(tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': {'a': torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r'damaged.*central directory\)\. Fix: .*again'):
        read_checkpoint(path)


def test_a_disk_that_cannot_be_read_is_told_of_the_file(tmp_path, monkeypatch):
    written = tmp_path / 'epoch_3.pth'
    write_checkpoint(written, {'meta': {}})

    def broken(path):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(checkpoint_reader, 'sha256_of', broken)
    with pytest.raises(CheckpointError, match='epoch_3.pth: cannot be read .Input/output error'):
        read_checkpoint(written)


@pytest.mark.parametrize('trusted', [False, True])
def test_a_text_is_no_checkpoint_and_not_to_be_trusted_either(tmp_path, trusted):
    (tmp_path / 'notes.pth').write_text('# Notes\nnone\n')
    with pytest.raises(CheckpointError, match='is not a checkpoint') as caught:
        read_checkpoint(tmp_path / 'notes.pth', trusted=trusted)
    assert '--trust-checkpoint' not in str(caught.value)


def test_a_missing_file_and_a_file_of_something_else_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match='no such file'):
        read_checkpoint(tmp_path / 'gone.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list'):
        read_checkpoint(tmp_path / 'list.pth')


def test_class_names_in_a_file_that_has_none_are_unknown():
    assert class_names_in({'state_dict': {}}) is None
    assert class_names_in({'meta': {'dataset_meta': {'classes': ('a', 'b')}}}) == ['a', 'b']
