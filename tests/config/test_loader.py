"""Loading: what a config file may be, and the answers to everything else."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from flowercls.config import load_config
from flowercls.config.loader import load_with_notes
from flowercls.core.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'


def error_of(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_values_of_bases_and_child_arrive():
    cfg = load_config(CONFIGS / 'mobilenet_v2_flower.py')
    assert cfg.model.backbone == dict(type='MobileNetV2', widen_factor=1.0, conv_cfg=dict(type='Conv2dAdaptivePadding'))
    assert cfg.model.head.loss == dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    assert cfg.optim_wrapper.optimizer.lr == 0.0003


def test_loading_does_not_import_torch_and_is_quick():
    code = (
        'import sys; from flowercls.config import load_config;'
        f"load_config({str(CONFIGS / 'resnet50_flower.py')!r}, ['model.frozen_stages=3']);"
        "assert 'torch' not in sys.modules and 'mmpretrain' not in sys.modules"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, '-c', code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5  # seconds of one core


def test_a_missing_config_is_answered_with_the_nearest_name():
    message = error_of(CONFIGS / 'resnet50_flowers.py')
    assert 'resnet50_flowers.py: no such config file' in message
    assert f"(did you mean '{CONFIGS / 'resnet50_flower.py'}'?)" in message


BASE = "_base_ = ['base.py']\n"


@pytest.mark.parametrize(
    ('message', 'text', 'base'),
    [
        ("_base_ file 'bse.py' does not exist (did you mean 'base.py'?)", "_base_ = 'bse.py'", ''),
        ("(did you mean '_base_/models/vgg11.py'?). Fix: ", "_base_ = '_base_/models/vgg1l.py'", ''),
        ("did you mean 'mmpretrain::lenet/lenet5_mnist.py'", "_base_ = 'mmpretrain::lenet/lenet5_mnst.py'", ''),
        ("the package 'mmnothing', which is not installed", "_base_ = 'mmnothing::a/b.py'", ''),
        ("model = dict(backbone=dict(arch='swin_t'))", "_base_ = ['_base_/models/torchvision_swin_t.py']", ''),
        ('base.py: its _base_ my.py inherits from this file.', BASE, "_base_ = 'my.py'"),
        ("my.py, line 2: '(' was never closed", "data_root = 'x'\nmodel = dict(\n", ''),
        ("base.py, line 2: NameError: name 'nothing' is not", BASE, 'a = 1\nwork_dir = nothing\n'),
        ("several of its _base_ files set 'data_root'", "_base_ = ['base.py', 'base.py']", "data_root = 'a'"),
        ('my.py: TypeError: custom_hooks', f'{BASE}custom_hooks = dict(a=1)', 'custom_hooks = [1]'),
        ('my.py, line 2: `from torch.optim import SGD`', 'a = 1\nfrom torch.optim import SGD\n', ''),
        ("name classes as text, type='ClassName'", 'import torch', ''),
        ('a config cannot hold a PosixPath', "from pathlib import Path\ndata_root = Path('x')\n", ''),
    ],
)
def test_a_mistake_is_named_with_its_place(write, message, text, base):
    write(base, 'base.py')
    assert message in error_of(write(text))


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('my.yaml', 'model: 3', 'my.yaml: a config is a .py or .json file, not .yaml. Fix: name the config first'),
        ('my', 'model: 3', 'my: a config is a .py or .json file, not one without a suffix.'),
        ('my.json', '{\n"a": }', 'my.json, line 2: not valid JSON'),
    ],
)
def test_other_kinds_of_files_are_refused(write, name, text, message):
    assert error_of(write(text, name)).startswith(message)


@pytest.mark.parametrize('base', ['_base_/models/vgg11.py', 'configs/vgg11_report_b_flower.py'])
def test_a_base_that_does_not_lie_beside_the_file_is_a_shipped_one(write, base):
    assert load_config(write(f"_base_ = ['{base}']")).model.backbone.type == 'VGG'
    write("model = dict(backbone=dict(type='ResNet'))", base)
    assert load_config(write(f"_base_ = ['{base}']")).model.backbone.type == 'ResNet'


def test_json_configs_are_read(write):
    assert load_config(write('{"data_root": "data/x"}', 'my.json')).data_root == 'data/x'


def test_the_standard_library_may_be_imported(write):
    cfg = load_config(write("import os\nfrom functools import partial\nwork_dir = os.path.join('a', 'b')\n"))
    assert cfg.to_dict() == {'work_dir': 'a/b'}


def test_mmpretrain_bases_load_without_pkg_resources(write, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)  # an import of it fails, as with setuptools 82
    cfg = load_config(write("_base_ = ['mmpretrain::resnet/resnet50_8xb32_in1k.py']\ntrain_cfg = dict(max_epochs=7)"))
    assert cfg.model.backbone.depth == 50
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=7, val_interval=1)
    assert '_scope_' not in cfg.pretty_text


def test_an_mmpretrain_config_that_imports_mmpretrain_is_loaded(write):
    cfg = load_config(write("_base_ = ['mmpretrain::replknet/replknet-31B_32xb64_in1k.py']"))
    assert cfg.model.backbone.type == 'RepLKNet' and 'build_classifier' not in cfg


@pytest.mark.parametrize('name', ['strategy', 'runner_type'])
def test_keys_of_mmengines_other_runner_are_noted(write, name):
    assert load_with_notes(write(f'{name} = "x"'))[1] == [f"'{name}' in my.py is not used."]


def test_mmengine_is_left_as_it_was(write):
    from mmengine.config import Config

    before = dict(vars(Config))
    load_config(write("data_root = 'x'"))
    error_of(write('work_dir = nothing', 'bad.py'))
    assert dict(vars(Config)) == before


def test_a_helper_that_only_the_base_has_used_is_noted(write):
    write("size = 224\ncrop = dict(size=size)\nwork_dir = 'x'", 'base.py')
    path = write("_base_ = 'base.py'\nsize = 64\nwork_dir = 'y'")
    notes = load_with_notes(path)[1]
    assert [note for note in notes if "'size' in my.py has no effect" in note]
    assert not [note for note in notes if 'work_dir' in note]


def test_a_typo_inside_an_installed_package_is_dropped_with_a_note(write):
    cfg, notes = load_with_notes(write("_base_ = ['mmpretrain::twins/twins-svt-base_8xb128_in1k.py']"))
    assert '_delete' not in cfg.optim_wrapper.paramwise_cfg
    assert any("unknown key '_delete' in optim_wrapper.paramwise_cfg" in note for note in notes)


@pytest.mark.parametrize('path', ['resnet50_flowers.py', 'configs/resnet50_flowers.py', 'sweeps/frozen_stage.py'])
def test_a_misspelt_name_of_a_shipped_config_is_answered_with_the_right_one(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    near = path.replace('flowers', 'flower').replace('stage.', 'stages.')
    with pytest.raises(ConfigError, match=rf"did you mean '{near}'.*Fix"):
        load_config(path)
