"""Files with the names and shapes of the official weights fit our configs, each its own and no other.

The files are made from the libraries' own networks of today; names of older versions that real files are known to have
stand in `OLD_NAMES`.
"""

import functools
import hashlib
from pathlib import Path

import mmpretrain
import pytest
import torch
import yaml
from mmengine.config import Config
from mmpretrain.registry import MODELS
from torchvision import models

from flowercls.config.model_keys import derive_starting_weights
from flowercls.core.errors import CheckpointError
from flowercls.models.checkpoint_reader import read_checkpoint
from flowercls.models.freezing import classification_layer
from flowercls.models.weight_files import find_weights, hash_in_name
from flowercls.models.weights import apply_weights
from helpers.model_configs import NAMES, build_real, model_config, real_on_meta, without_values

FIVE = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']
NEXT = dict(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True))
COUNTER = '.num_batches_tracked'
LIGHT = ('mobilenet_v3_small', 'torchvision_densenet121')  # loaded with real values at every run
UPSTREAM = Path(mmpretrain.__file__).parent / '.mim'


@functools.cache
def upstream_configs():
    """mmpretrain's config file for the address of each of its files of weights."""
    entries = {}
    for path in UPSTREAM.glob('configs/*/metafile.yml'):
        models = yaml.load(path.read_text(encoding='utf-8'), Loader=yaml.CSafeLoader)['Models']
        entries |= {model['Weights']: UPSTREAM / model['Config'] for model in models if model.get('Weights')}
    return entries


@functools.cache
def official_on_meta(name):
    with without_values():
        return official(name)


def official(name):
    """Names and shapes of the official file, made from mmpretrain's or torchvision's own network."""
    config = model_config(name)
    if name.startswith('torchvision_'):
        return _torchvision_names(config.model.backbone.arch)
    theirs = Config.fromfile(upstream_configs()[config.load_from])
    return {'state_dict': MODELS.build(theirs.model).state_dict(), 'meta': {}}


def _torchvision_names(arch):
    options = dict(init_weights=False) if arch == 'inception_v3' else {}
    state = models.get_model(arch, **options).state_dict()
    if arch == 'densenet121':  # made before norms counted
        state = {name: value for name, value in state.items() if not name.endswith(COUNTER)}
    for new, old in OLD_NAMES.get(arch, {}).items():
        state = {name.replace(new, old): value for name, value in state.items()}
    return state


# torchvision's files keep the names of the version that they were made with; its own loading renames them.
OLD_NAMES = dict(
    densenet121={f'.{kind}{i}.': f'.{kind}.{i}.' for kind in ('norm', 'conv') for i in (1, 2)},
    vit_b_16={'.mlp.0.': '.mlp.linear_1.', '.mlp.3.': '.mlp.linear_2.'},
)


def with_values(content):
    """The same with numbers drawn at random."""
    generator = torch.Generator().manual_seed(0)
    state = content.get('state_dict', content)
    for key, value in state.items():
        drawn = torch.empty(value.shape).uniform_(-1, 1, generator=generator)
        state[key] = drawn if value.is_floating_point() else torch.zeros(value.shape, dtype=value.dtype)
    return content


def last_layer(model):
    name, layer = classification_layer(model.backbone, model.head)
    return {f'{name}.{key}' for key in layer.state_dict()}


@pytest.mark.parametrize('name', NAMES)
def test_all_of_an_official_file_fits_but_the_classification_layer(name, on_meta):
    model, content = real_on_meta(name), official_on_meta(name)
    report = apply_weights(model, content, source=name, class_names=FIVE)
    expected = set(_by_todays_names(content)) & set(model.state_dict()) - last_layer(model)
    assert report.head == 'new, 1000 → 5 classes'
    assert report.num_loaded == len(expected)
    assert all(key.endswith(COUNTER) for key in model.state_dict().keys() - expected - last_layer(model))


@pytest.mark.parametrize('name', NAMES)
def test_the_file_of_another_architecture_is_refused(name, on_meta):
    with pytest.raises(CheckpointError, match='not the weights of this') as caught:
        apply_weights(real_on_meta(NEXT[name]), official_on_meta(name), source=name, class_names=FIVE)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize('name', [pytest.param(n, marks=() if n in LIGHT else pytest.mark.slow) for n in NAMES])
def test_the_values_of_a_file_are_found_in_the_model(name, tmp_path, monkeypatch):
    """From the file with its hash in its name to the parameters; MobileNetV3's hidden layer comes along."""
    with without_values():
        content = official(name)
    torch.save(with_values(content), tmp_path / 'weights.pth')
    digest = hashlib.sha256((tmp_path / 'weights.pth').read_bytes()).hexdigest()
    (tmp_path / 'weights.pth').rename(tmp_path / f'{name}-{digest[:8]}.pth')
    monkeypatch.setenv('FLOWERCLS_WEIGHTS', str(tmp_path))
    model, content = build_real(name), read_checkpoint(find_weights(f'{name}-{digest[:8]}.pth'))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    apply_weights(model, content, source=name, class_names=FIVE)
    weights = _by_todays_names(content)
    new = last_layer(model) | {key for key in before if key.endswith(COUNTER) and key not in weights}
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key in new else weights[key]), key


def _by_todays_names(content):
    if 'state_dict' in content:
        return content['state_dict']
    names = {name: name for name in content}
    for new, old in (pair for pairs in OLD_NAMES.values() for pair in pairs.items()):
        names = {name: today.replace(old, new) for name, today in names.items()}
    return {f'backbone.{today}': content[name] for name, today in names.items()}


def test_swins_of_before_its_last_norm_had_a_number_are_read(on_meta):
    content = official_on_meta('swin_tiny')
    state = {name.replace('backbone.norm3.', 'backbone.norm.'): v for name, v in content['state_dict'].items()}
    assert state.keys() != content['state_dict'].keys()
    assert apply_weights(real_on_meta('swin_tiny'), state, source='', class_names=FIVE).head == 'new, 1000 → 5 classes'


@pytest.mark.parametrize('name', NAMES)
def test_the_file_is_named_with_its_hash(name):
    config = model_config(name)
    derive_starting_weights(config)
    address = config.load_from
    if name.startswith('torchvision_'):
        arch, version = address.removeprefix('torchvision://').split('.')
        address = models.get_model_weights(arch)[version.upper()].url
    assert hash_in_name(address)
