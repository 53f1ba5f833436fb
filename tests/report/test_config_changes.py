from dataclasses import asdict

import pytest

from flowercls.config import resolve_config
from flowercls.config.dump import dump_config
from flowercls.report.page import read_config
from flowercls.report.rerun import config_changes


@pytest.fixture
def make_run(tmp_path, write_config):
    """A folder with the resolved config and the copy of its source, as a run has them."""

    def make(overrides):
        source, folder = write_config(tmp_path), tmp_path / 'run'
        folder.mkdir()
        cfg, _ = resolve_config(source, overrides)
        (folder / 'config.py').write_text(dump_config(cfg))
        (folder / f'source_{source.name}').write_bytes(source.read_bytes())
        return source, folder

    return make


def changes_of(folder, source=None):
    return config_changes(folder, read_config(folder), source)


def test_nothing_set_is_no_change(make_run):
    source, folder = make_run({})
    found = changes_of(folder, source)
    assert found.changes == [] and found.is_exact and found.command == f'python tools/train.py {source}'


def test_what_was_set_is_told_from_what_follows(make_run):
    source, folder = make_run({'train_cfg.max_epochs': 5, 'model.frozen_stages': 'all', 'randomness.seed': 3})
    found = changes_of(folder, source)
    how = {change.key: change.how for change in found.changes}
    set_keys = {key for key, value in how.items() if value == 'set'}
    assert set_keys == {'train_cfg.max_epochs', 'model.frozen_stages', 'randomness.seed'}
    assert 'param_scheduler.1.end' in how and set(how.values()) == {'set', 'follows'}
    frozen = next(change for change in found.changes if change.key == 'model.frozen_stages')
    assert asdict(frozen) == {'key': 'model.frozen_stages', 'in_file': '0', 'in_run': 'all', 'how': 'set'}


def test_the_command_gives_the_same_config(make_run):
    source, folder = make_run({
        'optim_wrapper.optimizer.type': 'AdamW', 'optim_wrapper.optimizer.lr': 0.001,
        'optim_wrapper.clip_grad.max_norm': 1.0, 'train_cfg.max_epochs': 4,
    })  # fmt: skip
    found = changes_of(folder, source)
    assert found.is_exact
    words = found.command.split()
    assert words[:4] == ['python', 'tools/train.py', str(source), '--cfg-options']
    assert dump_config(resolve_config(source, words[4:])[0]) == (folder / 'config.py').read_text()


def test_without_the_file_its_copy_will_do_if_it_loads(make_run):
    source, folder = make_run({'randomness.seed': 3})
    source.unlink()
    found = changes_of(folder, source)
    assert found.path == folder / f'source_{source.name}' and found.options == ['randomness.seed=3']


def test_a_file_whose_bases_are_gone_is_shown_and_nothing_claimed(make_run):
    source, folder = make_run({})
    copy = folder / f'source_{source.name}'
    copy.write_text("_base_ = ['gone/base.py']\n")
    found = changes_of(folder, source)
    assert found.path is None and not found.is_exact and 'not found unchanged' in found.why_not
    assert found.text == "_base_ = ['gone/base.py']\n"


def test_a_prepared_folder_that_is_gone_is_the_reason_given(make_run):
    source, folder = make_run({})
    config = {**read_config(folder), 'data_root': 'nowhere/flower'}
    assert 'nowhere/flower' in config_changes(folder, config, source).why_not


def test_what_no_option_gives_is_called_unexplained(make_run):
    source, folder = make_run({})
    config = read_config(folder)
    config['val_dataloader'] = config['val_evaluator'] = None  # as with --no-validate
    found = config_changes(folder, config, source)
    assert not found.is_exact and {change.how for change in found.changes} == {'other'}
