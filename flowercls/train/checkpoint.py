"""The checkpoints of a run: what they hold, when they are written, which is the best and which may go.

A checkpoint holds plain tensors, numbers, strings, lists and dicts. So it loads with ``weights_only=True``, here and in
mmpretrain's own tools. A file appears under its name whole or not at all, with its SHA-256 in ``<file>.json`` beside
it, and is never rewritten.
"""

import functools
import math
import os
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import mmengine
import torch
from mmengine.dist import is_distributed, is_main_process, master_only
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

import flowercls
from flowercls.config.dump import dump_config
from flowercls.core.distributed import unwrapped
from flowercls.core.errors import ConfigError, DiskError, DivergedError
from flowercls.core.files import atomic_write, disk_errors, sync_folder, write_json
from flowercls.core.layout import (
    LAST_CHECKPOINT_FILE,
    METRICS_FILE,
    MISTAKES_FILE,
    PREDICTIONS_VAL_FILE,
    PREDICTIONS_VAL_LAST_FILE,
    best_prefix,
    epoch_checkpoint,
    iter_checkpoint,
)
from flowercls.core.prepared_folder import value_range
from flowercls.core.terminal import as_size
from flowercls.evaluate.mm_metric import ClassificationReport
from flowercls.models.checkpoint_reader import sidecar_of
from flowercls.models.checkpoint_writer import write_checkpoint

MIN_KEPT = 2  # should the newest checkpoint turn out to be damaged, there is another one to resume from


@dataclass(frozen=True, order=True)
class TrainingProgress:
    """How far a run has come.

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

    @classmethod
    def in_checkpoint(cls, checkpoint: dict) -> 'TrainingProgress':
        """Return the progress that a checkpoint records."""
        meta = checkpoint['meta']
        return cls(**{field.name: meta[field.name] for field in fields(cls) if field.name in meta})


@dataclass(frozen=True)
class RunState:
    """What a run knows of its validated epochs.

    Attributes:
        best_score: The metric of the best epoch; None without one, as the two below.
        best_epoch: Its number.
        best_checkpoint: Name of its file.
        last_top1: Top-1 of the last validated epoch in percent.
    """

    best_score: float | None = None
    best_epoch: int | None = None
    best_checkpoint: str | None = None
    last_top1: float | None = None

    @classmethod
    def in_checkpoint(cls, checkpoint: dict) -> 'RunState':
        """Return the state that a checkpoint records; older versions kept it in mmengine's message hub."""
        recorded = checkpoint.get('run_state')
        if recorded is None:
            recorded = checkpoint.get('message_hub', {}).get('runtime_info') or {}
        return cls(**{field.name: recorded[field.name] for field in fields(cls) if field.name in recorded})


def set_aside(path: Path) -> None:
    """Rename a file that has the name already; it is damaged, as a run resumes from the newest one that is not."""
    number = 1
    while path.exists():
        aside = path.with_name(f'{path.name}.damaged{number if number > 1 else ""}')
        if not aside.exists():
            path.rename(aside)
            if sidecar_of(path).exists():  # until the new one is written, it would describe the new file
                sidecar_of(path).rename(sidecar_of(aside))
        number += 1


def link_checkpoint(source: str | Path, target: str | Path) -> None:
    """Publish the complete file ``source`` under a second name, without a second copy where the disk allows links.

    Raises:
        DiskError: if the disk is full or may not be written to.
    """
    source, target = Path(source), Path(target)
    with disk_errors(target):
        if not (target.exists() and target.samefile(source)):
            sidecar_of(target).unlink(missing_ok=True)  # of the file replaced here: a crash can come before the new one
        _link(source, target)
        if sidecar_of(source).is_file():
            _link(sidecar_of(source), sidecar_of(target))
        sync_folder(target.parent)


def _link(old: Path, new: Path) -> None:
    temporary = new.with_name(f'.{new.name}.{os.getpid()}.tmp')
    temporary.unlink(missing_ok=True)  # of a killed process with this one's number; copying would write into it
    try:
        try:
            os.link(old, temporary)
        except OSError:
            shutil.copyfile(old, temporary)
        temporary.replace(new)
    finally:
        temporary.unlink(missing_ok=True)  # also where both are one file already: replacing does nothing then


