"""What ``auto`` means for ``model.precision`` and ``model.channels_last``: the faster choice on this machine."""

import torch

from flowercls.core.errors import ConfigError

PRECISIONS = ('auto', 'bf16', 'fp32')


def hardware_gains_from_bf16(device_type: str) -> bool:
    """Return whether convolutions and matrix products are faster in bfloat16 than in float32 on this machine.

    Args:
        device_type: ``'cpu'``, ``'cuda'`` or another torch device type, for which the answer is False.
    """
    if device_type == 'cuda':
        # is_bf16_supported() is also True where bfloat16 is emulated, which is slower.
        return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    if device_type == 'cpu':
        # Private names of torch, the same from 2.6 on. Without them the answer is False, so float32.
        probes = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
        return any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return False


def resolve_precision(value: str, device_type: str | None = None) -> str:
    """Return ``'bf16'`` or ``'fp32'`` for ``model.precision``.

    Args:
        value: ``'auto'``, ``'bf16'`` or ``'fp32'``.
        device_type: Where the model will run; None is the GPU if there is one, else the CPU.

    Raises:
        ConfigError: for any other value.
    """
    if value not in PRECISIONS:
        raise ConfigError(f'`model.precision` is {value!r}, expected one of {", ".join(map(repr, PRECISIONS))}.')
    if value != 'auto':
        return value
    return 'bf16' if hardware_gains_from_bf16(device_type or _default_device_type()) else 'fp32'


def resolve_channels_last(value: str | bool, device_type: str | None = None) -> bool:
    """Return True or False for ``model.channels_last``; ``'auto'`` and ``device_type`` as in `resolve_precision`."""
    if value == 'auto':
        return (device_type or _default_device_type()) in ('cpu', 'cuda')
    if not isinstance(value, bool):
        raise ConfigError(f"`model.channels_last` is {value!r}, expected 'auto', True or False.")
    return value


def _default_device_type() -> str:
    return 'cuda' if torch.cuda.is_available() else 'cpu'
