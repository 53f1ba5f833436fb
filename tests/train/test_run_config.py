"""The config of a run: completed for this machine and the flags, with the demo's flowers drawn if need be."""

import pytest
import torch

from flowercls.config.resolve import Flags
from flowercls.core import distributed
from flowercls.core.errors import ConfigError, DataError
from flowercls.train.run_config import resolve_for_run


def test_a_ready_config_is_settled_for_this_machine(write_config, tmp_path, drawn_root):
    cfg = resolve_for_run(write_config(tmp_path, "model = dict(precision='auto')\n"), (), Flags())
    assert cfg.model.precision in ('fp32', 'bf16') and cfg.model.channels_last is True
    assert cfg.train_dataloader.pin_memory is torch.cuda.is_available() and len(cfg.data_manifest) == 64
    assert cfg.model.head.num_classes == 5
    assert cfg.train_dataloader.dataset.data_root == str(drawn_root)


def test_there_are_no_more_loader_workers_than_cores(write_config, tmp_path, monkeypatch):
    monkeypatch.setattr('flowercls.config.resolve.usable_cpus', lambda: 3)
    config = write_config(tmp_path, 'train_dataloader = dict(num_workers=8)\nval_dataloader = dict(num_workers=1)\n')
    cfg = resolve_for_run(config, (), Flags())
    assert (cfg.train_dataloader.num_workers, cfg.val_dataloader.num_workers) == (3, 1)


def test_flags_change_the_config(write_config, tmp_path):
    flags = Flags(amp=True, no_validate=True, auto_scale_lr=True, deterministic=True)
    cfg = resolve_for_run(write_config(tmp_path), (), flags)
    assert cfg.model.precision == 'bf16' and cfg.auto_scale_lr.enable and cfg.randomness.deterministic
    assert cfg.val_dataloader is cfg.val_cfg is cfg.val_evaluator is cfg.default_hooks.checkpoint.save_best is None


def test_scaling_the_rate_needs_to_know_for_which_batch_it_is(write_config, tmp_path):
    config = write_config(tmp_path, 'auto_scale_lr = None\n')
    with pytest.raises(ConfigError, match='--auto-scale-lr.*base_batch_size'):
        resolve_for_run(config, (), Flags(auto_scale_lr=True))


def test_the_demos_flowers_are_drawn_once_and_not_taken_for_others(write_config, tmp_path, capsys):
    new = tmp_path / 'drawn_new'
    config = write_config(tmp_path, 'drawn = dict(num_per_class=5, image_size=32)\n', data_root=new)
    resolve_for_run(config, (), Flags())
    assert 'drawing flowers' in capsys.readouterr().out
    before = (new / 'manifest.json').stat().st_mtime_ns
    # The same values, written out or left to their defaults, are the same flowers.
    resolve_for_run(config, ['drawn.seed=0', 'drawn.val_ratio=0.2'], Flags())
    assert 'drawing flowers' not in capsys.readouterr().out and (new / 'manifest.json').stat().st_mtime_ns == before
    for drawn in ('num_per_class=6', 'image_size=40', 'seed=1', 'val_ratio=0.4'):
        with pytest.raises(ConfigError) as caught:
            resolve_for_run(config, [f'drawn.{drawn}'], Flags())
        key, message = drawn.partition('=')[0], str(caught.value)
        assert f'data_root {new}: its flowers were drawn with {key}=' in message
        assert f'the config asks for drawn.{drawn}. Fix: set those values in the config, or name another' in message


def test_no_flowers_are_drawn_in_place_of_photos(write_config, tmp_path):
    config = write_config(tmp_path, data_root=tmp_path / 'my_phtos')
    with pytest.raises(DataError, match='my_phtos: no such folder'):
        resolve_for_run(config, (), Flags())
    assert not (tmp_path / 'my_phtos').exists()


def test_real_photos_are_not_measured_by_what_the_config_would_draw(write_config, tmp_path, drawn_root):
    config = write_config(tmp_path, 'drawn = dict(num_per_class=7)\n')
    assert resolve_for_run(config, (), Flags()).data_root == str(drawn_root)


def test_every_process_learns_where_one_of_them_drew(write_config, tmp_path, drawn_root, monkeypatch):
    config = write_config(tmp_path, data_root=tmp_path / 'missing')
    monkeypatch.setattr(distributed, 'join', lambda cfg: None)
    # As in all processes but the first.
    monkeypatch.setattr(distributed, 'on_main_process', lambda function: str(drawn_root))
    cfg = resolve_for_run(config, (), Flags(launcher='pytorch'), drawn_folder=str(tmp_path / 'mine'))
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root == str(drawn_root)
