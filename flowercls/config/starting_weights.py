"""Starting weights that a torchvision network names itself, brought to `load_from`: the one checked door."""

from typing import Any

TORCHVISION_BACKBONE = 'TorchvisionBackbone'


def derive_load_from(cfg: Any) -> None:
    """Set `load_from` from `model.backbone.weights` of a torchvision network; one that is given wins, also None.

    Example:
        >>> backbone = dict(type='TorchvisionBackbone', arch='resnet18', weights='IMAGENET1K_V1')
        >>> derive_load_from(cfg := dict(model=dict(backbone=backbone)))
        >>> cfg['load_from']
        'torchvision://resnet18.imagenet1k_v1'
    """
    backbone = cfg['model'].get('backbone') or {}
    if 'load_from' in cfg or str(backbone.get('type')).rpartition('.')[2] != TORCHVISION_BACKBONE:
        return
    arch, weights = backbone.get('arch'), backbone.get('weights')
    if isinstance(arch, str) and isinstance(weights, str):  # anything else is refused where the network is built
        cfg['load_from'] = f'torchvision://{arch}.{weights.lower()}'
