"""Where a training starts: from a checkpoint that fits, from starting weights, or from random weights."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from numbers import Number
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.runner.amp import autocast

from flowercls.core.distributed import on_main_process, print_once, unwrapped
from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.core.layout import (
    CHECKPOINT_PATTERNS,
    METRICS_FILE,
    MISTAKES_FILE,
    PREDICTIONS_VAL_LAST_FILE,
    epoch_checkpoint,
)
from flowercls.models.checkpoint_reader import read_checkpoint, read_progress
from flowercls.models.weights import apply_weights, check_classes, load_strictly
from flowercls.train.checkpoint import (
    RunState,
    TrainingProgress,
    is_validated,
    publish_best,
    write_last_checkpoint,
    write_last_predictions,
    write_results,
)
from flowercls.train.run_dir import RunPlan

PARTS = ('meta', 'optimizer', 'param_schedulers', 'message_hub')
# Optimizer state with the shape of its parameter. The fused optimizers of torch do not check the shape: with another
# one they read memory that is not theirs.
PER_PARAMETER_STATE = {'momentum_buffer', 'exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'sum'}
# Values of parameter groups that only some optimizers have.
OPTIMIZER_SPECIFIC = {'momentum', 'betas', 'alpha', 'rho', 'lr_decay', 'etas', 'lambd'}
# Beginnings of the config keys that a schedule and the groups of an optimizer depend on.
SCHEDULE_KEYS = ('param_scheduler', 'train_cfg.max_epochs', 'optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg')
SCHEDULE_KEYS += ('auto_scale_lr',)
# Beginnings of the keys that decide the photos of an epoch and their order; keys among them that decide neither.
ORDER_KEYS = ('data_manifest', 'train_dataloader.batch_size', 'train_dataloader.sampler', 'train_dataloader.dataset')
KEEPS_ORDER = re.compile(r'\.pipeline\b|\.views$')
VALIDATION_KEYS = ('data_manifest', 'val_dataloader', 'val_evaluator')  # beginnings of those that change scores
SCHEDULED_VALUES = ('lr', 'momentum', 'betas', 'initial_lr')


class RandomInit:
    """Start from random weights."""

    description = 'starting weights: none, random numbers'
    seed = features_cached = None

    def load(self, runner: Runner, changed: Sequence[str] = ()) -> None:
        """Keep the initial weights."""


class FromWeights:
    """Start from the weights in a file.

    Args:
        path: The file.
        trusted: Open the file even if it needs pickle, which can run code; a warning says so.
    """

    seed = features_cached = None

    def __init__(self, path: Path, *, trusted: bool = False) -> None:
        self.path, self.trusted = path, trusted
        self.description = f'starting weights: {path}'

    def load(self, runner: Runner, changed: Sequence[str] = ()) -> None:
        """Give the model the weights; in the last layer those of the classes that the file knows.

        Raises:
            CheckpointError: if the file cannot be read or is of another architecture.
        """
        if self.trusted:
            warn_of_trust(self.path)
        checkpoint = read_checkpoint(self.path, trusted=self.trusted)
        model, names = unwrapped(runner.model), class_names(runner)
        report = apply_weights(model, checkpoint, source=str(self.path), class_names=names)
        self.description = f'starting weights: {self.path} (head: {report.head})'
        runner.logger.info(str(report))


class FromCheckpoint:
    """Resume a run from one of its checkpoints.

    Args:
        path: The checkpoint. Its content is read and verified once, and dropped by `load`, as it is large.

    Attributes:
        features_cached: Whether the run trained on cached features; None before `load`, and if it does not matter.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = f'weights: as in {path}'
        self.features_cached: bool | None = None
        self._content: dict | None = None

    def __reduce__(self):  # sent to another process, which reads the file itself
        return FromCheckpoint, (self.path,)

    def read(self) -> dict:
        """Return the content of the checkpoint.

        Raises:
            CheckpointError: if no run can be resumed from it.
        """
        if self._content is None:
            content = read_checkpoint(self.path)
            check_resumable(content, self.path)
            self._content = content
        return self._content

    @property
    def seed(self) -> int | None:
        """Seed of the run, from which the rest of its epochs are ordered."""
        return self.read()['meta'].get('seed')

    def load(self, runner: Runner, changed: Sequence[str] = ()) -> None:
        """Give model, optimizer, schedulers, hooks and training loop the state of the checkpoint.

        Args:
            runner: With everything built that a training needs.
            changed: Keys of the config that have other values than before.

        Raises:
            CheckpointError: if the checkpoint is of another model, other classes or another optimizer.
            ConfigError: if the rest of an epoch would show other photos than are left of it.
        """
        checkpoint, self._content = self.read(), None
        runner._resume = True  # an EMAHook asks, here and again before it trains
        load_weights(runner, checkpoint, self.path, check_fits)
        progress = TrainingProgress.in_checkpoint(checkpoint)
        if progress.batch_in_epoch > 0:
            self._check_order_of_photos(runner, changed)
        runner.train_loop.resume(progress)
        with _misfits_refused(self.path):
            runner.optim_wrapper.load_state_dict(checkpoint['optimizer'])
            _load_schedulers(runner.param_schedulers, checkpoint['param_schedulers'])
            parameters = dict(unwrapped(runner.model).named_parameters())
            for name, gradient in (checkpoint.get('gradients') or {}).items():  # of accumulated batches
                parameters[name].grad = gradient.to(parameters[name].device)
        if any(key.startswith(SCHEDULE_KEYS) for key in changed):
            follow_new_schedule(runner, progress)
        self._restore_best(runner, RunState.in_checkpoint(checkpoint), progress, changed)
        self.features_cached = checkpoint.get('features_kept')

    def _check_order_of_photos(self, runner: Runner, changed: Sequence[str]) -> None:
        reasons = [key for key in changed if key.startswith(ORDER_KEYS) and not KEEPS_ORDER.search(key)]
        reasons += ['the number of processes'] if runner.world_size > 1 else []  # such runs save whole epochs only
        if reasons:
            raise ConfigError(
                f'{self.path}: is in the middle of an epoch. Changed since: {", ".join(reasons)}. Some photos would be '
                'trained on twice in the epoch, others not at all. Fix: resume with the values it was started with; or '
                'from an epoch_N.pth of its folder, with --allow-config-change and a new --work-dir.'
            )

    def _restore_best(
        self, runner: Runner, state: RunState, progress: TrainingProgress, changed: Sequence[str]
    ) -> None:
        """Restore the best epoch, if its checkpoint is here and its score can be compared with those to come."""
        if runner.checkpoints is None:
            return

        def best_is_here() -> bool:
            folder = Path(runner.work_dir)
            is_this = state.best_epoch == progress.epoch and progress.batch_in_epoch == 0
            if is_this and folder.samefile(self.path.parent):
                publish_best(self.path, state.best_checkpoint)  # a kill may have come before it had its second name
            return (folder / state.best_checkpoint).is_file()

        is_same_metric = str(state.best_checkpoint).startswith(runner.checkpoints.best_prefix)
        is_comparable = is_same_metric and not any(key.startswith(VALIDATION_KEYS) for key in changed)
        if state.best_checkpoint and not (is_comparable and on_main_process(best_is_here)):
            state = replace(state, best_score=None, best_epoch=None, best_checkpoint=None)
        runner.checkpoints.resume(state)


