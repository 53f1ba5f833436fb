"""Deriving: each fact has one source, the result is complete, and deriving twice changes nothing more."""

import copy
from pathlib import Path

import pytest

from flowercls.config import derive_config, load_config, resolve_config
from flowercls.config.loader import default_runtime
from flowercls.config.schema import REGISTRATION
from flowercls.core.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']


# ---------------------------------------------------------------- mmpretrain's configs


def test_an_mmpretrain_config_needs_only_a_data_root(inherit, data_root):
    cfg, notes = inherit(base='resnet/resnet50_8xb32_in1k.py')
    assert (cfg.model.type, cfg.model.frozen_stages, cfg.model.head.num_classes) == ('StagedClassifier', 0, 5)
    assert cfg.data_preprocessor.num_classes == 5
    train = cfg.train_dataloader
    assert [step['type'] for step in train.dataset.pop('pipeline')] == [
        'LoadImage', 'RandomResizedCrop', 'RandomFlip', 'PackInputs'
    ]  # fmt: skip
    assert train.dataset == dict(
        type='ImageFolder',
        data_root=str(data_root),
        ann_file='train.txt',
        data_prefix='training_set',
        metainfo=dict(classes=CLASSES),
    )
    assert train.sampler == dict(type='CounterSampler', shuffle=True)
    assert cfg.val_dataloader.sampler == dict(type='DefaultSampler', shuffle=False)
    assert cfg.test_dataloader.dataset.ann_file == 'val.txt'
    assert cfg.val_evaluator == [dict(type='Accuracy', topk=(1,)), dict(type='ClassificationReport')]
    assert cfg.custom_imports.imports == ['flowercls.registration']
    assert cfg.default_hooks.checkpoint == default_runtime()['default_hooks']['checkpoint']
    assert cfg.default_hooks.logger == dict(type='LoggerHook', interval=100)
    assert cfg.default_hooks.visualization == dict(type='VisualizationHook', enable=False)
    assert cfg.randomness.seed == 0
    assert cfg.visualizer.vis_backends == [dict(type='ScalarsBackend')]
    for what in ('ImageClassifier replaced', 'ImageNet replaced', 'seed is 0', 'CheckpointHook replaced', 'top-5 of 5'):
        assert any(what in note for note in notes), what


def test_own_imports_hooks_and_checkpoint_settings_are_kept(inherit):
    cfg, notes = inherit(
        "custom_imports = dict(imports=['mine'], allow_failed_imports=False)\n"
        "default_hooks = dict(checkpoint=dict(interval=5, save_best='auto', save_last=False), progress=None)",
    )
    assert cfg.custom_imports == dict(imports=['mine', REGISTRATION], allow_failed_imports=False)
    assert cfg.default_hooks.progress is None
    assert cfg.default_hooks.checkpoint == {**default_runtime()['default_hooks']['checkpoint'], 'interval': 5}
    assert any('without save_last' in note for note in notes)


def test_our_checkpoint_hook_is_completed(inherit):
    cfg, _ = inherit("default_hooks = dict(checkpoint=dict(_delete_=True, type='WholeCheckpointHook', interval=3))")
    assert cfg.default_hooks.checkpoint == {**default_runtime()['default_hooks']['checkpoint'], 'interval': 3}


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        *[({part: {'_delete_': True}}, f': {part} missing') for part in ('model.head', 'optim_wrapper.optimizer')],
        ({'train_dataloader.dataset': {'_delete_': True}}, ': train_dataloader.dataset missing'),
        ({'train_cfg': {'_delete_': True, 'max_iters': 9}}, 'train_cfg counts iterations.*Fix: '),
        ({'train_cfg': {'_delete_': True, 'val_interval': 1}}, 'train_cfg.max_epochs is missing. Fix: '),
        ({'val_dataloader': None}, 'val_dataloader is missing or None.*--no-validate'),
        ({'val_evaluator': None}, 'val_evaluator is missing or None.*--no-validate'),
        ({'val_dataloader': None, 'val_evaluator': None}, 'val_cfg is set.*--no-validate'),
    ],
)
def test_a_part_that_is_missing_is_named(resolve, overrides, message):
    with pytest.raises(ConfigError, match=message):
        resolve(**overrides)


def test_a_dict_that_does_not_say_what_it_is_is_named(write, data_root, mistakes):
    config = write(
        f"_base_ = ['{CONFIGS}/resnet50_flower.py']\ndata_root = {str(data_root)!r}\n"
        "val_dataloader = dict(sampler=dict(_delete_=True, tpye='DefaultSampler'))\nvisualizer = dict(_delete_=True)\n"
        "test_dataloader = dict(dataset=dict(ann_file='val.txt'))\n"
    )
    assert mistakes(resolve_config, config) == [
        "val_dataloader.sampler: unknown key 'tpye' (did you mean 'type'?)",
        "visualizer: key 'type' is missing, the name of the class to build",
    ]


def test_a_section_that_is_missing_is_named(write, data_root):
    with pytest.raises(ConfigError, match=r'my\.py: model, train_dataloader, train_cfg, optim_wrapper missing'):
        resolve_config(write(f'data_root = {str(data_root)!r}'))


def test_a_sweep_file_is_recognised(write):
    with pytest.raises(ConfigError, match=r'is a sweep file\. Fix: flowercls sweep .*my\.py$'):
        resolve_config(write("base = 'configs/demo_flower.py'\ngrid = {'randomness.seed': [0]}\nseeds = [0]"))


def test_a_config_without_any_validation_is_complete(resolve):
    cfg, _ = resolve(val_dataloader=None, val_evaluator=None, val_cfg=None)
    assert cfg.get('test_dataloader') is None


def test_mixed_photos_are_not_counted_by_their_single_label(resolve):
    cfg, notes = resolve(**{'model.train_cfg': dict(augments=[dict(type='Mixup', alpha=0.2)])})
    assert cfg.model.head.cal_acc is False
    assert any('model.head.cal_acc is off' in note for note in notes)
    cfg, notes = resolve()
    assert cfg.model.head.cal_acc is True
    assert not any('cal_acc' in note for note in notes)


# ---------------------------------------------------------------- the result as a whole


@pytest.mark.parametrize('base', ['resnet/resnet50_8xb32_in1k.py', 'swin_transformer/swin-tiny_16xb64_in1k.py'])
def test_deriving_twice_is_deriving_once_and_a_dump_is_the_same_config(inherit, base, tmp_path):
    cfg, _ = inherit('train_cfg = dict(max_epochs=5)', base)
    again = copy.deepcopy(cfg)
    derive_config(again)
    assert again.to_dict() == cfg.to_dict()
    cfg.dump(tmp_path / 'dump.py')
    assert load_config(tmp_path / 'dump.py').to_dict() == cfg.to_dict()
