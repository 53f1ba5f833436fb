"""Writing a checkpoint file: plain content, whole or not at all."""

import json

import numpy as np
import pytest
import torch

from flowercls.core.errors import DiskError
from flowercls.core.files import sha256_of
from flowercls.models.checkpoint_reader import read_checkpoint, sidecar_of
from flowercls.models.checkpoint_writer import to_plain, write_checkpoint

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
    assert json.loads(sidecar_of(written).read_text())['sha256'] == sha256_of(written)
    assert sorted(path.name for path in written.parent.iterdir()) == ['epoch_3.pth', 'epoch_3.pth.json']


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


def test_a_file_of_the_name_is_replaced_with_what_is_said_of_it(written):
    write_checkpoint(written, {'meta': {'epoch': 4, 'iter': 40}})
    assert read_checkpoint(written)['meta'] == {'epoch': 4, 'iter': 40}
    assert json.loads(sidecar_of(written).read_text()) == {'sha256': sha256_of(written), 'epoch': 4, 'iter': 40}


def test_a_failed_write_leaves_the_old_file_as_it_was(written, monkeypatch):
    monkeypatch.setattr(torch, 'save', lambda content, file: file.write(b'half') and {}['full'])
    with pytest.raises(KeyError):
        write_checkpoint(written, {'meta': {}})
    assert read_checkpoint(written)['meta']['epoch'] == 3 and len(list(written.parent.iterdir())) == 2
