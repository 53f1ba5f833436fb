"""A run goes on from a checkpoint: with its seed, and with the photos that are left of its epoch."""

import pytest
import torch

from flowercls.config.resolve import Flags
from flowercls.train.resume import FromCheckpoint
from flowercls.train.run_config import resolve_for_run
from flowercls.train.runner import build_runner


def test_the_order_of_photos_follows_the_seed_of_the_checkpoint(trained_run, tmp_path):
    cfg = resolve_for_run(trained_run[0], ['randomness.seed=1'], Flags())
    cfg.work_dir = str(tmp_path)
    runner = build_runner(cfg)
    runner.prepare(FromCheckpoint(trained_run[1] / 'epoch_1.pth'))
    assert runner.seed == runner.train_dataloader.sampler.seed == 0


@pytest.mark.parametrize(
    ('change', 'code'), [('batch_size=16', 2), ('sampler.balanced=True', 2), ('dataset.pipeline.1.transforms.1.p=0', 0)]
)
def test_in_the_middle_of_an_epoch_the_order_of_photos_stays(trained_run, tool, tmp_path, said, change, code):
    checkpoint = torch.load(trained_run[1] / 'epoch_1.pth', weights_only=True)
    checkpoint['meta'].update(iter=9, batch_in_epoch=3)
    torch.save(checkpoint, tmp_path / 'iter_9.pth')
    (tmp_path / 'config.py').write_text((trained_run[1] / 'config.py').read_text())
    start = ('train', trained_run[0], '--resume', tmp_path / 'iter_9.pth', '--work-dir', tmp_path / 'run')
    assert tool(*start, '--allow-config-change', '--cfg-options', f'train_dataloader.{change}') == code
    assert ('iter_9.pth: is in the middle of an epoch' in said()) == (code == 2)
