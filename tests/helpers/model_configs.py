"""Networks to test: those of the configs we ship in their real size, and tiny ones of the same families."""

import contextlib
import functools
from pathlib import Path
from unittest import mock

import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

import flowercls.models.backbones.torchvision_backbone
import flowercls.models.classifier  # noqa: F401  both register their classes
from golden.make import TORCHVISION

FOLDER = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
# A file of configs/_base_/models each, and torchvision.py once for each network.
NAMES = sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != 'torchvision')
NAMES += [f'torchvision_{arch}' for arch in TORCHVISION]


# Name: backbone config and number of channels it ends with. Stochastic parts are on, so that train mode is a real test.
TINY_BACKBONES = {
    'ResNet': (dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, drop_path_rate=0.2), 64),
    'ResNetV1c': (dict(type='ResNetV1c', depth=50, stem_channels=8, base_channels=8), 256),
    'ResNeXt': (dict(type='ResNeXt', depth=50, groups=2, width_per_group=4, stem_channels=8, base_channels=8), 256),
    'DenseNet': (
        dict(type='DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16), drop_rate=0.2),
        32,
    ),
    'MobileNetV2': (dict(type='MobileNetV2', widen_factor=0.25), 1280),
}


def model_config(name):
    """The content of the file, with the network's `arch` in that of torchvision."""
    if not name.startswith('torchvision_'):
        return Config.fromfile(FOLDER / f'{name}.py')
    config = Config.fromfile(FOLDER / 'torchvision.py')
    config.model.backbone.arch = name.removeprefix('torchvision_')
    return config


def build_real(name, num_classes=5, **model):
    """The network of a config in its real size, with random weights."""
    config = model_config(name).model.to_dict()
    part = config['backbone'] if config['head']['type'] == 'ClsHead' else config['head']
    part['num_classes'] = num_classes
    torch.manual_seed(0)
    return MODELS.build({**config, 'precision': 'fp32', 'channels_last': False, **model})


@functools.cache
def real_on_meta(name):
    """The same without values, built once: look, do not touch."""
    with without_values():
        return build_real(name)


@contextlib.contextmanager
def without_values():
    """Build networks in no time: they have no values, but for the drop-path rates that they read off a linspace."""
    rates = functools.partial(torch.linspace, device='cpu')
    with mock.patch.object(torch, 'linspace', rates), torch.device('meta'):
        yield
