"""What only a CUDA device can show; run with ``pytest -m gpu``."""

import pytest
import torch
from mmengine.hooks import Hook

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')]


def final_weights(folder):
    return torch.load(folder / 'epoch_2.pth', map_location='cpu')['state_dict']


def test_a_run_computes_in_bf16_and_leaves_a_checkpoint_for_any_machine(write_config, tool, tmp_path, capsys):
    assert tool('train', write_config(tmp_path), '--work-dir', tmp_path / 'run') == 0
    assert torch.cuda.get_device_name() in capsys.readouterr().out
    assert all(tensor.device.type == 'cpu' for tensor in final_weights(tmp_path / 'run').values())


def test_no_step_waits_for_the_gpu(write_config, tmp_path):
    from flowercls.config.resolve import Flags
    from flowercls.train.resume import RandomInit
    from flowercls.train.run_config import resolve_for_run
    from flowercls.train.runner import build_runner

    config = write_config(
        tmp_path, 'train_dataloader.update(num_workers=1)\ndefault_hooks = dict(logger=dict(interval=99))\n'
    )
    cfg = resolve_for_run(config, {'default_hooks.progress': None, 'train_cfg.max_epochs': 1}, Flags(no_validate=True))
    cfg.work_dir = str(tmp_path / 'run')
    runner = build_runner(cfg)
    steps = []

    class Strict(Hook):
        priority = 'HIGHEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            torch.cuda.set_sync_debug_mode('error' if 0 < batch_idx < len(runner.train_dataloader) - 1 else 'default')
            steps.append(batch_idx)

        def after_train_epoch(self, runner):
            torch.cuda.set_sync_debug_mode('default')

    runner.register_hook(Strict())
    runner.prepare(RandomInit())
    try:
        runner.train()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len(steps) > 3


def test_kept_features_give_the_run_without(write_config, tool, tmp_path):
    found = []
    for views in (0, "'all'"):
        extra = f"model['frozen_stages'] = 2\nfeature_cache = dict(views={views})\ncache_dir = '{tmp_path}/cache'\n"
        folder = tmp_path / f'run{len(found)}'
        assert tool('train', write_config(tmp_path, extra), '--work-dir', folder, '--deterministic') == 0
        found.append(final_weights(folder))
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, rtol=1e-2, atol=1e-3)
