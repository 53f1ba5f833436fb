"""MODEL, wherever a tool takes one: a run folder, a checkpoint, an exported ONNX file or package."""

import json
import os
import re
from pathlib import Path

from flowercls.core import layout
from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.core.terminal import silence_false_alarms
from flowercls.use.model import Model

CHECKPOINT_SUFFIXES, ONNX_SUFFIXES = ('.pth', '.pt'), ('.onnx', '.zip')


def load(
    path: str | os.PathLike, *, precision: str = 'auto', device: str | None = None, trusted: bool = False
) -> Model:
    """Open a trained model.

    Args:
        path: A run folder (its best checkpoint is opened), a checkpoint, an exported .onnx file, or a package (.zip).
        precision: ``'fp32'``, ``'bf16'``, or ``'auto'``: as in the run. An export computes in fp32.
        device: A torch device such as ``'cpu'`` or ``'cuda'``; None is the GPU if there is one, else the CPU.
        trusted: Open a checkpoint that needs pickle, or whose config imports modules of its own; both can run code.

    Raises:
        CheckpointError: if there is no such model, or its file is damaged.
        ConfigError: if ``precision`` is unknown, or the model's file has another one.

    Example:
        >>> model = flowercls.load('work_dirs/resnet50_flower')  # doctest: +SKIP
    """
    file = model_file(path)
    if file.suffix.lower() in ONNX_SUFFIXES:
        if precision == 'bf16':
            raise ConfigError(f'{file}: an export computes in fp32. Fix: leave --precision bf16 out.')
        from flowercls.use.onnx_model import OnnxModel

        return OnnxModel(file)
    silence_false_alarms()
    from flowercls.use.torch_model import TorchModel

    return TorchModel(file, precision=precision, device=device, trusted=trusted)


def model_file(path: str | os.PathLike) -> Path:
    """Return the file that MODEL stands for; nothing heavy is imported.

    Raises:
        CheckpointError: if there is none.
    """
    path = Path(path)
    if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises where the name is too long
        return best_checkpoint(path)
    if not os.path.exists(path):  # noqa: PTH110
        raise CheckpointError(
            f'{path}: no such run folder or file. Fix: name a run folder in work_dirs/, a checkpoint (.pth), an '
            'exported .onnx, or a package (.zip).'
        )
    if path.suffix.lower() not in (*CHECKPOINT_SUFFIXES, *ONNX_SUFFIXES):
        raise CheckpointError(
            f'{path}: is no model that can be used. Fix: name a run folder, a checkpoint (.pth), an exported .onnx, '
            'or a package (.zip).'
        )
    return path


def best_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint of a run folder, or the newest where the run was not validated.

    Raises:
        CheckpointError: if the folder holds none.
    """
    if (folder / layout.LEDGER_FILE).is_file():
        raise CheckpointError(
            f'{folder}: is a sweep, which has many models. Fix: name one of its runs, {folder / layout.TRIALS_DIR}/...'
        )
    best = {path.name: path for path in folder.glob('best_*_epoch_*.pth')}
    if (recorded := measured_checkpoint(folder)) in best:
        return best[recorded]
    if best:  # older than metrics.json, or copied without it
        return max(best.values(), key=_number)
    if newest := max(folder.glob('epoch_*.pth'), key=_number, default=None):
        return newest
    raise CheckpointError(
        f'{folder}: holds no checkpoint of a run. Fix: name a run folder in work_dirs/, or a file: a checkpoint '
        '(.pth), an exported .onnx, or a package (.zip).'
    )


def measured_checkpoint(folder: Path) -> str | None:
    """Return the name of the checkpoint that the metrics.json of a run is of; None if it does not say."""
    try:
        recorded = json.loads((folder / layout.METRICS_FILE).read_text(encoding='utf-8'))['checkpoint']
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return recorded if isinstance(recorded, str) else None


def _number(path: Path) -> int:
    number = re.search(r'(\d+)\.pth$', path.name)
    return int(number[1]) if number else -1
