"""Every config, every command and recipe of configs/README.md, and every model by the README's pattern: two steps each.

Photos are as small as the network allows, batches two; all else is as a user would run it.
"""

import re
import shlex
from pathlib import Path

import pytest

from flowercls.commands import train
from flowercls.config import load_config, parse_overrides, resolve_config
from flowercls.config.schema import at_path, walk
from golden import make

CONFIGS = Path(__file__).parent.parent / 'configs'
COMMANDS = [command.removeprefix('tools/train.py ') for command in make.commands_of_the_readme()]
RECIPES = make.recipes_of_the_readme()
MODELS = make.models_by_the_pattern()
EXPERIMENTS = sorted(path.name for path in CONFIGS.glob('*.py'))
SMALLEST = {'InceptionV3': 139, 'inception_v3': 75, 'VGG': 224, 'vgg11': 64, 'VisionTransformer': 224, 'vit_b_16': 224}
SMALLEST |= {'SwinTransformer': 224, 'DenseNet': 64}  # px; 32 where nothing is said
THIN_RESNET = ['model.backbone.stem_channels=16', 'model.backbone.base_channels=16', 'model.head.in_channels=512']
HEAVY = ('152', '101', '161', '169', '201', 'vgg', 'vit', 'deit', 'swin', 'inception')
HEAVY += ('efficientnet', 'resnext', 'convnext')


def shrunk(path, overrides):
    """Overrides that make a run of a config tiny: two batches of two, of the smallest photos."""
    cfg = load_config(path, overrides)
    backbone = cfg.model.backbone
    size = SMALLEST.get(backbone.get('arch'), SMALLEST.get(backbone['type'], 32))
    tiny = {'load_from': None, 'train_cfg.max_epochs': 1, 'default_hooks.checkpoint': None, 'model.precision': 'fp32'}
    for split, photos in (('train', 4), ('val', 2)):
        loader = f'{split}_dataloader'
        tiny |= {f'{loader}.batch_size': 2, f'{loader}.num_workers': 0, f'{loader}.dataset.indices': photos}
        for where, step in walk(cfg[loader].dataset.pipeline, f'{loader}.dataset.pipeline'):
            if isinstance(step, dict) and 'size' in step:
                tiny[f'{where}.size'] = size * 8 // 7 if step['type'] == 'Resize' else size
    return tiny


@pytest.fixture
def two_steps(drawn_root, tmp_path, capsys):
    """Train a config for two steps and return what was printed."""

    def run(path, options=()):
        overrides = {**parse_overrides(options), 'data_root': str(drawn_root)}
        overrides |= shrunk(path, overrides)
        train(path, overrides=overrides, work_dir=str(tmp_path / 'run'), pictures=False)
        return capsys.readouterr().out

    return run


def marked(names):
    return [pytest.param(name, marks=pytest.mark.slow if any(part in name for part in HEAVY) else ()) for name in names]


@pytest.mark.parametrize('name', marked(EXPERIMENTS))
def test_an_experiment_trains(two_steps, name):
    printed = two_steps(CONFIGS / name)
    assert 'epoch 1/1' in printed and 'trainable' in printed


@pytest.mark.parametrize('model', marked(MODELS))
def test_a_model_trains_by_the_readmes_pattern(two_steps, tmp_path, model):
    config = tmp_path / 'mine.py'
    config.write_text(MODELS[model].replace("'configs/", f"'{CONFIGS}/"))
    assert 'epoch 1/1' in two_steps(config)


def test_the_readme_lists_every_model():
    families = make.README.partition('| photos |')[2].partition('\n\n')[0]
    names = set(re.findall(r'`(\w+)`', families))
    listed = {name for name in names if not name.startswith(('flower_', '_base_'))} - {'torchvision'}
    assert set(MODELS) <= listed | {f'torchvision_{name}' for name in listed}
    assert listed - set(MODELS) <= {name.removeprefix('torchvision_') for name in MODELS}


@pytest.mark.parametrize('command', COMMANDS, ids=str)
def test_a_command_of_the_reports_is_accepted(drawn_root, command):
    path, options = parsed(command)
    cfg, _ = resolve_config(path, [*options, f'data_root={drawn_root}'])
    assert cfg.load_from


@pytest.mark.slow
@pytest.mark.parametrize('command', sorted(set(COMMANDS)), ids=str)
def test_a_command_of_the_reports_trains(two_steps, command):
    assert 'epoch 1/1' in two_steps(*parsed(command))


# Where the resolved config of a run shows that a recipe was followed.
EFFECTS = {
    'another optimizer': ('optim_wrapper.optimizer', dict(type='AdamW', lr=0.0003, weight_decay=0.05)),
    'a learning rate for each stage': ('optim_wrapper.paramwise_cfg.stage_lr_mult.classifier', 10),
    'a tenth of the rate every 7 epochs': ('param_scheduler.0.step_size', 7),
    'a tenth of it at epochs 20 and 27': ('param_scheduler.0.milestones', [20, 27]),
    'warm-up, then cosine': ('param_scheduler.0.type', 'LinearLR'),  # the cosine begins after this one epoch
    'steps of 4 batches': ('optim_wrapper.accumulative_counts', 4),
    'clipped gradients': ('optim_wrapper.clip_grad', dict(max_norm=1.0)),
    'label smoothing': ('model.head.loss.type', 'LabelSmoothLoss'),
    'mixup and cutmix': ('model.head.cal_acc', False),
    'with mixup and cutmix: norm statistics of unmixed photos': ('custom_hooks.0.type', 'NormStatisticsHook'),
    'averaged weights (EMA)': ('custom_hooks.0.type', 'EMAHook'),
    'early stopping': ('custom_hooks.0.type', 'EarlyStoppingHook'),
    'rare classes drawn as often as others': ('train_dataloader.sampler.balanced', True),
    'rare classes weighted in the loss': ('model.head.loss.class_weight', [1.0] * 5),  # of equal classes
    'one augmented view per photo, for all epochs': ('train_dataloader.dataset.views', 1),
    'from scratch': ('load_from', None),
    'full precision': ('model.precision', 'fp32'),
}


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_trains_and_is_followed(two_steps, tmp_path, name):
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = ['{CONFIGS}/resnet50_flower.py']\n{RECIPES[name]}\n")
    assert 'epoch 1/1' in two_steps(config, THIN_RESNET)
    path, expected = EFFECTS[name]
    assert at_path(load_config(tmp_path / 'run' / 'config.py')._cfg_dict, path) == expected


def test_every_recipe_has_an_effect_to_look_for():
    assert set(EFFECTS) == set(RECIPES)


def parsed(command):
    """Config file and options of a command."""
    config, *rest = shlex.split(command)
    assert rest[:1] in ([], ['--cfg-options'])
    return CONFIGS.parent / config, rest[1:]
