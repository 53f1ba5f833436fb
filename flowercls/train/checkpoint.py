"""Checkpoints as files, each with what is recorded of it beside it: second names, other names, removal.

Nothing here opens a checkpoint; see `checkpoint`.

The only door to .pth files: one function writes a checkpoint, one reads it.

A checkpoint holds plain tensors, numbers, strings, lists and dicts, so it loads with ``weights_only=True`` and no
allow-list, here and in mmpretrain's own tools. A file appears under its name whole or not at all, with its SHA-256 in
``<file>.json`` beside it, and is never rewritten. A file of somebody else that holds more is opened only on request.

What a run needs to go on: collected for a checkpoint, and given back.

When checkpoints are written, which is the best, and which may go.
"""

import functools
import hashlib
import math
import pickle
import pickletools
import re
import shutil
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_distributed, master_only
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

import flowercls
from flowercls.config.dump import dump_config
from flowercls.core.distributed import unwrapped
from flowercls.core.errors import CheckpointError, ConfigError, DiskError, DivergedError
from flowercls.core.files import atomic_write, sha256_of, write_json
from flowercls.core.terminal import as_size
from flowercls.train.checkpoint_files import link_checkpoint, recorded, remove_checkpoint, set_aside, sidecar_of

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
    with atomic_write(path, 'wb') as file:
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


# What of mmengine's message hub a resumed run needs; the rest is derived again or is log history. `epoch_summary` is of
# an epoch that is trained and not validated yet.
_HUB_KEYS = ('best_score', 'best_epoch', 'best_checkpoint', 'last_top1', 'epoch_summary')


@dataclass(frozen=True, order=True)
class Position:
    """Where a run stands.

    Attributes:
        epoch: Complete epochs.
        iter: Steps in all.
        batch_in_epoch: Steps of the epoch that is not complete.
        validation_pending: Whether the last complete epoch is still to be validated.
    """

    epoch: int
    iter: int
    batch_in_epoch: int = 0
    validation_pending: bool = False


def position_in(checkpoint: dict) -> Position:
    """Where the run of a checkpoint stood."""
    meta = checkpoint['meta']
    return Position(**{field.name: meta[field.name] for field in fields(Position) if field.name in meta})


def collect_checkpoint(runner, position: Position) -> dict:
    """What a run needs to be continued or tested: weights, optimizer, schedulers, and where it stands.

    Args:
        runner: An mmengine Runner in training.
        position: Where it stands.
    """
    hub = runner.message_hub.runtime_info
    checkpoint = {
        'meta': _meta(runner, position),
        'state_dict': unwrapped(runner.model).state_dict(),
        'message_hub': {
            'log_scalars': {},
            'runtime_info': {key: hub[key] for key in _HUB_KEYS if key in hub},
            'resumed_keys': {},
        },
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
        'gradients': _gradients_in_waiting(runner),
    }
    runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)  # an EMAHook puts its averages in here
    return checkpoint


def _gradients_in_waiting(runner) -> dict[str, torch.Tensor]:
    """Of accumulated batches, between two steps of the optimizer; none where every batch is a step."""
    if is_distributed() or runner.optim_wrapper.should_update():  # each of several processes has its own
        return {}
    return {name: p.grad for name, p in unwrapped(runner.model).named_parameters() if p.grad is not None}


def restore_gradients(model: torch.nn.Module, gradients: dict[str, torch.Tensor]) -> None:
    """Give parameters the gradients that a checkpoint has of accumulated batches."""
    parameters = dict(model.named_parameters())
    for name, gradient in gradients.items():
        parameters[name].grad = gradient.to(parameters[name].device)


@functools.lru_cache(maxsize=1)
def _text_of(cfg: Config) -> str:
    """Written once: laying it out takes a fifth of a second, and nothing changes the config of a run in training."""
    return dump_config(cfg)


def _meta(runner, position: Position) -> dict:
    return {
        **asdict(position),
        'seed': runner.seed,
        'dataset_meta': {'classes': list(runner.train_dataloader.dataset.metainfo['classes'])},
        'data_manifest': runner.cfg.get('data_manifest'),
        'cfg': _text_of(runner.cfg),
        'mmengine_version': mmengine.__version__,
        'torch_version': str(torch.__version__),
        'flowercls_version': flowercls.__version__,
    }


