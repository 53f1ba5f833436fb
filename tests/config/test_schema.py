"""Misspelt keys and impossible values: all found at once, each with the nearest valid name."""

from pathlib import Path

import pytest

from flowercls.config import load_config
from flowercls.config.loader import load_with_notes
from flowercls.config.schema import SECTIONS
from flowercls.config.suggest import nearest_name

RESNET = Path(__file__).parents[2] / 'configs' / 'resnet50_flower.py'


@pytest.mark.parametrize(
    'typo, meant',
    [
        ('optim_wraper', 'optim_wrapper'),
        ('param_schedular', 'param_scheduler'),
        ('custom_hook', 'custom_hooks'),
        ('randomnes', 'randomness'),
        ('laod_from', 'load_from'),
        ('data_rot', 'data_root'),
        ('Model', 'model'),
    ],
)
def test_a_top_level_name_close_to_a_known_one_is_a_mistake(write, mistakes, typo, meant):
    expected = [f"unknown key '{typo}' (did you mean '{meant}'?)"]
    assert mistakes(load_config, write(f'{typo} = None')) == expected


@pytest.mark.parametrize('name', ['bs', 'img_size', 'policies', 'max_lr', 'lr', 'epochs', 'num_classes', 'image_size'])
def test_other_top_level_names_are_legal_and_noted_if_nothing_reads_them(write, name):
    path = write(f'{name} = 1')
    assert load_with_notes(path)[1] == [f"'{name}' in my.py is not used."]


@pytest.mark.parametrize('name', ['train_pipeline', 'test_pipeline', 'dataset_type'])
def test_usual_helper_names_are_not_even_noted(write, name):
    assert load_with_notes(write(f'{name} = 1'))[1] == []


def test_a_variable_that_the_file_uses_may_be_close_to_a_known_name(write):
    cfg, notes = load_with_notes(write("data_rot = 'x'\ndata_root = data_rot"))
    assert notes == []
    assert cfg.to_dict() == {'data_root': 'x'}  # so that a dump, where nothing uses it, loads again


def test_all_mistakes_of_all_sections_are_reported_at_once(write, mistakes):
    text = """
optim_wrapper = dict(optimiser=dict(type='SGD', lr=-1), clip_gard=None)
train_cfg = dict(max_epoch=3, val_interval=0)
train_dataloader = dict(batchsize=3, num_workers=-1)
env_cfg = dict(cudnn_benchmrk=True, mp_cfg=dict(mp_start_metod='fork'))
randomness = dict(sed=1)
auto_scale_lr = dict(enabled=True)
default_hooks = dict(chekpoint=dict(type='CheckpointHook'), mine=dict(type='EMAHook'))
data_preprocessor = dict(meen=[1, 2, 3])
drawn = dict(num_per_clas=3)
model = dict(type='StagedClassifier', frozen_stage=3, precision='fp16', train_cfg=dict(augment=None))
"""
    lines = mistakes(load_config, write(text))
    typos = {line.split("'")[1]: line.split("'")[3] for line in lines if line.startswith('unknown key')}
    assert typos == {
        'optimiser': 'optimizer', 'clip_gard': 'clip_grad', 'max_epoch': 'max_epochs', 'batchsize': 'batch_size',
        'cudnn_benchmrk': 'cudnn_benchmark', 'mp_start_metod': 'mp_start_method', 'sed': 'seed',
        'enabled': 'enable', 'chekpoint': 'checkpoint', 'meen': 'mean', 'num_per_clas': 'num_per_class',
        'frozen_stage': 'frozen_stages', 'augment': 'augments',
    }  # fmt: skip
    assert {line for line in lines if not line.startswith('unknown key')} == {
        'train_cfg.val_interval: expected a whole number of at least 1, got 0',
        "model.precision: expected 'auto', 'bf16' or 'fp32', got 'fp16'",
        'train_dataloader.num_workers: expected a whole number of at least 0, got -1',
    }


