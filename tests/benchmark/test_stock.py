"""mmpretrain's side of the benchmark trains the same photos, network and parameters as ours."""

import pytest

from flowercls.benchmark.stock import stock_runner
from flowercls.train.run_config import Flags, ready_config
from flowercls.train.runner import build_runner


@pytest.mark.parametrize('frozen', [0, 2, 'all'])
def test_the_same_parameters_are_trained_on_the_same_photos(write_config, tmp_path, frozen):
    cfg = ready_config(write_config(tmp_path), {'model.frozen_stages': frozen}, Flags(no_validate=True))
    cfg.work_dir = str(tmp_path / 'run')
    ours, stock = build_runner(cfg), stock_runner(cfg, frozen, str(tmp_path / 'stock'))
    trained = [[name for name, p in runner.model.named_parameters() if p.requires_grad] for runner in (ours, stock)]
    assert trained[0] == trained[1]
    for runner in (ours, stock):
        runner.model.train()
        runner.call_hook('before_train_epoch')
    modes = [[name for name, m in runner.model.named_modules() if m.training] for runner in (ours, stock)]
    backbone = [[name for name in names if name.startswith('backbone.') and name.count('.') > 1] for names in modes]
    assert backbone[0] == backbone[1]
    loaders = [runner.build_dataloader(runner._train_dataloader) for runner in (ours, stock)]
    photos = [
        sorted(dataset.get_data_info(i)['img_path'].rpartition('/')[2] for i in range(len(dataset)))
        for dataset in (loader.dataset for loader in loaders)
    ]
    assert photos[0] == photos[1] and loaders[0].batch_size == loaders[1].batch_size
    assert type(stock.model).__name__ == 'ImageClassifier' and type(stock.model).__module__.startswith('mmpretrain')
