"""MODEL: a run folder, a checkpoint, an export; what is none is refused with one message."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

import flowercls
from flowercls.core.errors import CheckpointError
from flowercls.use.load import load, model_file


def test_a_run_folder_stands_for_its_best_checkpoint(trained_run):
    _, run = trained_run
    best = json.loads((run / 'metrics.json').read_text())['checkpoint']
    assert model_file(run) == run / best
    assert flowercls.load(run).source == run / best


def test_without_metrics_the_newest_best_checkpoint_counts_and_without_validation_the_last_epoch(tmp_path):
    for name in ('epoch_9.pth', 'epoch_10.pth'):
        (tmp_path / name).touch()
    assert model_file(tmp_path).name == 'epoch_10.pth'
    for name in ('best_accuracy_top1_epoch_2.pth', 'best_accuracy_top1_epoch_10.pth'):
        (tmp_path / name).touch()
    assert model_file(tmp_path).name == 'best_accuracy_top1_epoch_10.pth'
    (tmp_path / 'metrics.json').write_text('{"checkpoint": "../best_accuracy_top1_epoch_2.pth"}')
    assert model_file(tmp_path).name == 'best_accuracy_top1_epoch_10.pth'


@pytest.mark.parametrize('name', ['nothing', 'photo.jpg', 'empty', 'sweep'])
def test_anything_else_is_refused(name, tmp_path):
    (tmp_path / 'photo.jpg').touch()
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'sweep').mkdir()
    (tmp_path / 'sweep/ledger.jsonl').touch()
    with pytest.raises(CheckpointError, match=rf'{name}.*Fix: '):
        load(tmp_path / name)


def changed(trained_run, tmp_path, change):
    """A copy of the best checkpoint with something else in it."""
    path = tmp_path / 'a.pth'
    checkpoint = torch.load(model_file(trained_run[1]), weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize(
    ('change', 'keyword'),
    [
        (lambda c: c.pop('meta'), 'no config'),
        (lambda c: c['meta'].pop('cfg'), 'no config'),
        (lambda c: c['meta'].update(cfg='import os'), 'cannot be read'),
        (lambda c: c['meta'].update(cfg='model = dict(type="Runner", backbone=dict(type="A"))'), 'Runner'),
        (lambda c: c['meta'].pop('dataset_meta'), 'no classes'),
        (lambda c: c['meta']['dataset_meta'].update(classes=['a', 'b', 'a', 'c', 'd']), 'twice'),
        (lambda c: c['meta']['dataset_meta'].update(classes=['a', 'b']), 'names 2 classes'),
        (lambda c: c['meta'].update(facts={'a': torch.zeros(1)}), 'its facts'),
        (lambda c: c['meta'].update(facts={'a': '\ud800'}), 'its facts'),
        (lambda c: c['meta'].update(facts={'name': 'x', 'classes': ['rose']}), 'its facts'),
        (lambda c: c['meta'].update(facts={'name': 5, 'classes': c['meta']['dataset_meta']['classes']}), 'its facts'),
        (lambda c: c['meta'].update(calibration={'a': float('nan')}), 'its calibration'),
        (lambda c: c['state_dict'].popitem(), 'another model'),
    ],
)
def test_a_checkpoint_that_lacks_something_is_refused(change, keyword, trained_run, tmp_path):
    with pytest.raises(CheckpointError, match=rf'(?s)a\.pth.*{keyword}.*Fix: '):
        load(changed(trained_run, tmp_path, change))


@pytest.mark.parametrize(
    'code',
    [
        "custom_imports = dict(imports=['somebody'])",
        "model.backbone.type = 'os.system'",
        "model.backbone.norm_cfg = dict(type='mmengine.load')",
        "model.head.type = 'this.LinearClsHead'",
        "test_pipeline = [dict(type='subprocess.run')]",
    ],
)
def test_a_strangers_checkpoint_runs_no_code(code, trained_run, tmp_path):
    from mmengine.config import Config

    from flowercls.config.dump import dump_config, parse_dumped

    def change(checkpoint):
        cfg = Config(parse_dumped(checkpoint['meta']['cfg']))
        key, _, value = code.partition(' = ')
        cfg.merge_from_dict({key: eval(value)})
        checkpoint['meta']['cfg'] = dump_config(cfg)

    with pytest.raises(CheckpointError, match='asks for code .*--trust-checkpoint'):
        load(changed(trained_run, tmp_path, change))


def test_a_checkpoint_alone_is_enough(trained_run, tmp_path):
    alone = shutil.copy(model_file(trained_run[1]), tmp_path)
    model = load(alone)
    assert model.class_names == ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']
    assert model.facts['figures'] is None and model.facts['image_size'] == [64, 64]


def test_importing_the_package_loads_no_torch():
    code = 'import sys, flowercls; assert callable(flowercls.load); print(*sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert not {'torch', 'mmengine', 'mmpretrain', 'mmcv', 'matplotlib'} & set(done.stdout.split())
    with pytest.raises(AttributeError, match='loads'):
        flowercls.loads  # noqa: B018


def test_a_pickle_is_opened_only_if_trusted(tmp_path):
    torch.save({'state_dict': {}, 'meta': {'thing': slice(1)}}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='could run code.*--trust-checkpoint.*predict'):
        load(tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='no checkpoint of a finished run'):
        load(tmp_path / 'a.pth', trusted=True)