def choose_start(cfg: Config, *, trusted: bool) -> FromWeights | RandomInit:
    """Return the starting weights that ``load_from`` names, verified and downloaded if need be, or random ones.

    Args:
        cfg: The resolved config.
        trusted: As in `FromWeights`.
    """
    if cfg.get('load_from'):
        from flowercls.models.weight_files import find_weights

        return FromWeights(on_main_process(lambda: find_weights(cfg.load_from)), trusted=trusted)
    return RandomInit()


def check_epochs_left(runner: Runner, run: RunPlan) -> None:
    """Raise a `ConfigError` if a checkpoint of another folder leaves nothing to train.

    In its own folder that is fine: its results are reported again.
    """
    is_over = runner.epoch >= runner.max_epochs and not runner.train_loop.validation_pending
    if run.checkpoint and is_over and run.folder.resolve() != run.checkpoint.parent.resolve():
        raise ConfigError(
            f'--resume {run.checkpoint}: is after epoch {runner.epoch}, and train_cfg.max_epochs is '
            f'{runner.max_epochs}, so there is nothing to do in {run.folder}. Fix: a larger train_cfg.max_epochs, with '
            '--allow-config-change.'
        )


def warn_of_trust(path: Path) -> None:
    """Print the risk of ``--trust-checkpoint`` for ``path``."""
    text = f'warning: --trust-checkpoint: if {path} holds code, it is run, and may do whatever you may do'
    print_once(text, file=sys.stderr)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the furthest first; of two with equal progress, not the best's second name."""

    def rank(path: Path) -> tuple:
        return *read_progress(path), not path.name.startswith('best_'), path.name

    return sorted((path for pattern in CHECKPOINT_PATTERNS for path in folder.glob(pattern)), key=rank, reverse=True)


