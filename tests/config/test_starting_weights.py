"""A torchvision network names its weights itself; `load_from` follows, and wins where it is given."""

from pathlib import Path

import pytest

from flowercls.config import derive_config, load_config, resolve_config
from flowercls.core.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
MINE = """
_base_ = ['{configs}/_base_/models/torchvision.py', '{configs}/_base_/datasets/flower_224.py',
          '{configs}/_base_/schedules/sgd_constant_30e.py', '{configs}/_base_/default_runtime.py']
"""


@pytest.fixture
def resolve(write, data_root):
    def load_from(text='', **overrides):
        path = write(MINE.format(configs=CONFIGS) + text)
        return resolve_config(path, {'data_root': str(data_root), **overrides})[0]

    return load_from


@pytest.mark.parametrize(
    ('text', 'overrides', 'expected'),
    [
        ('', {}, 'torchvision://resnet18.imagenet1k_v1'),
        ('', {'model.backbone.arch': 'resnet34'}, 'torchvision://resnet34.imagenet1k_v1'),
        (
            '',
            {'model.backbone.arch': 'resnet50', 'model.backbone.weights': 'DEFAULT'},
            'torchvision://resnet50.default',
        ),
        ('', {'model.backbone.weights': None}, None),
        ("load_from = 'mine.pth'", {}, 'mine.pth'),
        ('load_from = None', {}, None),
        ('', {'load_from': None}, None),
        ("model = dict(backbone=dict(_delete_=True, type='ResNet', depth=18))", {}, None),
    ],
)
def test_load_from_follows_from_the_network_unless_it_is_given(resolve, text, overrides, expected):
    assert resolve(text, **overrides).load_from == expected


def test_it_stays_the_same_when_derived_again_or_written_down(resolve, tmp_path):
    cfg = resolve()
    before = cfg.to_dict()
    derive_config(cfg)
    cfg.dump(tmp_path / 'config.py')
    assert cfg.to_dict() == before == load_config(tmp_path / 'config.py').to_dict()


@pytest.mark.parametrize('text', ['0', '224.0', "'224'", '(224, 224)'])
def test_the_size_of_the_images_is_one_whole_number(resolve, text):
    with pytest.raises(ConfigError, match='input_size: expected a whole number of pixels, at least 1'):
        resolve(f'input_size = {text}')


@pytest.mark.parametrize(('arch', 'size'), [('resnet18', 224), ('inception_v3', 299)])
def test_the_input_size_follows_from_the_network_unless_it_is_given(resolve, arch, size):
    assert resolve(**{'model.backbone.arch': arch}).input_size == size
    assert resolve('input_size = 128', **{'model.backbone.arch': arch}).input_size == 128


def test_a_base_that_was_removed_is_answered_with_the_lines_to_write(write):
    with pytest.raises(ConfigError, match=r"models/torchvision\.py'.*dict\(arch='swin_t'\)"):
        load_config(write("_base_ = ['_base_/models/torchvision_swin_t.py']"))
