"""The weights alone: a checkpoint without the state of its training, and a safetensors file."""

import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

from flowercls.config.dump import dump_config, parse_dumped
from flowercls.core.files import atomic_write
from flowercls.models.checkpoint_writer import to_plain, write_checkpoint
from flowercls.use.torch_model import TorchModel, without_folder


def write_slim(model: TorchModel, path: str | Path) -> None:
    """Write a checkpoint that is for use only: no optimizer, no schedule, and no folder of this machine.

    It opens wherever the checkpoint does. It holds the figures and the calibration of the run as well.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    record = {'cfg': _config_to_share(model), 'facts': model.facts, 'calibration': model.calibration}
    write_checkpoint(path, {'meta': {**model.meta, **record}, 'state_dict': model.network.state_dict()})


def write_safetensors(model: TorchModel, path: str | Path) -> None:
    """Write the weights under the names of the checkpoint; ``config``, ``flowercls`` (facts) etc. as metadata.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    from safetensors.torch import save  # of the extra [export]

    # Copies: safetensors takes no tensors that share memory, and none with gaps.
    tensors = {name: tensor.clone().contiguous() for name, tensor in to_plain(dict(model.network.state_dict())).items()}
    metadata = {
        'format': 'pt',  # the file says which library its tensors are for; others refuse a file without it
        'classes': json.dumps(model.class_names),
        'flowercls': json.dumps(model.facts),
        'config': _config_to_share(model),
    }
    if model.calibration is not None:
        metadata['calibration'] = json.dumps(model.calibration)
    with atomic_write(path, 'wb') as file:
        file.write(save(tensors, metadata))


def _config_to_share(model: TorchModel) -> str:
    """Return the run's resolved config with absolute paths cut down to their last name."""
    return dump_config(Config(_without_folders(parse_dumped(model.meta['cfg']))))


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_folders(item) for item in value)
    return without_folder(value) if isinstance(value, str) else value