def class_names_of(checkpoint: dict) -> list[str] | None:
    """The classes a checkpoint was trained for, or None where it does not say."""
    said = checkpoint
    for key in ('meta', 'dataset_meta', 'classes'):  # a file of somebody else may have anything under these names
        said = said.get(key) if isinstance(said, dict) else None
    return [str(name) for name in said] if said and isinstance(said, list | tuple) else None


pass
pass

pass


LEAST_KEPT = 2


@HOOKS.register_module()
class WholeCheckpointHook(Hook):
    """Writes ``epoch_N.pth`` after the epoch's validation, and the best one also as ``best_<metric>_epoch_N.pth``.

    A file is written once and whole; an older one goes only after the newer one is safe. The best checkpoint is the
    same file under a second name, so it can be resumed from as well as tested. ``last_checkpoint`` names the newest.

    Args:
        interval: Epochs between checkpoints; the last epoch is always written, a new best one too.
        max_keep_ckpts: How many ``epoch_N.pth`` to keep; -1 keeps all. Two at least are kept: should the newest turn
            out to be damaged, there is another to go on from.
        save_best: Metric to judge by, e.g. ``'accuracy/top1'``; None keeps no best.
        rule: ``'greater'`` or ``'less'``: which value of the metric is better. Of equal ones the earlier epoch wins.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        max_keep_ckpts: int = 2,
        save_best: str | None = 'accuracy/top1',
        rule: str = 'greater',
    ) -> None:
        if rule not in ('greater', 'less'):
            raise ConfigError(f"default_hooks.checkpoint.rule is {rule!r}. Fix: 'greater' or 'less'.")
        self.interval = interval
        self.max_keep_ckpts = max_keep_ckpts
        self.save_best = save_best
        self.rule = rule
        self._written: set[Path] = set()  # by this process: another file of the name may be a damaged one

    @master_only
    def before_train(self, runner) -> None:
        """Look whether the disk has room for the checkpoints that are kept at the least.

        Raises:
            DiskError: with how much is needed.
        """
        needed, free = LEAST_KEPT * _expected_bytes(runner), shutil.disk_usage(runner.work_dir).free
        if free < needed:
            raise DiskError(
                f'{runner.work_dir}: {LEAST_KEPT} checkpoints take about {as_size(needed)}, {as_size(free)} are free. '
                'Fix: free some space, or another --work-dir.'
            )

    def after_train_epoch(self, runner) -> None:
        """Write the checkpoint of an epoch that is not validated."""
        if not is_validated(runner, runner.epoch + 1):
            self._save(runner, epoch=runner.epoch + 1, is_best=False)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the checkpoint of a validated epoch, so that it knows how good it is."""
        if runner.epoch > 0:
            runner.message_hub.update_info('last_top1', (metrics or {}).get('accuracy/top1'))
            try:
                is_best = self._note_if_best(runner, metrics or {})
            except ConfigError:
                self._save(runner, epoch=runner.epoch, is_best=False)  # the epoch itself was fine
                raise
            self._save(runner, epoch=runner.epoch, is_best=is_best)

    def _note_if_best(self, runner, metrics: dict) -> bool:
        if self.save_best is None:
            return False
        if self.save_best not in metrics:
            raise ConfigError(
                f'default_hooks.checkpoint.save_best is {self.save_best!r}, which validation does not report; it '
                f'reports {", ".join(metrics)}. Fix: choose one of these.'
            )
        score, hub = float(metrics[self.save_best]), runner.message_hub
        best = hub.runtime_info.get('best_score')
        is_better = best is None or (score > best if self.rule == 'greater' else score < best)
        if not (is_better and math.isfinite(score)):
            return False
        hub.update_info('best_score', score)
        hub.update_info('best_epoch', runner.epoch)
        hub.update_info('best_checkpoint', f'{self.best_prefix}{runner.epoch}.pth')
        return True

    @property
    def best_prefix(self) -> str:
        """What the name of a best checkpoint begins with."""
        return f'best_{str(self.save_best).replace("/", "_")}_epoch_'

    @master_only
    def _save(self, runner, epoch: int, is_best: bool) -> None:
        is_last = epoch == runner.max_epochs or runner.train_loop.stop_training
        if not (is_best or is_last or epoch % self.interval == 0):
            return
        folder = Path(runner.work_dir)
        path = folder / f'epoch_{epoch}.pth'
        self._write(runner, path, Position(epoch, runner.iter))
        if is_best:
            publish_best(path, runner.message_hub.get_info('best_checkpoint'))
        point_to(path)
        self._remove_old(folder, keep=path)

    @master_only
    def save_position(self, runner) -> Path | None:
        """Write ``iter_N.pth`` where the run stands, unless it can go on from there already.

        Returns:
            What it can go on from; None where no step was taken.
        """
        position, folder = runner.train_loop.position, Path(runner.work_dir)
        complete = folder / f'epoch_{position.epoch}.pth'
        if position.batch_in_epoch == 0 and complete in self._written:
            return complete
        path = folder / f'iter_{position.iter}.pth'
        if path not in self._written:
            self._write(runner, path, position)
            point_to(path)
        return path

    def _write(self, runner, path: Path, position: Position) -> None:
        checkpoint = collect_checkpoint(runner, position)
        _check_finite(checkpoint['state_dict'], position.epoch)
        write_checkpoint(path, checkpoint)
        self._written.add(path)

    def _remove_old(self, folder: Path, keep: Path) -> None:
        for _, path in _numbered(folder, 'iter_'):
            remove_checkpoint(path)  # of an interruption before this epoch was complete
        if self.max_keep_ckpts < 0:
            return
        files = epoch_checkpoints(folder)
        # Newer ones are damaged: this run went on from one before them.
        for path in files[files.index(keep) :][max(self.max_keep_ckpts, LEAST_KEPT) :]:
            remove_checkpoint(path)