def remove_checkpoint(path: str | Path) -> None:
    """Remove a checkpoint and its sidecar; a missing one is fine."""
    # In this order: a sidecar must never describe a file that gets the name later.
    sidecar_of(Path(path)).unlink(missing_ok=True)
    Path(path).unlink(missing_ok=True)


def publish_best(path: Path, name: str) -> None:
    """Give the checkpoint ``path`` a second name, and remove the earlier best ones by the same metric."""
    link_checkpoint(path, path.with_name(name))
    stem, _, epoch = name.removesuffix('.pth').rpartition('_')
    for number, older in _numbered(path.parent, f'{stem}_'):
        if number < int(epoch):
            remove_checkpoint(older)


def write_last_checkpoint(path: Path) -> None:
    """Name ``path`` as the newest checkpoint of its run."""
    with atomic_write(path.with_name(LAST_CHECKPOINT_FILE)) as file:
        file.write(path.name)


def epoch_checkpoints(folder: str | Path) -> list[Path]:
    """Return the files ``epoch_N.pth`` in ``folder``, newest epoch first."""
    return [path for _, path in sorted(_numbered(Path(folder), 'epoch_'), reverse=True)]


def _numbered(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    numbered = [(path.stem.removeprefix(prefix), path) for path in folder.glob(f'{prefix}*.pth')]
    return [(int(number), path) for number, path in numbered if number.isdecimal()]


def collect_checkpoint(runner, progress: TrainingProgress, state: RunState) -> dict:
    """Return what a run needs to be resumed or tested.

    Args:
        runner: An mmengine Runner in training.
        progress: How far it has come.
        state: What it knows of its validated epochs.
    """
    model = unwrapped(runner.model)
    checkpoint = {
        'meta': {
            **asdict(progress),
            'seed': runner.seed,
            'dataset_meta': {'classes': list(runner.train_dataloader.dataset.metainfo['classes'])},
            'data_manifest': runner.cfg.get('data_manifest'),
            'value_range': _value_range(str(runner.cfg.get('data_root')), runner.cfg.get('data_manifest')),
            'cfg': dump_config(runner.cfg),
            'mmengine_version': mmengine.__version__,
            'torch_version': str(torch.__version__),
            'flowercls_version': flowercls.__version__,
        },
        'run_state': asdict(state),
        'state_dict': model.state_dict(),
        'message_hub': {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}},  # mmengine asks for it
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
        'gradients': {},
    }
    if not is_distributed() and not runner.optim_wrapper.should_update():  # batches are accumulated
        checkpoint['gradients'] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)  # an EMAHook adds its averages here
    return checkpoint


@functools.cache  # a manifest is long
def _value_range(data_root: str, digest: str | None) -> dict[str, list[float]]:
    return value_range(data_root) if digest else {}


