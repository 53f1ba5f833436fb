"""Checkpoints made to do harm: none of them runs its code, and each is refused in words.

Every one of them would leave a file behind, the canary, if its code was run or its path was followed.
"""

import builtins
import importlib
import io
import os
import pickle
import shutil
import tarfile

import pytest
import torch
from mmengine.logging import HistoryBuffer

from flowercls.core.errors import CheckpointError
from flowercls.models.checkpoint_reader import class_names_in, read_checkpoint, read_progress
from flowercls.train.resume import check_resumable, newest_usable


class Calls:
    """Something that is a call of ``function`` when it is unpickled."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts

    def __call__(self):
        """Never: pickle wants a function, and this stands for one."""


def legacy_tar(content, path):
    """The oldest of torch's formats."""
    with tarfile.open(path, 'w') as archive:
        for name in ('sys_info', 'storages', 'tensors', 'pickle'):
            data = pickle.dumps(content if name in ('storages', 'pickle') else 0, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def plain_pickle(protocol):
    return lambda content, path: path.write_bytes(pickle.dumps(content, protocol=protocol))


def old_torch(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def opens(canary):
    return f"open({str(canary)!r}, 'w').close()"


PICKLES = {
    'os.system': (torch.save, lambda canary: {'state_dict': Calls(os.system, f'touch {canary}')}),
    'eval': (torch.save, lambda canary: {'state_dict': Calls(builtins.eval, opens(canary))}),
    'exec': (torch.save, lambda canary: Calls(builtins.exec, opens(canary))),
    'getattr': (
        torch.save,
        lambda canary: [Calls(Calls(getattr, Calls(importlib.import_module, 'os'), 'mkdir'), str(canary))],
    ),
    'in the weights': (torch.save, lambda canary: {'state_dict': {'w': torch.ones(2), 'x': Calls(open, canary, 'w')}}),
    'in the optimizer': (torch.save, lambda canary: {'optimizer': {'state': {0: Calls(os.mkdir, str(canary))}}}),
    'old format of torch': (old_torch, lambda canary: {'state_dict': Calls(os.mkdir, str(canary))}),
    'oldest format of torch': (legacy_tar, lambda canary: Calls(os.mkdir, str(canary))),
    'plain pickle': (plain_pickle(4), lambda canary: {'state_dict': Calls(os.mkdir, str(canary))}),
    'plain pickle as text': (plain_pickle(0), lambda canary: {'state_dict': Calls(os.mkdir, str(canary))}),
}


@pytest.fixture
def changed(copied_run):
    """Change what the newest checkpoint of the run holds, so that all digests are right; returns its path."""

    def change(function):
        checkpoint = torch.load(copied_run / 'epoch_2.pth', weights_only=True)
        function(checkpoint)
        torch.save(checkpoint, copied_run / 'epoch_2.pth')
        (copied_run / 'epoch_2.pth.json').unlink()
        for path in copied_run.glob('best_*'):
            path.unlink()
        return copied_run / 'epoch_2.pth'

    return change


@pytest.mark.parametrize('name', PICKLES)
def test_the_files_of_these_tests_do_run_code_where_it_is_let(tmp_path, name):
    write, content = PICKLES[name]
    write(content(tmp_path / 'canary'), tmp_path / 'evil.pth')
    try:
        torch.load(tmp_path / 'evil.pth', weights_only=False)
    except Exception as error:  # some are no checkpoints besides
        assert (tmp_path / 'canary').exists(), error
    assert (tmp_path / 'canary').exists()


@pytest.mark.parametrize('name', PICKLES)
def test_a_pickle_is_refused_by_every_reader(tmp_path, canary, name):
    write, content = PICKLES[name]
    write(content(canary), path := tmp_path / 'epoch_1.pth')
    with pytest.raises(CheckpointError, match='epoch_1.pth: .*Fix: '):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match='no checkpoint can be used'):
        newest_usable(tmp_path)
    assert read_progress(path) == (float('inf'), 0)


def test_what_a_pickle_asks_for_is_named(evil, canary):
    with pytest.raises(CheckpointError, match=r'(posix|os)\.mkdir.*--trust-checkpoint'):
        read_checkpoint(evil)


def test_no_tool_opens_it(trained_run, tool, evil, said, tmp_path):
    config = trained_run[0]
    assert tool('test', config, evil) == 4 and '--trust-checkpoint' in said()
    assert (
        tool('train', config, '--work-dir', tmp_path / 'new', '--resume', evil) == 4 and '--trust-checkpoint' in said()
    )
    assert (
        tool('train', config, '--dry-run', '--cfg-options', f'load_from={evil}') == 4 and '--trust-checkpoint' in said()
    )
    initialised = ('model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={evil}')
    assert tool('train', config, '--dry-run', '--cfg-options', *initialised) == 4 and '--trust-checkpoint' in said()


def test_the_one_before_it_is_used_and_the_pointer_to_the_last_is_not_followed(
    trained_run, tool, evil, copied_run, said
):
    shutil.copy(evil, copied_run / 'epoch_3.pth')
    (copied_run / 'last_checkpoint').write_text(str(evil))
    assert tool('train', trained_run[0], '--work-dir', copied_run, '--resume') == 0
    assert 'epoch_3.pth' in (told := said()) and 'resumed from epoch_2.pth' in told


def test_a_program_in_a_checkpoint_is_not_run(trained_run, tool, changed, canary, tmp_path, said):
    program = f'x = {opens(canary)}\n'
    path = changed(lambda checkpoint: checkpoint['meta'].update(config=program, cfg=program))
    assert tool('test', trained_run[0], path, '--work-dir', tmp_path / 'tested') == 0
    assert tool('train', trained_run[0], '--work-dir', path.parent, '--resume') == 0
    assert 'resumed from epoch_2.pth' in said()


@pytest.mark.parametrize('meta', ['text', None, [1], {'epoch': '2', 'iter': 3}, {'epoch': 2, 'iter': True}, {}])
def test_a_checkpoint_that_says_nonsense_of_itself_is_not_resumed(changed, meta):
    path = changed(lambda checkpoint: checkpoint.update(meta=meta))
    with pytest.raises(CheckpointError, match='epoch_2.pth'):
        check_resumable(read_checkpoint(path), str(path))
    assert newest_usable(path.parent)[0].path.name == 'epoch_1.pth'


@pytest.mark.parametrize('meta', ['text', None, {'dataset_meta': 3}, {'dataset_meta': {'classes': 3}}])
def test_classes_that_are_none_are_unknown(meta):
    assert class_names_in({'meta': meta}) is None


# --- trust, on request ----------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(trained_run, tmp_path):
    """A checkpoint as mmengine's own hook writes it: the weights are fine, but there is a pickled object."""
    checkpoint = torch.load(trained_run[1] / 'epoch_2.pth', weights_only=True)
    checkpoint['message_hub']['log_scalars'] = {'loss': HistoryBuffer([1.0], [1])}
    torch.save(checkpoint, tmp_path / 'foreign.pth')
    return tmp_path / 'foreign.pth'


def test_a_foreign_checkpoint_is_tested_after_a_warning_if_that_is_asked_for(trained_run, tool, foreign, said):
    assert tool('test', trained_run[0], foreign) == 4 and '--trust-checkpoint' in said()
    assert tool('test', trained_run[0], foreign, '--trust-checkpoint') == 0
    assert said().count('warning: --trust-checkpoint: if ') == 1


def test_training_starts_from_it_if_that_is_asked_for(trained_run, tool, foreign, said):
    start = ('train', trained_run[0], '--dry-run', '--cfg-options', f'load_from={foreign}')
    assert tool(*start) == 4
    assert tool(*start, '--trust-checkpoint', '--resume') == 0  # as a sweep starts its trials; there is no run yet
    assert said().count('warning: --trust-checkpoint: if ') == 1


def test_nothing_else_is_trusted_with_it(trained_run, tool, evil, said):
    assert tool('train', trained_run[0], '--resume', evil, '--trust-checkpoint') == 2
    assert tool('train', trained_run[0], '--dry-run', '--trust-checkpoint', '--cfg-options', 'load_from=None') == 2
    assert said().count('Fix: leave --trust-checkpoint out') == 2
    initialised = ('model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={evil}')
    assert tool('train', trained_run[0], '--dry-run', '--trust-checkpoint', '--cfg-options', *initialised) in (2, 4)