def newest_usable(folder: Path) -> tuple[FromCheckpoint | None, list[str]]:
    """Return the newest checkpoint that is whole, and why newer ones are not used.

    Returns:
        The checkpoint, None where a run has written none yet, and a sentence for each that was rejected.

    Raises:
        CheckpointError: if there are checkpoints and none can be used.
    """
    rejected = []
    for path in checkpoints(folder):
        start = FromCheckpoint(path)
        try:
            start.read()
            return start, rejected
        except CheckpointError as error:
            rejected.append(str(error).partition(' Fix:')[0])
    if rejected:
        reasons = '\n'.join(f'  {reason}' for reason in rejected)
        fix = 'start a new run without --resume and with another --work-dir'
        raise CheckpointError(f'{folder}: no checkpoint can be used:\n{reasons}\nFix: {fix}.')
    return None, []


def check_nothing_is_overwritten(folder: Path, checkpoint: Path) -> None:
    """Raise a `ConfigError` if ``folder`` has a usable checkpoint that is further than ``checkpoint``."""
    for path in checkpoints(folder):
        is_same_run = path.parent.samefile(checkpoint.parent)
        if path.samefile(checkpoint) or is_same_run and read_progress(path) == read_progress(checkpoint):
            return
        try:
            FromCheckpoint(path).read()
        except CheckpointError:
            continue
        raise ConfigError(
            f'--resume {checkpoint}: {folder} holds {path.name}; going on from here would write over it. '
            'Fix: add --work-dir with a new folder, or --resume alone to go on from the newest.'
        )


def load_weights(runner: Runner, checkpoint: dict, path: str | Path, check=lambda *_: None) -> None:
    """Give the model the weights of a checkpoint of this very model, and let hooks take their part.

    Args:
        runner: With the model.
        checkpoint: The content of the file, or of a file of weights only.
        path: The file.
        check: Called with the checkpoint, the runner and the path, before hooks get the checkpoint.

    Raises:
        CheckpointError: if the checkpoint is of another model or of other classes.
    """
    checkpoint = checkpoint if 'state_dict' in checkpoint else {'state_dict': checkpoint}
    check_classes(checkpoint, class_names(runner), path)
    model = unwrapped(runner.model)
    load_strictly(model, checkpoint['state_dict'], path)
    check(checkpoint, runner, path)
    runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
    load_strictly(model, checkpoint['state_dict'], path)  # again: an EMAHook exchanges weights, once they fit
    runner.logger.info(f'loaded {path}')


def class_names(runner: Runner) -> list[str]:
    """Return the classes of the data, from whichever set the config has."""
    loaders = (runner.cfg.get(f'{name}_dataloader') for name in ('train', 'val', 'test'))
    dataset = next(loader.dataset for loader in loaders if loader)
    while 'metainfo' not in dataset:
        inner = dataset.get('dataset') or dataset.datasets  # a wrapper, such as RepeatDataset
        dataset = inner[0] if isinstance(inner, list | tuple) else inner
    return list(dataset.metainfo['classes'])


def check_resumable(checkpoint: dict, path: str | Path) -> None:
    """Raise a `CheckpointError` unless a checkpoint has the parts that a run is resumed from, each of its type."""
    if missing := [key for key in PARTS if key not in checkpoint]:
        raise CheckpointError(
            f'{path}: has no {", ".join(missing)}, so no run can be continued from it. Fix: resume from an '
            'epoch_N.pth; to start a new run from these weights, set load_from.'
        )
    for key, is_valid, value in _typed_parts(checkpoint):
        if not is_valid:
            raise CheckpointError(
                f'{path}: its {key} is {_shown(value)}, which is not what a run is continued from. '
                'Fix: resume from another epoch_N.pth.'
            )