@HOOKS.register_module()
class WholeCheckpointHook(Hook):
    """Writes ``epoch_N.pth`` after each epoch; the best one also as ``best_<metric>_epoch_N.pth``, with its results.

    The scores of the last epoch are written once it is over.

    The training loop of this package calls `finish_epoch` itself. Under the loop of mmengine it works as a hook.
    A file is written once and whole; an older one goes only after the newer one is safe. The best checkpoint is the
    same file under a second name, so it can be resumed from as well as tested.

    Args:
        interval: Epochs between checkpoints. The last epoch and a new best one are always written.
        max_keep_ckpts: Number of ``epoch_N.pth`` to keep, at least two; -1 keeps all.
        save_best: Metric to judge by, e.g. ``'accuracy/top1'``; None keeps no best.
        rule: ``'greater'`` or ``'less'``: which value of the metric is better. Of equal ones the earlier epoch wins.

    Attributes:
        state: What the run knows of its validated epochs.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int, max_keep_ckpts: int, save_best: str | None, rule: str) -> None:
        if rule not in ('greater', 'less'):
            raise ConfigError(f"default_hooks.checkpoint.rule is {rule!r}. Fix: 'greater' or 'less'.")
        self.interval = interval
        self.max_keep_ckpts = max_keep_ckpts
        self.save_best = save_best
        self.rule = rule
        self.state = RunState()
        self._written: set[Path] = set()  # by this process: an earlier file of the name may be damaged

    def resume(self, state: RunState) -> None:
        """Go on from the state of a resumed run."""
        self.state = state

    @master_only
    def check_disk_space(self, runner) -> None:
        """Raise a `DiskError` unless the disk has room for two checkpoints."""
        state = unwrapped(runner.model).state_dict().values()
        trained = (p for group in runner.optim_wrapper.param_groups for p in group['params'])
        # An optimizer keeps at most two averages of a weight.
        num_bytes = sum(value.nbytes for value in state) + 2 * sum(p.nbytes for p in trained)
        needed, free = MIN_KEPT * num_bytes, shutil.disk_usage(runner.work_dir).free
        if free < needed:
            raise DiskError(
                f'{runner.work_dir}: {MIN_KEPT} checkpoints take about {as_size(needed)}, {as_size(free)} are free. '
                'Fix: free some space, or another --work-dir.'
            )

    def finish_epoch(self, runner, epoch: int, metrics: dict | None) -> bool:
        """Write all that a complete epoch leaves, in this order; a start after a kill completes what is missing.

        Args:
            runner: The Runner.
            epoch: Complete epochs.
            metrics: What validation reports; None if the epoch is not validated.

        Returns:
            Whether the epoch is the best so far.

        Raises:
            ConfigError: if validation does not report ``save_best``; the epoch's checkpoint is written then.
        """
        is_best = self._update_state(epoch, metrics)
        is_last = epoch == runner.max_epochs or runner.train_loop.stop_training
        if is_main_process() and (is_best or is_last or epoch % self.interval == 0):
            path = Path(runner.work_dir, epoch_checkpoint(epoch))
            # Of the end of a run that now goes on. It goes first: a missing file is completed, an outdated one is not.
            path.with_name(PREDICTIONS_VAL_LAST_FILE).unlink(missing_ok=True)
            self._write(runner, path, TrainingProgress(epoch, runner.iter))
            if is_best:
                publish_best(path, self.state.best_checkpoint)
                write_results(runner, self.state)
            if is_last and metrics is not None:
                write_last_predictions(runner)
            write_last_checkpoint(path)
            self._remove_old(path)
        if metrics is not None and self.save_best not in (None, *metrics):
            raise ConfigError(
                f'default_hooks.checkpoint.save_best is {self.save_best!r}, which validation does not report; it '
                f'reports {", ".join(metrics)}. Fix: choose one of these.'
            )
        return is_best

    def _update_state(self, epoch: int, metrics: dict | None) -> bool:
        """Note the figures of an epoch; return whether it is the best so far."""
        if metrics is None:
            return False
        self.state = replace(self.state, last_top1=metrics.get('accuracy/top1'))
        score, best = float(metrics.get(self.save_best, math.nan)), self.state.best_score
        is_better = best is None or (score > best if self.rule == 'greater' else score < best)
        if not (is_better and math.isfinite(score)):
            return False
        name = f'{self.best_prefix}{epoch}.pth'
        self.state = replace(self.state, best_score=score, best_epoch=epoch, best_checkpoint=name)
        return True

    @property
    def best_prefix(self) -> str:
        """The beginning of the name of a best checkpoint."""
        return best_prefix(str(self.save_best))

    def save_interrupted(self, runner) -> Path | None:
        """Write ``iter_N.pth`` between two steps, unless the last epoch's checkpoint has the same progress.

        Returns:
            The checkpoint to resume from; None where this start has trained and written nothing, and in a distributed
            run.
        """
        loop, folder = runner._train_loop, Path(runner.work_dir)  # `runner.train_loop` would build the loop
        if runner.world_size > 1 or isinstance(loop, dict):  # a dict is not built yet
            return None
        progress = loop.progress
        complete = folder / epoch_checkpoint(progress.epoch)
        if progress.batch_in_epoch == 0 and complete in self._written:
            return complete
        if not loop.has_trained:
            return None
        path = folder / iter_checkpoint(progress.iter)
        if path not in self._written:
            self._write(runner, path, progress)
            write_last_checkpoint(path)
        return path

    def _write(self, runner, path: Path, progress: TrainingProgress) -> None:
        checkpoint = collect_checkpoint(runner, progress, self.state)
        state_dict = checkpoint['state_dict']
        bad = [name for name, value in state_dict.items() if value.is_floating_point() and not value.isfinite().all()]
        if bad:
            raise DivergedError(
                f'epoch {progress.epoch}: {len(bad)} of {len(state_dict)} weights and statistics contain NaN or inf, '
                f'the first is {bad[0]}. Nothing of this epoch was saved. Fix: a lower learning rate '
                '(optim_wrapper.optimizer.lr), or optim_wrapper.clip_grad.max_norm=1.0'
            )
        set_aside(path)
        write_checkpoint(path, checkpoint)
        self._written.add(path)

    def _remove_old(self, newest: Path) -> None:
        for _, path in _numbered(newest.parent, 'iter_'):
            remove_checkpoint(path)  # of an interruption before this epoch was complete
        if self.max_keep_ckpts < 0:
            return
        files = epoch_checkpoints(newest.parent)
        # Files of later epochs are damaged: this run was resumed from one before them.
        for path in files[files.index(newest) :][max(self.max_keep_ckpts, MIN_KEPT) :]:
            remove_checkpoint(path)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Go on from the state in a checkpoint, under mmengine's loop."""
        if runner._resume:
            self.resume(RunState.in_checkpoint(checkpoint))

    def before_train(self, runner) -> None:
        """Check the disk, under mmengine's loop."""
        self.check_disk_space(runner)

    def after_train_epoch(self, runner) -> None:
        """Finish an epoch that is not validated, under mmengine's loop."""
        if not is_validated(runner, runner.epoch + 1):
            self.finish_epoch(runner, runner.epoch + 1, None)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Finish a validated epoch, under mmengine's loop."""
        if runner.epoch > 0:
            self.finish_epoch(runner, runner.epoch, metrics or {})