def test_where_a_mistake_lies_is_named(write, mistakes):
    lines = mistakes(load_config, write('randomness = dict(sed=1)'))
    assert lines == ["unknown key 'sed' in randomness (did you mean 'seed'?)"]


# Overrides that are refused, by what is expected instead.
REFUSED = {
    "0, 1, 2, 3, 4 or 'all'": 'model.frozen_stages=5 model.frozen_stages=True',
    'a whole number of at least 0': 'param_scheduler.0.begin=None',
    'a whole number of at least 1': 'train_cfg.max_epochs=0 train_cfg.max_epochs=2.5 train_dataloader.batch_size=0 '
    'param_scheduler.0.step_size=0 param_scheduler.0.end=10s val_evaluator.0.topk=x train_dataloader.dataset.views=0',
    'a whole number of at least 2': 'drawn.num_per_class=many',
    'a whole number of batches, at least 1': 'optim_wrapper.accumulative_counts=0 optim_wrapper.accumulative_counts=x',
    'a whole number of iterations, at least 1': 'default_hooks.logger.interval=x',
    'a whole number of pixels, at least 1': 'input_size=0 input_size=224.0 input_size=x input_size=(224,224)',
    'a whole number of pixels, at least 16': 'drawn.image_size=15',
    'a whole number or None': 'model.backbone.num_classes=x',
    'a whole number from 0 to 4294967295': 'randomness.seed=-1 randomness.seed=4294967296 drawn.seed=-1',
    'a list of whole numbers': 'param_scheduler.0.milestones=x',
    "a whole number, 'all' for one each epoch": 'feature_cache.views=-1 feature_cache.views=every',
    'a number above 0': 'optim_wrapper.optimizer.lr=0 optim_wrapper.optimizer.lr=1e-3x optim_wrapper.optimizer.lr=inf',
    'a number between 0 and 1': 'param_scheduler.0.eta_min_ratio=7',
    'a number, got nan': 'optim_wrapper.optimizer.eps=nan',
    'a share between 0 and 1': 'drawn.val_ratio=1.0',
    'a factor above 0': 'optim_wrapper.paramwise_cfg.stage_lr_mult.stem=0',
    "'auto', True or False": 'model.channels_last=yes',
    "'auto', 'bf16', 'fp16' or 'fp32'": 'feature_cache.dtype=int8',
    "'balanced', one number of at least 0": 'model.head.loss.class_weight=balance model.head.loss.class_weight=3 '
    'model.head.loss.class_weight=[1,-1] model.head.loss.class_weight=[1,x] model.head.loss.class_weight=[1,inf]',
    'True or False': 'resume=no param_scheduler.0.by_epoch=no train_dataloader.sampler.balanced=yes',
    "'DEBUG', 'INFO'": 'log_level=LOUD',
    'a path as text': 'data_root= data_root=None',
    'the name of a metric or None': 'default_hooks.checkpoint.save_best=[] default_hooks.checkpoint.save_best=3',
    'the path of a folder': f'cache_dir=None cache_dir={__file__} cache_dir={__file__}/cache',
    "a size as '8GB'": 'photo_cache.budget=8gigs photo_cache.budget=-1 photo_cache.budget=None '
    'feature_cache.budget=8apples',
    'a share from 0.5 to below 1': 'calibration.precision=1 calibration.precision=0.2 calibration.precision=99',
    'dict(...), got': 'train_dataloader=3 default_hooks.logger=3 default_hooks=3 train_dataloader.dataset=3 '
    'train_dataloader.dataset=None val_dataloader.sampler=3 val_dataloader.dataset.metainfo=3 model.backbone=x '
    'optim_wrapper.optimizer=SGD optim_wrapper.paramwise_cfg.stage_lr_mult=[0.1] visualizer=3 drawn=3 '
    'photo_cache=True custom_imports=[a]',
    'a list of dict(...)': 'custom_hooks=3 custom_hooks=[1]',
    'dict(...) or a list of them': 'param_scheduler=[1] param_scheduler=3 val_evaluator=3',
}


