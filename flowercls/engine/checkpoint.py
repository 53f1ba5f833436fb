"""The only door to .pth files: one function writes a checkpoint, one reads it, one collects what goes in.

A checkpoint holds plain tensors, numbers, strings, lists and dicts, so it loads with ``weights_only=True`` and no
allow-list, here and in mmpretrain's own tools. A file appears under its name whole or not at all, with its SHA-256 in
``<file>.json`` beside it, and is never rewritten.
"""

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch

import flowercls
from flowercls.config.resolved import resolved_text
from flowercls.engine.distributed import unwrapped
from flowercls.errors import CheckpointError
from flowercls.files import disk_errors, sha256_of, sync_folder, write_json, write_whole

# What of mmengine's message hub a resumed run needs; the rest is derived again or is log history.
_HUB_KEYS = ('epoch', 'iter', 'max_epochs', 'max_iters', 'best_score', 'best_epoch', 'best_checkpoint', 'last_top1')

# Names that write_whole and link_checkpoint use on the way, with the number of their process.
_HALF_WRITTEN = re.compile(r'\.(best_.+_)?epoch_\d+\.pth(\.json)?\.\d+\.tmp')


def write_checkpoint(path: str | Path, checkpoint: dict) -> None:
    """Write ``checkpoint`` to a new file and its SHA-256 beside it.

    Raises:
        DiskError: if the disk is full or may not be written to; nothing is left behind then.
    """
    path, checkpoint = Path(path), to_plain(checkpoint)
    with write_whole(path, 'wb') as file:
        torch.save(checkpoint, file)
    meta = checkpoint.get('meta', {})
    write_json(_sidecar(path), {'sha256': sha256_of(path), 'epoch': meta.get('epoch'), 'iter': meta.get('iter')})


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict:
    """Read a checkpoint or a file of weights; no code in it is run.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds more than plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path}: no such file. Fix: check the path; finished runs keep theirs in work_dirs/.')
    _check_digest(path)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'{path}: holds more than plain tensors, numbers and texts, so opening it could run code. '
            f"Fix: use a file of weights only; those of mmengine's own CheckpointHook are not ({_first(error)})."
        ) from error
    except Exception as error:  # a damaged file can fail in any way; 1 of 30 random ones does in a new one
        raise CheckpointError(
            f'{path}: damaged, or not a checkpoint ({_first(error)}). Fix: use another file.'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path}: holds a {type(checkpoint).__name__}, expected a dict. Fix: use another file.')
    return checkpoint


def link_checkpoint(source: str | Path, target: str | Path) -> None:
    """Publish the complete file ``source`` under a second name, without a second copy where the disk allows links.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    source, target = Path(source), Path(target)
    with disk_errors(target):
        _link(source, target)
        if _sidecar(source).is_file():  # a crash can come between the two
            _link(_sidecar(source), _sidecar(target))
        sync_folder(target.parent)


def _link(old: Path, new: Path) -> None:
    temporary = new.with_name(f'.{new.name}.{os.getpid()}.tmp')
    temporary.unlink(missing_ok=True)  # of a killed process with this one's number; copying would write into it
    try:
        os.link(old, temporary)
    except OSError:
        shutil.copyfile(old, temporary)
    temporary.replace(new)
    temporary.unlink(missing_ok=True)  # where both are one file already, replacing does nothing


def remove_checkpoint(path: str | Path) -> None:
    """Remove a checkpoint and its digest; a missing one is fine."""
    Path(path).unlink(missing_ok=True)
    _sidecar(Path(path)).unlink(missing_ok=True)


def remove_half_written(folder: str | Path) -> None:
    """Remove what killed processes left of checkpoints; only for who knows that none is being written."""
    for path in Path(folder).glob('.*.tmp'):
        if _HALF_WRITTEN.fullmatch(path.name):
            path.unlink(missing_ok=True)


def collect_checkpoint(runner, epoch: int) -> dict:
    """What a run needs to be continued or tested: weights, optimizer, schedulers, and where it stands.

    Args:
        runner: An mmengine Runner in training.
        epoch: Complete epochs so far.
    """
    hub = runner.message_hub.runtime_info
    checkpoint = {
        'meta': _meta(runner, epoch),
        'state_dict': unwrapped(runner.model).state_dict(),
        'message_hub': {
            'log_scalars': {},
            'runtime_info': {key: hub[key] for key in _HUB_KEYS if key in hub},
            'resumed_keys': {},
        },
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
    }
    runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)  # an EMAHook puts its averages in here
    return checkpoint


def _meta(runner, epoch: int) -> dict:
    return {
        'epoch': epoch,
        'iter': epoch * len(runner.train_dataloader),
        'batch_in_epoch': 0,
        'seed': runner.seed,
        'dataset_meta': {'classes': list(runner.train_dataloader.dataset.metainfo['classes'])},
        'data_manifest': runner.cfg.get('data_manifest'),
        'cfg': resolved_text(runner.cfg),
        'mmengine_version': mmengine.__version__,
        'torch_version': str(torch.__version__),
        'flowercls_version': flowercls.__version__,
    }


def to_plain(value: Any) -> Any:
    """``value`` with every container a plain dict or list, numpy scalars as numbers and tensors on the CPU."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    return value


def class_names_of(checkpoint: dict) -> list[str] | None:
    """The classes a checkpoint was trained for, or None where it does not say."""
    classes = checkpoint.get('meta', {}).get('dataset_meta', {}).get('classes')
    return list(classes) if classes else None


def _check_digest(path: Path) -> None:
    sidecar = _sidecar(path)
    if not sidecar.is_file():
        return
    try:
        expected = json.loads(sidecar.read_text(encoding='utf-8'))['sha256']
    except (ValueError, KeyError, TypeError):
        return  # somebody else's .json: it promises nothing about the checkpoint
    if (found := sha256_of(path)) != expected:
        raise CheckpointError(
            f'{path}: damaged: its SHA-256 is {found[:12]}…, {sidecar.name} recorded {expected[:12]}… when it was '
            'written. Fix: use another checkpoint of the run.'
        )


def _sidecar(path: Path) -> Path:
    return path.with_name(f'{path.name}.json')


def _first(error: Exception) -> str:
    return str(error).strip().split('\n')[0][:160] or type(error).__name__
