"""The only door to .pth files: one function writes a checkpoint, one reads it.

A checkpoint holds plain tensors, numbers, strings, lists and dicts, so it loads with ``weights_only=True`` and no
allow-list, here and in mmpretrain's own tools. A file appears under its name whole or not at all, with its SHA-256 in
``<file>.json`` beside it, and is never rewritten. A file of somebody else that holds more is opened only on request.
"""

import hashlib
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from flowercls.engine.checkpoint_files import recorded, set_aside, sidecar_of
from flowercls.errors import CheckpointError, DiskError
from flowercls.files import sha256_of, write_json, write_whole

STANDS = ('epoch', 'iter', 'batch_in_epoch', 'validation_pending')  # of a checkpoint's meta: where the run stood

_WANTED = re.compile(r'GLOBAL (\S+)')  # how torch names the function or class that a pickle asks for


def write_checkpoint(path: str | Path, checkpoint: dict) -> None:
    """Write ``checkpoint`` to a new file and its SHA-256 beside it.

    A damaged file of that name is kept under another one.

    Raises:
        DiskError: if the disk is full, may not be written to or does not keep its bytes; nothing is left behind then.
    """
    path, checkpoint = Path(path), to_plain(checkpoint)
    set_aside(path)
    with write_whole(path, 'wb') as file:
        hashed = _Hashed(file)
        hashed.save(checkpoint)
        file.flush()
        if sha256_of(file.name) != hashed.digest.hexdigest():
            raise DiskError(f'{path}: the disk gave back other bytes than were written. Fix: another disk.')
    meta = checkpoint.get('meta', {})
    stands = {key: meta[key] for key in STANDS if key in meta}
    write_json(sidecar_of(path), {'sha256': hashed.digest.hexdigest(), **stands})


class _Hashed:
    """A file that knows the SHA-256 of all that was written into it; torch writes from the first byte to the last."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self._error = file, hashlib.sha256(), None

    def save(self, checkpoint: dict) -> None:
        """As `torch.save`, which turns what the disk says into a RuntimeError about positions."""
        try:
            torch.save(checkpoint, self)
        except RuntimeError:
            if self._error is not None:
                raise self._error from None
            raise

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self._error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def read_checkpoint(path: str | Path, map_location: Any = 'cpu', *, trusted: bool = False) -> dict:
    """Read a checkpoint or a file of weights; no code in it is run.

    Args:
        path: The file.
        map_location: As `torch.load`.
        trusted: If it holds more than plain data, open it all the same, which runs the code that it may hold.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds more than plain data and is not trusted.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path}: no such file. Fix: check the path; finished runs keep theirs in work_dirs/.')
    try:
        _check_digest(path)
        checkpoint = _load(path, map_location, trusted)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(
            f'{path}: cannot be read ({error.strerror or error}). Fix: allow reading it, or use another file.'
        ) from error
    except ModuleNotFoundError as error:  # only of one that is trusted
        raise CheckpointError(
            f'{path}: holds objects of the package {error.name}, which is not installed. Fix: install it, or use a '
            'file of weights only.'
        ) from error
    except pickle.UnpicklingError as error:
        if trusted or not _begins_as_pickle(path):
            raise CheckpointError(f'{path}: is not a checkpoint. Fix: use a .pth file.') from error
        raise CheckpointError(
            f'{path}: holds more than plain tensors, numbers and texts ({_wanted(error)}), so opening it could run '
            'code. Fix: use a file of weights only; or, if you would run a program of whoever made it, add '
            '--trust-checkpoint, which tools/train.py takes for load_from and tools/test.py for its checkpoint.'
        ) from error
    except Exception as error:  # a damaged file can fail in any way; 1 of 30 random ones does in a new one
        raise CheckpointError(
            f'{path}: damaged, or not a checkpoint ({_first(error)}). Fix: use another file.'
        ) from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f'{path}: holds a {type(checkpoint).__name__}, expected a dict. Fix: use another file.')
    if isinstance(meta := checkpoint.get('meta'), dict):
        meta.pop('config', None)  # mmengine would run it as a program when it resumes; what we write is called cfg
    return checkpoint


def _load(path: Path, map_location: Any, trusted: bool) -> Any:
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        if not trusted:
            raise
    return torch.load(path, map_location=map_location, weights_only=False)


def _wanted(error: Exception) -> str:
    """What a file asked for that plain data does not need."""
    found = _WANTED.search(str(error))
    return f'it asks for {found[1]}' if found else 'it is a pickle of another kind than torch writes'


def _begins_as_pickle(path: Path) -> bool:
    with path.open('rb') as file:
        if file.read(2) == b'PK':  # a zip archive, which holds a pickle
            return True
        file.seek(0)
        try:
            return next(pickletools.genops(file)) is not None
        except (ValueError, StopIteration):
            return False


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


def _check_digest(path: Path) -> None:
    sidecar = sidecar_of(path)
    expected = recorded(path).get('sha256')
    if expected is None:  # none, or somebody else's .json, which promises nothing about the checkpoint
        _check_crc(path)
        return
    if (found := sha256_of(path)) != expected:
        raise CheckpointError(
            f'{path}: damaged: its SHA-256 is {found[:12]}…, {sidecar.name} recorded {expected[:12]}… when it was '
            'written. Fix: use another checkpoint of the run.'
        )


def _check_crc(path: Path) -> None:
    """Look at the checksums that a zip archive, which is what torch writes, has of its parts; torch does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        return  # of an older format, or so damaged that reading it fails
    if bad is not None:
        raise CheckpointError(f'{path}: damaged: {bad} in it has another checksum. Fix: use another file.')


def stands_at(path: Path) -> tuple[float, int]:
    """Steps and complete epochs of a checkpoint's run, as recorded beside it or in it; inf and 0 where neither says."""
    stands = recorded(path)
    if not isinstance(stands.get('iter'), int):
        try:
            stands = dict(torch.load(path, map_location='meta', mmap=True, weights_only=True)['meta'])
        except Exception:  # a damaged file can fail in any way
            return float('inf'), 0
    steps, epochs = stands.get('iter'), stands.get('epoch')
    return (steps, epochs) if isinstance(steps, int) and isinstance(epochs, int) else (float('inf'), 0)


def _first(error: Exception) -> str:
    return str(error).strip().split('\n')[0][:160] or type(error).__name__
