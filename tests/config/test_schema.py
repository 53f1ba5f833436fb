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


@pytest.mark.parametrize(
    'override, answer',
    [
        ('model.frozen_stages=5', "model.frozen_stages: expected 0, 1, 2, 3, 4 or 'all', got 5"),
        ('model.frozen_stages=True', "model.frozen_stages: expected 0, 1, 2, 3, 4 or 'all', got True"),
        ('train_cfg.max_epochs=0', 'train_cfg.max_epochs: expected a whole number of at least 1, got 0'),
        ('train_cfg.max_epochs=2.5', 'train_cfg.max_epochs: expected a whole number of at least 1, got 2.5'),
        ('train_dataloader.batch_size=0', 'train_dataloader.batch_size: expected a whole number of at least 1, got 0'),
        ('optim_wrapper.optimizer.lr=0', 'optim_wrapper.optimizer.lr: expected a number above 0, got 0'),
        ('optim_wrapper.optimizer.lr=1e-3x', "optim_wrapper.optimizer.lr: expected a number above 0, got '1e-3x'"),
        ('randomness.seed=-1', 'randomness.seed: expected a whole number from 0 to 4294967295, got -1'),
        ('model.channels_last=yes', "model.channels_last: expected 'auto', True or False, got 'yes'"),
        ('data_root=', "data_root: expected a path as text, got ''"),
        ('data_root=None', 'data_root: expected a path as text, got None'),
        ('train_dataloader=3', 'train_dataloader: expected dict(...), got 3'),
        ('randomness.seed=4294967296', 'randomness.seed: expected a whole number from 0 to 4294967295, got 4294967296'),
        (
            'default_hooks.logger.interval=x',
            "default_hooks.logger.interval: expected a whole number of iterations, at least 1, got 'x'",
        ),
        ('default_hooks.logger=3', 'default_hooks.logger: expected dict(...), got 3'),
        ('default_hooks=3', 'default_hooks: expected dict(...), got 3'),
        ('custom_hooks=3', 'custom_hooks: expected a list of dict(...), got 3'),
        ('custom_hooks=[1]', 'custom_hooks: expected a list of dict(...), got [1]'),
        ('param_scheduler=[1]', 'param_scheduler: expected dict(...) or a list of them, got [1]'),
        ('param_scheduler=3', 'param_scheduler: expected dict(...) or a list of them, got 3'),
        (
            'val_evaluator.0.topk=x',
            "val_evaluator.0.topk: expected a whole number of at least 1, or a tuple of them, got 'x'",
        ),
        ('val_dataloader.dataset.metainfo=3', 'val_dataloader.dataset.metainfo: expected dict(...), got 3'),
        ('model.backbone.num_classes=x', "model.backbone.num_classes: expected a whole number or None, got 'x'"),
        ('val_evaluator=3', 'val_evaluator: expected dict(...) or a list of them, got 3'),
        ('train_dataloader.dataset=3', 'train_dataloader.dataset: expected dict(...), got 3'),
        ('train_dataloader.dataset=None', 'train_dataloader.dataset: expected dict(...), got None'),
        ('val_dataloader.sampler=3', 'val_dataloader.sampler: expected dict(...), got 3'),
        ('model.backbone=x', "model.backbone: expected dict(...), got 'x'"),
        ('optim_wrapper.optimizer=SGD', "optim_wrapper.optimizer: expected dict(...), got 'SGD'"),
        ('visualizer=3', 'visualizer: expected dict(...), got 3'),
        ('drawn=3', 'drawn: expected dict(...), got 3'),
        ('drawn.num_per_class=many', "drawn.num_per_class: expected a whole number of at least 2, got 'many'"),
        (
            'drawn.image_size=15',
            'drawn.image_size: expected a whole number of pixels, at least 16, got 15',
        ),
        ('drawn.val_ratio=1.0', 'drawn.val_ratio: expected a share between 0 and 1, got 1.0'),
        ('drawn.seed=-1', 'drawn.seed: expected a whole number from 0 to 4294967295, got -1'),
    ],
)
def test_values_out_of_range_are_mistakes(mistakes, override, answer):
    assert mistakes(load_config, RESNET, [override]) == [answer]


