"""Values that no run could work with are named before anything heavy is imported."""

import pytest

from flowercls.config import load_config

OURS = 'configs/resnet50_flower.py'


@pytest.mark.parametrize(
    'text, said',
    [
        ('optim_wrapper = dict(accumulative_counts=0)', 'optim_wrapper.accumulative_counts: expected a whole number'),
        ("optim_wrapper = dict(accumulative_counts='x')", 'optim_wrapper.accumulative_counts: expected a whole number'),
        ("param_scheduler = [dict(type='ConstantLR', begin=None)]", 'param_scheduler.0.begin: expected a whole number'),
        ("param_scheduler = dict(type='StepLR', step_size=0)", 'param_scheduler.0.step_size: expected a whole number'),
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
def test_a_value_out_of_range_is_named(write, mistakes, text, said):
    (mistake,) = mistakes(load_config, write(text))
    assert said in mistake


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
