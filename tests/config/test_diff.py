"""How configs differ, and the roles of their keys."""

import pytest
from mmengine.config import Config

from flowercls.config.diff import (
    NOT_SET,
    RUN_LENGTH,
    RUNTIME_ONLY,
    SAVING,
    changed_keys,
    changes_since,
    check_unchanged,
    format_changes,
    has_role,
)
from flowercls.config.dump import THIS_START
from flowercls.core.errors import ConfigError


def test_a_role_is_told_by_the_end_of_a_key():
    assert has_role('val_dataloader.num_workers', RUNTIME_ONLY) and has_role('work_dir', THIS_START)
    assert has_role('param_scheduler.0.end', RUN_LENGTH) and not has_role('model.backend', RUN_LENGTH)
    assert has_role('default_hooks.checkpoint.interval', SAVING) and not has_role('photo_cache', RUNTIME_ONLY)


def test_changes_are_named_key_by_key():
    before = dict(a=dict(b=1, c=(1, 2)), gone=None, num_workers=2, list=[dict(type='X', p=0.5)])
    after = dict(a=dict(b=2, c=[1, 2]), num_workers=4, list=[dict(type='X', p=0.1)])
    changes = changed_keys(before, after, RUNTIME_ONLY)
    assert changes == {'a.b': (1, 2), 'gone': (None, NOT_SET), 'list.0.p': (0.5, 0.1)}
    assert changed_keys(dict(lr=float('nan'), sizes=(float('nan'),)), dict(lr=float('nan'), sizes=[float('nan')])) == {}
    assert format_changes(changes) == '  a.b: 1 -> 2\n  gone: None -> not set\n  list.0.p: 0.5 -> 0.1'


@pytest.fixture
def start(tmp_path):
    """Record what a run was started with; returns its folder."""

    def record(**values):
        (tmp_path / 'config.py').write_text(Config(values).pretty_text)
        return tmp_path

    return record


def test_checkpoints_without_their_config_cannot_be_compared(tmp_path):
    with pytest.raises(ConfigError, match='config.py is missing.*--allow-config-change'):
        check_unchanged(tmp_path, Config(dict(lr=1)))


def test_a_changed_config_is_refused(start):
    folder = start(optim=dict(lr=0.1), train_dataloader=dict(num_workers=2))
    harmless = dict(optim=dict(lr=0.1), train_dataloader=dict(num_workers=8), work_dir='x')
    check_unchanged(folder, Config(harmless))
    with pytest.raises(ConfigError, match='another config:\n  new: not set -> True\n  optim.lr: 0.1 -> 0.2\nFix'):
        check_unchanged(folder, Config({**harmless, 'optim': dict(lr=0.2), 'new': True}))


@pytest.mark.parametrize('now', ['ABC', 'BA', 'AZ'])
def test_a_run_that_cannot_go_on_with_other_classes_is_a_start_for_a_new_one(start, now):
    def config(classes):
        return dict(train_dataloader=dict(dataset=dict(metainfo=dict(classes=list(classes)))))

    folder = start(**config('AB'))
    for name in ('epoch_2.pth', 'best_accuracy_top1_epoch_1.pth'):
        (folder / name).touch()
    for compare in (check_unchanged, changes_since):  # the latter is what --allow-config-change does
        compare(folder, Config(config('AB')))
        with pytest.raises(ConfigError) as caught:
            compare(folder, Config(config(now)))
        assert f'classes A, B; the data now has {", ".join(now)}.' in str(caught.value)
        assert str(caught.value).endswith(f'load_from={folder}/best_accuracy_top1_epoch_1.pth')
        assert 'allow-config-change' not in str(caught.value)


def test_photos_may_lie_elsewhere_if_they_are_the_same(start):
    def config(root, manifest):
        return dict(data_root=root, data_manifest=manifest, val_dataloader=dict(dataset=dict(data_root=root)))

    folder = start(**config('data/flower', 'abc'))
    check_unchanged(folder, Config(config('/moved/flower', 'abc')))
    for manifest in ('other', None):
        with pytest.raises(ConfigError) as caught:
            check_unchanged(folder, Config(config('/moved/flower', manifest)))
        assert "  data_root: 'data/flower' -> '/moved/flower'" in str(caught.value)
        assert 'val_dataloader.dataset.data_root' in str(caught.value) and 'data_manifest' in str(caught.value)
    start(**config('data/flower', None))  # a folder without a manifest: who knows
    with pytest.raises(ConfigError, match='data_root'):
        check_unchanged(folder, Config(config('/moved/flower', None)))