@master_only
def write_results(runner, state: RunState) -> None:
    """Write the last pass over the validation set as the results of the best checkpoint."""
    predictions, folder = report_of(runner.val_evaluator).predictions, Path(runner.work_dir)
    predictions.write_csv(folder / PREDICTIONS_VAL_FILE)
    predictions.write_mistakes_csv(folder / MISTAKES_FILE)
    origin = provenance(runner, 'val', state.best_epoch, state.best_checkpoint)
    write_json(folder / METRICS_FILE, {**predictions.metrics(), **origin})


@master_only
def write_last_predictions(runner) -> None:
    """Write the last pass over the validation set as the scores of the last epoch."""
    report_of(runner.val_evaluator).predictions.write_csv(Path(runner.work_dir, PREDICTIONS_VAL_LAST_FILE))


def report_of(evaluator) -> ClassificationReport:
    """Return the `ClassificationReport` among an evaluator's metrics; every config has one."""
    return next(metric for metric in evaluator.metrics if isinstance(metric, ClassificationReport))


def provenance(runner, split: str, epoch: int | None, checkpoint: str) -> dict:
    """Return the origin of the figures in ``metrics.json``."""
    return {
        'epoch': epoch,
        'checkpoint': checkpoint,
        'split': split,
        'data_manifest': runner.cfg.get('data_manifest'),
        'seed': runner.seed,
    }


def is_validated(runner, epoch: int) -> bool:
    """Return whether the complete epoch number ``epoch`` is validated, as mmengine's EpochBasedTrainLoop decides."""
    return (
        runner.val_loop is not None
        and epoch >= runner.val_begin
        and (epoch % runner.val_interval == 0 or epoch == runner.max_epochs)
    )