def _typed_parts(checkpoint: dict) -> Iterator[tuple[str, bool, Any]]:
    """Yield (key, whether the value may stand there, value) for the parts that the resuming code relies on."""

    def is_count(value: Any) -> bool:
        return type(value) is int and value >= 0  # True is no count

    meta, hub = checkpoint['meta'], checkpoint['message_hub']
    for key, kind in (('meta', dict), ('optimizer', dict), ('param_schedulers', list | dict), ('message_hub', dict)):
        yield key, isinstance(checkpoint[key], kind), checkpoint[key]
    for key in ('epoch', 'iter'):
        yield f'meta.{key}', is_count(meta.get(key)), meta.get(key)
    for key in ('batch_in_epoch', 'seed'):
        yield f'meta.{key}', meta.get(key) is None or is_count(meta[key]), meta.get(key)
    is_pending = meta.get('validation_pending', False)
    yield 'meta.validation_pending', isinstance(is_pending, bool), is_pending
    for key in ('gradients', 'run_state', 'epoch_summary'):
        yield key, isinstance(checkpoint.get(key) or {}, dict), checkpoint.get(key)
    yield 'message_hub.runtime_info', isinstance(hub.get('runtime_info') or {}, dict), hub.get('runtime_info')
    state = RunState.in_checkpoint(checkpoint)
    yield 'best_score', isinstance(state.best_score, Number | None), state.best_score
    yield 'best_epoch', state.best_epoch is None or is_count(state.best_epoch), state.best_epoch
    name = state.best_checkpoint  # a bare name: nothing outside the run folder is touched
    yield 'best_checkpoint', name is None or isinstance(name, str) and Path(name).name == name, name


def check_fits(checkpoint: dict, runner: Runner, path: str | Path) -> None:
    """Raise a `CheckpointError` unless optimizer and schedulers of a checkpoint can replace those of the run."""
    with _misfits_refused(path):
        if isinstance(runner.optim_wrapper, OptimWrapper):  # else several, or a class of the user: it checks for itself
            _check_optimizer(checkpoint['optimizer'], runner.optim_wrapper.optimizer.param_groups)
        if isinstance(checkpoint['param_schedulers'], list) and isinstance(runner.param_schedulers, list):
            # Another number of them is another schedule.
            for state, scheduler in zip(checkpoint['param_schedulers'], runner.param_schedulers, strict=False):
                for name, value in state.items():
                    if not _same_kind(value, getattr(scheduler, str(name), value)):
                        raise ValueError(f'a scheduler has {name}={_shown(value)}')