@pytest.mark.parametrize('value', [0, 1, 4, 'all'])
def test_every_way_to_freeze_is_accepted(value):
    assert load_config(RESNET, {'model.frozen_stages': value}).model.frozen_stages == value


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
    'text, message',
    [
        ('optim_wrapper = dict(accumulative_counts=0)', 'optim_wrapper.accumulative_counts: expected a whole number'),
        ("optim_wrapper = dict(accumulative_counts='x')", 'optim_wrapper.accumulative_counts: expected a whole number'),
        ("param_scheduler = [dict(type='ConstantLR', begin=None)]", 'param_scheduler.0.begin: expected a whole number'),
        ("param_scheduler = dict(type='StepLR', step_size=0)", 'param_scheduler.0.step_size: expected a whole number'),
        ("param_scheduler = dict(type='MultiStepLR', milestones='x')", 'param_scheduler.0.milestones: expected a list'),
        ("param_scheduler = [dict(type='PolyLR', end='10')]", 'param_scheduler.0.end: expected a whole number'),
        ('auto_scale_lr = dict(enable=True)', 'auto_scale_lr.enable: needs base_batch_size'),
        (
            "optim_wrapper = dict(constructor='DefaultOptimWrapperConstructor', "
            'paramwise_cfg=dict(stage_lr_mult=dict(stem=0.1)))',
            'stage_lr_mult: DefaultOptimWrapperConstructor does not know',
        ),
        (
            'optim_wrapper = dict(paramwise_cfg=dict(stage_lr_mult=dict(stem=0)))',
            'stage_lr_mult.stem: expected a factor',
        ),
        ('optim_wrapper = dict(paramwise_cfg=dict(stage_lr_mult=[0.1]))', 'stage_lr_mult: expected dict(...)'),
        ('train_dataloader = dict(dataset=dict(views=0))', 'views'),
        ("photo_cache = dict(budget='8 gigs')", "photo_cache.budget: expected a size as '8GB'"),
        ('photo_cache = dict(budget=-1)', 'photo_cache.budget: expected a size'),
        ('photo_cache = dict(budget=None)', '(photo_cache=None reads photos from their files), got None'),
        ('photo_cache = True', 'photo_cache: expected dict(...), got True'),
        ("photo_cache = dict(buget='8GB')", "unknown key 'buget' in photo_cache (did you mean 'budget'?)"),
        ("photo_cach = dict(budget='8GB')", "unknown key 'photo_cach' (did you mean 'photo_cache'?)"),
        ('cache_dir = None', 'cache_dir: expected the path of a folder'),
        (f'cache_dir = {__file__!r}', 'neither it nor one above it may be a file'),
        (f'cache_dir = {__file__ + "/cache"!r}', 'neither it nor one above it may be a file'),
        ("optim_wrapper = dict(optimizer=dict(lr=float('inf')))", 'optim_wrapper.optimizer.lr: expected a number'),
        ("optim_wrapper = dict(optimizer=dict(eps=float('nan')))", 'optim_wrapper.optimizer.eps: expected a number'),
        (
            "param_scheduler = dict(type='PolyLR', eta_min_ratio=7)",
            'param_scheduler.0.eta_min_ratio: expected a number',
        ),
        ("param_scheduler = dict(type='PolyLR', by_epoch='no')", 'param_scheduler.0.by_epoch: expected True or False'),
        ("log_level = 'LOUD'", "log_level: expected 'DEBUG', 'INFO'"),
        ("resume = 'no'", 'resume: expected True or False'),
        ('custom_imports = ["a"]', 'custom_imports: expected dict(...)'),
    ],
)
def test_a_value_out_of_range_is_named(write, mistakes, text, message):
    (mistake,) = mistakes(load_config, write(text))
    assert message in mistake


@pytest.mark.parametrize(
    'text',
    [
        'optim_wrapper = dict(accumulative_counts=4)',
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
