"""Reading a checkpoint file: what is wrong with it is named, whatever lies beside it."""

import pytest
import torch

from flowercls.core.errors import CheckpointError
from flowercls.models.checkpoint_reader import read_checkpoint, read_progress


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
