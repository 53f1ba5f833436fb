import errno
import json
import pickle

import numpy as np
import pytest
import torch

from flowercls.core.errors import CheckpointError, DiskError
from flowercls.core.files import sha256_of
from flowercls.models import checkpoint_reader
from flowercls.models.checkpoint_reader import class_names_in, read_checkpoint
from flowercls.train.checkpoint import to_plain, write_checkpoint

CONTENT = {
    'meta': {'epoch': 3, 'iter': np.int64(30), 'dataset_meta': {'classes': ('a', 'b')}},
    'state_dict': {'w': torch.arange(6.0).reshape(2, 3)},
    'lr': np.float64(0.1),
}


@pytest.fixture
def written(tmp_path):
    write_checkpoint(tmp_path / 'epoch_3.pth', CONTENT)
    return tmp_path / 'epoch_3.pth'


def test_what_is_written_loads_in_plain_torch_without_an_allow_list(written):
    content = torch.load(written, weights_only=True)
    assert content['meta'] == {'epoch': 3, 'iter': 30, 'dataset_meta': {'classes': ['a', 'b']}}
    assert type(content['lr']) is float and type(content['meta']['iter']) is int
    assert torch.equal(content['state_dict']['w'], CONTENT['state_dict']['w'])


def test_digest_lies_beside_the_file(written):
    assert json.loads((written.parent / 'epoch_3.pth.json').read_text())['sha256'] == sha256_of(written)
    assert sorted(path.name for path in written.parent.iterdir()) == ['epoch_3.pth', 'epoch_3.pth.json']


@pytest.mark.parametrize('position', [0.2, 0.5, 0.9])
def test_one_flipped_bit_is_noticed(written, position):
    data = bytearray(written.read_bytes())
    data[int(position * len(data))] ^= 1
    written.write_bytes(data)
    with pytest.raises(CheckpointError, match='damaged: its SHA-256'):
        read_checkpoint(written)


@pytest.mark.parametrize('length', [0, 1, 100, 1000])
def test_a_truncated_file_without_a_digest_is_an_error_not_a_traceback(written, length):
    (written.parent / 'epoch_3.pth.json').unlink()
    written.write_bytes(written.read_bytes()[:length])
    with pytest.raises(CheckpointError, match='epoch_3.pth'):
        read_checkpoint(written)


class Evil:
    def __reduce__(self):
        return print, ('code was run',)


def test_a_disk_that_cannot_be_read_is_told_of_the_file(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / 'epoch_1.pth', {'meta': {'epoch': 1}})

    def broken(path):
        raise OSError(errno.EIO, 'Input/output error')

    monkeypatch.setattr(checkpoint_reader, 'sha256_of', broken)
    with pytest.raises(CheckpointError, match='epoch_1.pth: cannot be read .Input/output error'):
        read_checkpoint(tmp_path / 'epoch_1.pth')


@pytest.mark.parametrize('trusted', [False, True])
def test_a_text_is_no_checkpoint_and_not_to_be_trusted_either(tmp_path, trusted):
    (tmp_path / 'notes.pth').write_text('# Notes\nnone\n')
    with pytest.raises(CheckpointError, match='is not a checkpoint') as caught:
        read_checkpoint(tmp_path / 'notes.pth', trusted=trusted)
    assert '--trust-checkpoint' not in str(caught.value)


def test_what_stands_in_the_way_goes_aside_with_what_is_said_of_it(tmp_path):
    for epoch in (1, 2):
        write_checkpoint(tmp_path / 'epoch_1.pth', {'meta': {'epoch': epoch, 'iter': epoch}})
    assert read_checkpoint(tmp_path / 'epoch_1.pth')['meta']['epoch'] == 2
    assert json.loads((tmp_path / 'epoch_1.pth.damaged.json').read_text())['epoch'] == 1


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({'state_dict': Evil()}, tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match='could run code'):
        read_checkpoint(tmp_path / 'evil.pth')
    (tmp_path / 'pickle.pth').write_bytes(pickle.dumps({'state_dict': Evil()}))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / 'pickle.pth')
    assert 'code was run' not in capsys.readouterr().out


def test_a_missing_file_and_a_file_of_something_else_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match='no such file'):
        read_checkpoint(tmp_path / 'gone.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list'):
        read_checkpoint(tmp_path / 'list.pth')


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(DiskError, match='disk is full'):
        write_checkpoint(tmp_path / 'epoch_1.pth', CONTENT)
    assert list(tmp_path.iterdir()) == []


def test_plain_values_stay_equal_and_tensors_leave_the_graph():
    tensor = torch.ones(2, requires_grad=True)
    plain = to_plain({'a': (1, [np.float32(0.5), 'x', None, True]), 't': tensor * 2})
    assert plain['a'] == [1, [0.5, 'x', None, True]] and type(plain['a'][1][0]) is float
    assert not plain['t'].requires_grad


def test_class_names_in_a_file_that_has_none_are_unknown():
    assert class_names_in({'state_dict': {}}) is None
    assert class_names_in(CONTENT) == ['a', 'b']
