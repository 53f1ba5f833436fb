"""The trials of a sweep file: all combinations, checked, with keys that identify them."""

import hashlib
import shutil

import pytest
from mmengine.config import Config

from flowercls.core.errors import ConfigError, DataError
from flowercls.sweep.spec import read_spec
from flowercls.sweep.trials import make_trials, trial_key

TWO_FACTORS = "{'model.frozen_stages': [0, 'all'], 'optim_wrapper.optimizer.lr': [0.01, 0.1]}"


def trials_of(path, **options):
    return make_trials(read_spec(path), **options)[0]


def test_trials_are_all_combinations_times_seeds(write_sweep, tmp_path):
    trials = trials_of(
        write_sweep(tmp_path, TWO_FACTORS, seeds='[0, 5]', extra="overrides = {'train_cfg.max_epochs': 3}")
    )
    assert [trial.name for trial in trials] == [
        f'frozen_stages={stages},lr={lr}_seed{seed}' for seed in (0, 5) for stages in (0, 'all') for lr in (0.01, 0.1)
    ]
    assert trials[-1].overrides == {
        'train_cfg.max_epochs': 3,
        'model.frozen_stages': 'all',
        'optim_wrapper.optimizer.lr': 0.1,
        'randomness.seed': 5,
    }
    assert len({trial.key for trial in trials}) == 8 and {trial.max_epochs for trial in trials} == {3}


def test_the_key_follows_what_changes_results_and_nothing_else(write_sweep, write_config, drawn_root, tmp_path):
    path = write_sweep(tmp_path, "{'model.frozen_stages': [0]}")

    def key(**extra):
        return trials_of(path, extra={name.replace('__', '.'): value for name, value in extra.items()})[0].key

    elsewhere, other = tmp_path / 'moved', tmp_path / 'other'
    for folder in (elsewhere, other):
        shutil.copytree(drawn_root, folder)
    (other / 'manifest.json').write_text((other / 'manifest.json').read_text() + '\n')
    first = key()
    assert first == key(train_dataloader__num_workers=1) == key(data_root=str(elsewhere))
    assert first == key(cache_dir='/elsewhere') == key(photo_cache__budget='1GB') != key(photo_cache=None)
    different = {key(data_root=str(other)), key(train_cfg__max_epochs=3), key(optim_wrapper__optimizer__lr=0.2), first}
    assert len(different) == 4


def test_a_key_is_that_of_the_first_version():
    config = dict(data_root='d', my_data_root='e', work_dir='w', launcher='none')
    config['a'] = dict(num_workers=1, work_dir='x', lr=(0.1, None))
    assert trial_key(Config(config), hashlib.sha256(b'{}').hexdigest()) == '0c690a37cfa52827'


def test_every_wrong_setting_is_found_before_anything_runs(write_sweep, tmp_path):
    path = write_sweep(tmp_path, "{'model.frozen_stages': [0, 7], 'optim_wrapper.optimiser.lr': [1]}")
    with pytest.raises(ConfigError) as caught:
        trials_of(path)
    for words in ('setting frozen_stages=0,lr=1', "'optimiser' in optim_wrapper (did you mean 'optimizer'?)"):
        assert words in str(caught.value)
    assert f'{path}: unknown key' in str(caught.value) and '--cfg-options' not in str(caught.value)
    with pytest.raises(ConfigError, match='my_sweep.py, setting frozen_stages=7: '):
        trials_of(write_sweep(tmp_path, "{'model.frozen_stages': [0, 7]}"))


WORKERS = "{'view': {'a': {'val_dataloader.num_workers': 0}, 'b': {'val_dataloader.num_workers': 1}}}"
LISTS = "{'fold': {0: {'val_dataloader.dataset.ann_file': 'folds/fold_0_val.txt'}}}"


@pytest.mark.parametrize(
    ('grid', 'extra', 'error', 'message'),
    [
        ("{'model.backbone.type': ['ResNet', 'ResNett']}", {}, ConfigError, "(?s)setting type=ResNett: .*'ResNett'"),
        (WORKERS, {}, ConfigError, 'view=a and view=b have the same'),
        ("{'model.frozen_stages': [0]}", {'randomness.seed': 3}, ConfigError, r"--cfg-options: 'randomness\.seed'"),
        (LISTS, {}, DataError, r'fold_0_val.txt: no such file.*prepare_data.py RAW_DIR \S+ --overwrite --folds 5'),
    ],
)
def test_mistakes_are_found_before_anything_runs(write_sweep, tmp_path, grid, extra, error, message):
    with pytest.raises(error, match=message):
        trials_of(write_sweep(tmp_path, grid), extra=extra)


@pytest.mark.parametrize('key', ['model.frozen_stages', 'model', 'train_cfg.max_epochs.x'])
def test_keys_of_the_grid_cannot_be_overridden(write_sweep, tmp_path, key):
    grid = "{'one': {'a': {'model.frozen_stages': 0}, 'b': {'train_cfg.max_epochs': 3}}}"
    with pytest.raises(ConfigError) as caught:
        trials_of(write_sweep(tmp_path, grid), extra={key: 1, 'train_dataloader.num_workers': 0})
    message = str(caught.value)
    assert f"'{key}' would override '" in message and 'my_sweep.py' in message and 'num_workers' not in message


def test_long_names_stay_apart_and_short(write_sweep, tmp_path):
    names = ', '.join(f"'{'x' * 140}{i}': {{'model.frozen_stages': {i}}}" for i in (1, 2))
    trials = trials_of(write_sweep(tmp_path, f"{{'long': {{{names}}}}}"), extra={'train_cfg.max_epochs': 3})
    assert [trial.max_epochs for trial in trials] == [3, 3]  # an option beside the grid counts for all
    assert len({trial.name for trial in trials}) == 2 and all(len(trial.name) < 150 for trial in trials)


def test_flowers_for_a_dry_run_are_drawn_once_and_aside(write_sweep, tmp_path, monkeypatch):
    extra = {'data_root': str(tmp_path / 'drawn_nowhere'), 'drawn.num_per_class': 6, 'drawn.image_size': 32}
    trials = trials_of(write_sweep(tmp_path), extra=extra, drawn_folder=str(tmp_path / 'aside'))
    assert len(trials) == 2 and not (tmp_path / 'drawn_nowhere').exists() and (tmp_path / 'aside').exists()


def test_settings_on_differently_prepared_photos_are_refused(write_sweep, drawn_root, tmp_path):
    copy, other = shutil.copytree(drawn_root, tmp_path / 'copy'), shutil.copytree(drawn_root, tmp_path / 'other')
    (other / 'manifest.json').write_text((other / 'manifest.json').read_text() + '\n')
    grid = "{{'data_root': ['{}', '{}'], 'model.frozen_stages': [0, 1]}}"
    with pytest.raises(ConfigError, match='differently prepared photos .*other.* Fix: one data_root'):
        make_trials(read_spec(write_sweep(tmp_path, grid.format(copy, other))))