@pytest.mark.parametrize(
    ('expected', 'override'), [(key, override) for key, overrides in REFUSED.items() for override in overrides.split()]
)
def test_values_out_of_range_are_mistakes(mistakes, expected, override):
    (mistake,) = mistakes(load_config, RESNET, [override])
    assert mistake.startswith(f'{override.partition("=")[0]}: expected {expected}') and ', got ' in mistake


def test_freezing_in_the_backbone_is_refused_and_ours_is_named(mistakes):
    lines = mistakes(load_config, RESNET, ['model.backbone.frozen_stages=2'])
    assert len(lines) == 1 and 'model.backbone.frozen_stages=2' in lines[0] and 'set model.frozen_stages' in lines[0]
    for value in (-1, 0):  # where it is not the one that freezes nothing, the built model is refused
        load_config(RESNET, [f'model.backbone.frozen_stages={value}'])


def test_no_two_top_level_keys_are_so_close_that_one_typo_is_ambiguous():
    for key in SECTIONS['']:
        assert nearest_name(key, SECTIONS['']) == key


def test_the_known_keys_are_those_of_mmengine():
    import inspect

    from mmengine.runner import Runner
    from mmengine.runner.loops import EpochBasedTrainLoop, IterBasedTrainLoop
    from torch.utils.data import DataLoader

    own = {'self', 'runner', 'dataloader', 'cfg'}
    assert set(inspect.signature(Runner.__init__).parameters) - own <= SECTIONS[''].keys()
    for loop in (EpochBasedTrainLoop, IterBasedTrainLoop):
        assert set(inspect.signature(loop.__init__).parameters) - own <= SECTIONS['train_cfg'].keys()
    loader = set(inspect.signature(DataLoader.__init__).parameters) - {'self', 'shuffle'}  # the sampler shuffles
    assert loader <= SECTIONS['train_dataloader'].keys()
    assert set(inspect.signature(Runner.set_randomness).parameters) - own == SECTIONS['randomness'].keys()


# ---------------------------------------------------------------- values in files


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('auto_scale_lr = dict(enable=True)', 'auto_scale_lr.enable: needs base_batch_size'),
        (
            "optim_wrapper = dict(constructor='Other', paramwise_cfg=dict(stage_lr_mult=dict(stem=0.1)))",
            'stage_lr_mult: Other does not know',
        ),
        ('val_dataloader = dict(dataset=dict(data_root=3))', 'data_root: expected a path as text or None, got 3'),
        ("photo_cache = dict(buget='8GB')", "unknown key 'buget' in photo_cache (did you mean 'budget'?)"),
        ("photo_cach = dict(budget='8GB')", "unknown key 'photo_cach' (did you mean 'photo_cache'?)"),
    ],
)
def test_a_contradiction_and_a_misspelt_key_are_named(write, mistakes, text, message):
    (mistake,) = mistakes(load_config, write(text))
    assert message in mistake


@pytest.mark.parametrize(
    'text',
    [
        'optim_wrapper = dict(accumulative_counts=4)',
        *[f'model = dict(frozen_stages={value!r})' for value in (0, 1, 4, 'all')],
        "param_scheduler = [dict(type='StepLR', step_size=7, end=None)]",
        'auto_scale_lr = dict(enable=True, base_batch_size=32)',
        'optim_wrapper = dict(paramwise_cfg=dict(stage_lr_mult=dict(stem=0.1, classifier=10)))',
        'photo_cache = None',
        "photo_cache = dict(budget='500MB')",
        "cache_dir = '/fast/disk'\nphoto_cache = dict(budget=500_000_000)",
    ],
)
def test_values_in_range_pass(write, text):
    load_config(write(text))
