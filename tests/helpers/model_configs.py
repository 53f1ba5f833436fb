"""The model configs we ship: a file of `configs/_base_/models` each, and `torchvision.py` once for each network."""

from pathlib import Path

from mmengine.config import Config

FOLDER = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
TORCHVISION = ['convnext_tiny', 'densenet121', 'efficientnet_b0', 'inception_v3', 'mobilenet_v3_large', 'resnet18']
TORCHVISION += ['resnet50', 'resnext50_32x4d', 'swin_t', 'vgg11', 'vit_b_16']
NAMES = sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != 'torchvision')
NAMES += [f'torchvision_{arch}' for arch in TORCHVISION]


def model_config(name):
    """The content of the file, with the network's `arch` in that of torchvision."""
    if not name.startswith('torchvision_'):
        return Config.fromfile(FOLDER / f'{name}.py')
    config = Config.fromfile(FOLDER / 'torchvision.py')
    config.model.backbone.arch = name.removeprefix('torchvision_')
    return config