def checkpoint_hook(runner) -> WholeCheckpointHook | None:
    """The one that a run has, if any."""
    return next((hook for hook in runner.hooks if isinstance(hook, WholeCheckpointHook)), None)


def save_position(runner) -> Path | None:
    """Let the run's `WholeCheckpointHook` save where the run stands; None where it has none, or cannot go on there.

    Before the first step there is nothing to save: what is being loaded may be there by halves.
    """
    hook, has_trained = checkpoint_hook(runner), getattr(runner.train_loop, 'has_trained', False)
    return hook.save_position(runner) if hook is not None and has_trained and runner.world_size == 1 else None


def _expected_bytes(runner) -> int:
    """Of a checkpoint: all weights, and for each that is trained the two averages that an optimizer keeps at most."""
    state = unwrapped(runner.model).state_dict().values()
    trained = (p for group in runner.optim_wrapper.param_groups for p in group['params'])
    return sum(value.nbytes for value in state) + 2 * sum(p.nbytes for p in trained)


def point_to(path: Path) -> None:
    """Name ``path`` as the newest checkpoint of its run."""
    with atomic_write(path.with_name('last_checkpoint')) as file:
        file.write(path.name)


def publish_best(path: Path, name: str) -> None:
    """Give the checkpoint ``path`` a second name, and remove the best ones by that metric which it supersedes."""
    link_checkpoint(path, path.with_name(name))
    stem, _, epoch = name.removesuffix('.pth').rpartition('_')
    for number, older in _numbered(path.parent, f'{stem}_'):
        if number < int(epoch):
            remove_checkpoint(older)


def _check_finite(state_dict: dict[str, torch.Tensor], epoch: int) -> None:
    bad = [name for name, value in state_dict.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise DivergedError(
            f'epoch {epoch}: {len(bad)} of {len(state_dict)} weights and statistics are no numbers any more, first '
            f'{bad[0]}. Nothing of this epoch was saved. Fix: a lower learning rate (optim_wrapper.optimizer.lr), or '
            'optim_wrapper.clip_grad=dict(max_norm=1.0).'
        )


def epoch_checkpoints(folder: str | Path) -> list[Path]:
    """The files ``epoch_N.pth`` in ``folder``, newest epoch first."""
    return [path for _, path in sorted(_numbered(Path(folder), 'epoch_'), reverse=True)]


def _numbered(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    numbered = [(path.stem.removeprefix(prefix), path) for path in folder.glob(f'{prefix}*.pth')]
    return [(int(number), path) for number, path in numbered if number.isdecimal()]


def is_validated(runner, epoch: int) -> bool:
    """Whether the complete epoch number ``epoch`` is validated, as mmengine's EpochBasedTrainLoop decides it."""
    return (
        runner.val_loop is not None
        and epoch >= runner.val_begin
        and (epoch % runner.val_interval == 0 or epoch == runner.max_epochs)
    )
