"""Checkpoints: written whole, linked, removed; which is the best, and which are kept."""

import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from mmpretrain.registry import HOOKS

from flowercls.config.loader import default_runtime
from flowercls.core.errors import ConfigError
from flowercls.models.checkpoint_reader import read_checkpoint, sidecar_of
from flowercls.models.checkpoint_writer import write_checkpoint
from flowercls.train import checkpoint
from flowercls.train.checkpoint import (
    RunState,
    WholeCheckpointHook,
    epoch_checkpoints,
    is_validated,
    link_checkpoint,
    publish_best,
    remove_checkpoint,
    set_aside,
)


@pytest.fixture
def written(tmp_path):
    write_checkpoint(tmp_path / 'epoch_3.pth', {'meta': {'epoch': 3}})
    return tmp_path / 'epoch_3.pth'


def test_what_stands_in_the_way_goes_aside_with_what_is_said_of_it(tmp_path):
    for epoch in (1, 2):
        set_aside(tmp_path / 'epoch_1.pth')
        write_checkpoint(tmp_path / 'epoch_1.pth', {'meta': {'epoch': epoch, 'iter': epoch}})
    assert read_checkpoint(tmp_path / 'epoch_1.pth')['meta']['epoch'] == 2
    assert json.loads((tmp_path / 'epoch_1.pth.damaged.json').read_text())['epoch'] == 1


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
    write_checkpoint(best, {'meta': {'epoch': 2}})  # with a digest of its own

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
    assert sidecar_of(best).read_bytes() == sidecar_of(written).read_bytes()


def test_the_state_of_a_run_is_read_from_checkpoints_of_any_version():
    hub = {'best_score': 71.5, 'best_epoch': 4, 'best_checkpoint': 'best_epoch_4.pth', 'epoch_summary': {'epoch': 5}}
    older = {'message_hub': {'runtime_info': hub}}
    state = RunState(71.5, 4, 'best_epoch_4.pth')
    assert RunState.in_checkpoint(older) == state
    assert RunState.in_checkpoint({'message_hub': {}, 'run_state': asdict(state)}) == state
    assert RunState.in_checkpoint({'message_hub': {}}) == RunState()
    hook = WholeCheckpointHook(1, 2, 'accuracy/top1', 'greater')  # as mmengine's own Runner resumes it
    hook.after_load_checkpoint(SimpleNamespace(_resume=True), older)
    assert hook.state == state


def checkpoint_hook(**changes):
    return HOOKS.build({**default_runtime()['default_hooks']['checkpoint'], **changes})


def test_checkpoints_are_ordered_by_epoch_not_by_name(tmp_path):
    names = ('epoch_2.pth', 'epoch_10.pth', 'epoch_9.pth', 'epoch_x.pth', 'best_epoch_11.pth', '.epoch_12.pth.1.tmp')
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in epoch_checkpoints(tmp_path)] == ['epoch_10.pth', 'epoch_9.pth', 'epoch_2.pth']


def test_a_new_best_supersedes_the_earlier_ones_of_its_metric_only(tmp_path):
    names = ('best_nll_epoch_1.pth', 'best_nll_epoch_9.pth', 'best_nll_epoch_x.pth', 'best_accuracy_top1_epoch_1.pth')
    for name in ('epoch_3.pth', *names):
        (tmp_path / name).touch()
    publish_best(tmp_path / 'epoch_3.pth', 'best_nll_epoch_3.pth')
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {'epoch_3.pth', 'best_nll_epoch_3.pth', *names[1:]}


@pytest.mark.parametrize(
    ('finished', 'interval', 'begin', 'follows'), [(1, 2, 1, False), (2, 2, 1, True), (5, 2, 1, True), (2, 1, 3, False)]
)
def test_an_epoch_is_validated_as_the_training_loop_decides(finished, interval, begin, follows):
    runner = SimpleNamespace(max_epochs=5, val_interval=interval, val_begin=begin, val_loop=object())
    assert is_validated(runner, finished) is follows
    runner.val_loop = None
    assert is_validated(runner, finished) is False


@pytest.mark.parametrize(
    ('rule', 'scores', 'best'),
    [('greater', [50, 70, 70, 60], [1, 2]), ('less', [5, 7, 4, 4], [1, 3]), ('greater', [math.nan, 5, math.nan], [2])],
)
def test_the_best_is_the_highest_or_the_lowest_and_of_equals_the_first(rule, scores, best):
    hook = checkpoint_hook(rule=rule)
    epochs = [epoch for epoch, top1 in enumerate(scores, start=1) if hook._update_state(epoch, {'accuracy/top1': top1})]
    assert epochs == best and hook.state.best_checkpoint == f'best_accuracy_top1_epoch_{best[-1]}.pth'


def test_a_metric_that_is_not_reported_is_named_with_those_that_are():
    runner = SimpleNamespace(max_epochs=9, train_loop=SimpleNamespace(stop_training=False))
    with pytest.raises(ConfigError, match="'accuracy/top5'.*reports accuracy/top1, nll"):
        hook = checkpoint_hook(save_best='accuracy/top5', interval=5)
        hook.finish_epoch(runner, 1, {'accuracy/top1': 1, 'nll': 2})
    with pytest.raises(ConfigError, match="rule is 'max'"):
        checkpoint_hook(rule='max')


def test_of_damaged_newer_checkpoints_none_counts_as_kept(tmp_path):
    for epoch in (3, 5, 7, 10):
        (tmp_path / f'epoch_{epoch}.pth').touch()
    checkpoint_hook(max_keep_ckpts=2)._remove_old(tmp_path / 'epoch_7.pth')
    assert [path.name for path in epoch_checkpoints(tmp_path)] == ['epoch_10.pth', 'epoch_7.pth', 'epoch_5.pth']


@pytest.mark.parametrize('stopped', [False, True])
def test_the_last_epoch_is_saved_also_where_it_comes_early(tmp_path, monkeypatch, stopped):
    hook = checkpoint_hook(interval=5)
    monkeypatch.setattr(hook, '_write', lambda runner, path, progress: path.touch())
    loop = SimpleNamespace(stop_training=stopped)
    hook.finish_epoch(SimpleNamespace(work_dir=tmp_path, max_epochs=9, iter=3, train_loop=loop), 3, None)
    assert (tmp_path / 'epoch_3.pth').exists() is stopped


@pytest.mark.parametrize(
    ('epoch', 'metrics', 'left'), [(9, {}, 'epoch 9'), (9, None, None), (5, {}, None), (3, {}, 'old')]
)
def test_only_a_validated_last_epoch_leaves_last_predictions(tmp_path, monkeypatch, epoch, metrics, left):
    hook, table = checkpoint_hook(interval=5, save_best=None), tmp_path / 'predictions_val_last.csv'
    table.write_text('old')  # of an end before more epochs were asked for; goes with the next checkpoint
    monkeypatch.setattr(hook, '_write', lambda runner, path, progress: path.touch())
    monkeypatch.setattr(checkpoint, 'write_last_predictions', lambda runner: table.write_text(f'epoch {epoch}'))
    loop = SimpleNamespace(stop_training=False)
    hook.finish_epoch(SimpleNamespace(work_dir=tmp_path, max_epochs=9, iter=3, train_loop=loop), epoch, metrics)
    assert (table.read_text() if table.exists() else None) == left
