"""torchvision's own networks, as backbones of mmpretrain's classifiers."""

import re
from difflib import get_close_matches
from typing import Any

from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torchvision import models

from flowercls.core.errors import ConfigError

_OLD_DENSE_LAYER = re.compile(r'(denselayer\d+\.(?:norm|conv))\.([12]\.)')


@MODELS.register_module(name='TorchvisionBackbone')
def torchvision_backbone(arch: str, num_classes: int = 1000, weights: str | None = None, **options: Any) -> nn.Module:
    """Build one of torchvision's classification networks, including its classification layer.

    It returns torchvision's own network object; a hook wraps the output in a tuple, as mmpretrain's heads expect. The
    head in a config is the bare ``dict(type='ClsHead', ...)``.

    Args:
        arch: As `torchvision.models.get_model`: ``'resnet18'``, ``'vit_b_16'``, ...
        num_classes: Outputs of the classification layer.
        weights: The version of torchvision's weights that training starts from (``'IMAGENET1K_V1'``, ``'DEFAULT'``),
            or None. They are not loaded here: the config's ``load_from`` follows from this argument, see
            `flowercls.config.model_keys`.
        **options: Arguments of the network, such as ``dropout`` or ``stochastic_depth_prob``.

    Raises:
        ConfigError: if torchvision has no classification network of this name, no such weights for it, or the network
            does not take ``options``.
    """
    known = models.list_models(module=models)
    if arch not in known:
        near = ', '.join(get_close_matches(str(arch), known)) or 'see torchvision.models.list_models()'
        raise ConfigError(f'`model.backbone.arch` is {arch!r}, which torchvision does not have. Nearest: {near}.')
    versions = list(models.get_model_weights(arch).__members__)
    if weights is not None and str(weights).upper() not in versions:
        raise ConfigError(
            f'`model.backbone.weights` is {weights!r}, expected one of those of {arch}: '
            f'{", ".join(versions) or "there are none"}; or None.'
        )
    if arch in ('inception_v3', 'googlenet'):
        # ClsHead has no loss for auxiliary scores. The weights expect pixels on another scale than all other networks;
        # torchvision turns transform_input on when it loads them.
        options = {'aux_logits': False, 'init_weights': False, 'transform_input': True, **options}
    try:
        network = models.get_model(arch, num_classes=num_classes, **options)
    except TypeError as error:
        near = [match for name in options for match in get_close_matches(name, ('num_classes', 'weights'))]
        meant = f" (did you mean '{near[0]}'?)" if near else ''
        raise ConfigError(f'`model.backbone` {arch}: {error}{meant}. Fix: leave the argument out.') from error
    network.register_forward_hook(_as_tuple)
    if isinstance(network, models.DenseNet):
        network.register_load_state_dict_pre_hook(_rename_dense_layers)
    return network


def preset_of(arch: str, weights: str | None) -> Any | None:
    """Return the preset that torchvision tested these weights with: ``crop_size``, ``mean``, ``std``; None if none."""
    versions = models.get_model_weights(arch).__members__
    return versions[weights.upper()].transforms() if weights else None


def _rename_dense_layers(_: nn.Module, state_dict: dict[str, Tensor], *__: Any) -> None:
    """Rename the layers of torchvision's DenseNet files, ``norm.1`` to ``norm1``, as torchvision's own loading does."""
    for name in list(state_dict):
        renamed = _OLD_DENSE_LAYER.sub(r'\1\2', name)
        if renamed != name:
            state_dict[renamed] = state_dict.pop(name)


def _as_tuple(_: nn.Module, __: tuple, scores: Tensor) -> tuple[Tensor]:
    return (scores,)
