"""Writing a checkpoint file: plain content, whole or not at all, with its SHA-256 beside it."""

import hashlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from flowercls.core.errors import DiskError
from flowercls.core.files import atomic_write, sha256_of, write_json
from flowercls.models.checkpoint_reader import sidecar_of

_PROGRESS = ('epoch', 'iter', 'batch_in_epoch', 'validation_pending')  # of ``meta``; stands beside the file as well


def write_checkpoint(path: str | Path, checkpoint: dict) -> None:
    """Write ``checkpoint``, and its SHA-256 beside it. A file of that name is replaced.

    Raises:
        DiskError: if the disk is full, may not be written to or does not keep its bytes; nothing is left behind then.
    """
    path, checkpoint = Path(path), to_plain(checkpoint)
    with atomic_write(path, 'wb') as file:
        hashing = _HashingFile(file)
        hashing.save(checkpoint)
        file.flush()
        if sha256_of(file.name) != hashing.digest.hexdigest():
            raise DiskError(f'{path}: the disk gave back other bytes than were written. Fix: another disk.')
        sidecar_of(path).unlink(missing_ok=True)  # of the file replaced now: a crash can come before the new one
    meta = checkpoint.get('meta', {})
    progress = {key: meta[key] for key in _PROGRESS if key in meta}
    write_json(sidecar_of(path), {'sha256': hashing.digest.hexdigest(), **progress})


class _HashingFile:
    """A file that knows the SHA-256 of all that was written into it; torch writes from the first byte to the last."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self._error = file, hashlib.sha256(), None

    def save(self, checkpoint: dict) -> None:
        """Save as `torch.save`, which turns the error of a disk into a RuntimeError about positions."""
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


def to_plain(value: Any) -> Any:
    """Return ``value`` with every container a plain dict or list, numpy scalars as numbers and tensors on the CPU."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    return value