@contextmanager
def _misfits_refused(path: str | Path) -> Iterator[None]:
    """Turn errors about the values in a checkpoint into a `CheckpointError`."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise CheckpointError(
            f'{path}: does not fit this run: {reason}. Fix: resume with the config.py that lies beside it; to start a '
            'new run from its weights, set load_from.'
        ) from error


def _check_optimizer(recorded: dict, expected_groups: list[dict]) -> None:
    groups, state = recorded['param_groups'], recorded['state']
    sizes, expected_sizes = ([len(group['params']) for group in every] for every in (groups, expected_groups))
    if sizes != expected_sizes:
        raise ValueError(f'its optimizer trains {_counted(sizes)}, the config trains {_counted(expected_sizes)}')
    for group, expected in zip(groups, expected_groups, strict=True):
        if missing := sorted(OPTIMIZER_SPECIFIC & expected.keys() - group.keys()):
            raise ValueError(f'its optimizer is of another kind: it has no {missing[0]}, the config has')
        for name in group.keys() & expected.keys() - {'params'}:
            if not _same_kind(group[name], expected[name]):
                raise ValueError(
                    f'its optimizer has {name}={_shown(group[name])}, the config has {_shown(expected[name])}'
                )
    numbers = [number for group in groups for number in group['params']]
    parameters = dict(zip(numbers, [p for group in expected_groups for p in group['params']], strict=True))
    for number, averages in state.items():
        shape = parameters[number].shape
        for name, value in averages.items():
            if name in PER_PARAMETER_STATE and value is not None and getattr(value, 'shape', None) != shape:
                raise ValueError(f'its optimizer keeps a {name} of another shape than weight {number}')


def _counted(sizes: list[int]) -> str:
    return f'{sum(sizes)} weights in {len(sizes)} group{"s" * (len(sizes) != 1)}'


def _same_kind(value: Any, expected: Any) -> bool:
    """Return whether ``value`` may stand in the place of ``expected``, judged by its kind."""
    if expected is None or isinstance(expected, bool):
        return not callable(value) and (expected is None or value is None or isinstance(value, bool))
    kinds = (Number | torch.Tensor, str, list | tuple, dict)
    return any(isinstance(expected, kind) and isinstance(value, kind) for kind in kinds)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}...'


def _load_schedulers(schedulers: list | dict | None, recorded: list | dict) -> None:
    if isinstance(schedulers, dict):  # of several optimizers
        for name in schedulers:
            _load_schedulers(schedulers[name], recorded[name])
        return
    for scheduler, state in zip(schedulers or [], recorded, strict=False):
        scheduler.load_state_dict(state)


def follow_new_schedule(runner: Runner, progress: TrainingProgress) -> None:
    """Give a resumed run the rates, and its optimizer the values, that its config has at ``progress``.

    The schedulers are built anew and stepped to ``progress``: the effect of one depends on that of the others before.
    A scheduler that listens to validation (ReduceOnPlateau) cannot be; then all of them go on from the checkpoint.
    """
    keeps_rates = any(getattr(scheduler, 'need_val_args', False) for scheduler in runner.param_schedulers or [])
    fresh = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    runner.scale_lr(fresh, runner.auto_scale_lr)
    unchanged = ('params', *SCHEDULED_VALUES) if keeps_rates else ('params',)
    for group, new in zip(runner.optim_wrapper.param_groups, fresh.param_groups, strict=True):
        group.update({key: value for key, value in new.items() if key not in unchanged})
        if not keeps_rates:
            for key in [key for key in group if key.startswith('initial_')]:
                group.pop(key)  # schedulers record it when they are built
    if keeps_rates:
        return
    runner.param_schedulers = runner.build_param_scheduler(runner.cfg.get('param_scheduler') or [])
    steps_per_epoch = len(runner.train_dataloader)
    for _ in range(progress.epoch):
        _step(runner.param_schedulers, steps_per_epoch)
        for scheduler in runner.param_schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    _step(runner.param_schedulers, progress.batch_in_epoch)


def _step(schedulers: list, number: int) -> None:
    for _ in range(number):
        for scheduler in schedulers:
            if not scheduler.by_epoch:
                scheduler.step()


def complete_results(runner: Runner) -> None:
    """Write what a kill left out between two files of a run that has ended.

    These are the results of the best checkpoint, the scores of the last epoch if it was to be validated, and the name
    of the last checkpoint. Runs of older versions get the scores of their last epoch here.
    """
    writer, folder = runner.checkpoints, Path(runner.work_dir)
    if writer is None:
        return
    best, last = writer.state.best_checkpoint, folder / epoch_checkpoint(runner.epoch)

    def has_results() -> bool:
        try:
            recorded = json.loads((folder / METRICS_FILE).read_text(encoding='utf-8')).get('checkpoint')
        except (OSError, ValueError):
            return False
        return recorded == best and (folder / MISTAKES_FILE).is_file()

    def lacks_last_scores() -> bool:
        return last.is_file() and not (folder / PREDICTIONS_VAL_LAST_FILE).is_file()

    # The main process writes the results: once it answers here, it is done with them.
    if best is not None and not on_main_process(has_results):
        _validate_again(runner, folder / best)
        write_results(runner, writer.state)
    if on_main_process(lacks_last_scores) and is_validated(runner, runner.epoch):
        _validate_again(runner, last)
        write_last_predictions(runner)
    if is_main_process() and last.is_file():
        write_last_checkpoint(last)


def _validate_again(runner: Runner, checkpoint: Path) -> None:
    """Pass over the validation set with the weights of a checkpoint; no hook takes it for another validation."""
    runner._resume = False  # an EMAHook would resume its averages
    runner.load_checkpoint(str(checkpoint))
    runner.call_hook('before_val_epoch')  # an EMAHook changes to the weights that it has evaluated
    model = unwrapped(runner.model).eval()
    with torch.no_grad(), autocast(enabled=runner.val_loop.fp16):
        for batch in runner.val_dataloader:
            runner.val_evaluator.process(data_samples=model.val_step(batch), data_batch=batch)
    runner.val_evaluator.evaluate(len(runner.val_dataloader.dataset))
