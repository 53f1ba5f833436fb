"""Reading a checkpoint file: its digest is verified, and no code in it is run."""

import errno
import json
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from flowercls.core.errors import CheckpointError
from flowercls.core.files import sha256_of

_UNPLAIN_OBJECT = re.compile(r'GLOBAL (\S+)')  # how torch names the function or class that a pickle asks for


def sidecar_of(path: Path) -> Path:
    """Return the file beside a checkpoint that holds its SHA-256 and the progress of its run."""
    return path.with_name(f'{path.name}.json')


def read_sidecar(path: Path) -> dict:
    """Return what is recorded beside a checkpoint; empty where nothing can be read."""
    try:
        content = json.loads(sidecar_of(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_checkpoint(path: str | Path, map_location: Any = 'cpu', *, trusted: bool = False) -> dict:
    """Read a checkpoint or a file of weights. No code in it is run.

    Args:
        path: The file.
        map_location: As in `torch.load`.
        trusted: Open a file that needs pickle, which runs the code that it may hold.

    Raises:
        CheckpointError: if the file is missing or damaged, or if it needs pickle and is not trusted.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise CheckpointError(
                f'{path}: no such file. Fix: check the path; finished runs keep theirs in work_dirs/.'
            )
        _check_digest(path)
        checkpoint = _load(path, map_location, trusted)
    except CheckpointError:
        raise
    except OSError as error:
        if error.errno == errno.EINVAL:  # torch looked for the end of an archive before its beginning
            raise CheckpointError(f'{path}: is damaged: its end is missing. Fix: copy or download it again.') from error
        raise CheckpointError(
            f'{path}: cannot be read ({error.strerror or error}). Fix: allow reading it, or use another file.'
        ) from error
    except ModuleNotFoundError as error:  # only in a trusted file
        raise CheckpointError(
            f'{path}: holds objects of the package {error.name}, which is not installed. Fix: install it, or use a '
            'file of weights only.'
        ) from error
    except pickle.UnpicklingError as error:
        if trusted or not _begins_as_pickle(path):
            raise CheckpointError(f'{path}: is not a checkpoint. Fix: use a .pth file.') from error
        asks_for = _UNPLAIN_OBJECT.search(str(error))
        what = f'it asks for {asks_for[1]}' if asks_for else 'it is a pickle of another kind than torch writes'
        raise CheckpointError(
            f'{path}: holds more than plain tensors, numbers and texts ({what}), so opening it could run code. '
            'Fix: use a file of weights only. If you trust the source of the file as you trust a program, add '
            '--trust-checkpoint: train and sweep take it for load_from, test, predict and export for their model.'
        ) from error
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).strip().split('\n')[0].partition('. ')[0][:160] or type(error).__name__
        raise CheckpointError(
            f'{path}: damaged, or not a checkpoint ({reason}). Fix: copy or download it again, or use another file.'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path}: holds a {type(checkpoint).__name__}, expected a dict. Fix: use another file.')
    if isinstance(meta := checkpoint.get('meta'), dict):
        meta.pop('config', None)  # mmengine would run it as a program when it resumes; our own files call it cfg
    return checkpoint


def _load(path: Path, map_location: Any, trusted: bool) -> Any:
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        if not trusted:
            raise
    return torch.load(path, map_location=map_location, weights_only=False)


def _begins_as_pickle(path: Path) -> bool:
    with path.open('rb') as file:
        if file.read(2) == b'PK':  # a zip archive, which holds a pickle
            return True
        file.seek(0)
        try:
            return next(pickletools.genops(file)) is not None
        except (ValueError, StopIteration):
            return False


def _check_digest(path: Path) -> None:
    expected = read_sidecar(path).get('sha256')
    if expected is None:  # no sidecar, or a .json of another program, which records nothing about the checkpoint
        _check_crc(path)
        return
    if (digest := sha256_of(path)) != expected:
        raise CheckpointError(
            f'{path}: damaged: its SHA-256 is {digest[:12]}…, {sidecar_of(path).name} recorded {expected[:12]}… when '
            'it was written. Fix: use another checkpoint of the run.'
        )


def _check_crc(path: Path) -> None:
    """Verify the checksums inside a zip archive, the format that torch writes; torch itself does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        return  # an older format, or damaged so that reading it fails
    if bad is not None:
        raise CheckpointError(f'{path}: damaged: the checksum of {bad} in it is wrong. Fix: use another file.')


def read_progress(path: Path) -> tuple[float, int]:
    """Return (steps, complete epochs) of a checkpoint's run, from its sidecar or from the file; else (inf, 0)."""
    recorded = read_sidecar(path)
    if not isinstance(recorded.get('iter'), int):
        try:
            recorded = dict(torch.load(path, map_location='meta', mmap=True, weights_only=True)['meta'])
        except Exception:  # a damaged file can fail in any way
            return float('inf'), 0
    steps, epochs = recorded.get('iter'), recorded.get('epoch')
    return (steps, epochs) if isinstance(steps, int) and isinstance(epochs, int) else (float('inf'), 0)


def class_names_in(checkpoint: dict) -> list[str] | None:
    """Return the classes that a checkpoint was trained for, or None where it does not name them."""
    names = checkpoint
    for key in ('meta', 'dataset_meta', 'classes'):  # a file of another program may hold anything under these names
        names = names.get(key) if isinstance(names, dict) else None
    return [str(name) for name in names] if names and isinstance(names, list | tuple) else None
