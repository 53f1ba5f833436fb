"""How configs differ, and the roles of their keys."""

from flowercls.config.diff import (
    NOT_SET,
    RUN_LENGTH,
    RUNTIME_ONLY,
    SAVING,
    changed_keys,
    format_changes,
    has_role,
)
from flowercls.config.dump import THIS_START


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
