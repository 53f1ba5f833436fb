"""The recipe of a training: a config file in, a run folder out. Start reading here."""

import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

from flowercls.config.loader import load_with_notes
from flowercls.config.resolve import Flags, complete_config, fit_to_machine
from flowercls.core.errors import ConfigError
from flowercls.core.files import disk_errors
from flowercls.core.layout import CONFIG_FILE, METRICS_FILE, epoch_checkpoint
from flowercls.core.signals import Interrupted
from flowercls.train.run_dir import RunPlan, begin_run, claim_run_dir, plan_run, stem_of

if TYPE_CHECKING:
    from flowercls.train.resume import FromWeights, RandomInit
    from flowercls.train.runner import ClassifierRunner
    from flowercls.train.tester import Evaluation


@dataclass(frozen=True)
class TrainOptions(Flags):
    """What a command line asks of a training, besides its config.

    Attributes:
        allow_config_change: Resume although the config is not the one the run was started with.
        trust_checkpoint: Open the file that ``load_from`` names with pickle, which can run code.
    """

    allow_config_change: bool = False
    trust_checkpoint: bool = False


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished training.

    Attributes:
        folder: The run folder.
        epochs: Complete epochs.
        max_epochs: Planned epochs; more than ``epochs`` if something ended the run early.
        seconds: Wall-clock time of this start.
        epochs_now: Epochs trained in this start; fewer than ``epochs`` after a resume.
        best_epoch: Epoch of the best checkpoint; None without validation.
        best_checkpoint: Its file; None without validation.
        last_checkpoint: The ``epoch_N.pth`` of the last epoch; None where the config saves none.
        last_top1: Validation top-1 of the last epoch in percent; None without validation.
        evaluation: Of the best checkpoint, in the main process; None without validation.
    """

    folder: Path
    epochs: int
    max_epochs: int
    seconds: float
    epochs_now: int
    best_epoch: int | None
    best_checkpoint: Path | None
    last_checkpoint: Path | None
    last_top1: float | None
    evaluation: 'Evaluation | None' = None

    def metrics(self) -> dict:
        """Return the content of metrics.json."""
        return json.loads((self.folder / METRICS_FILE).read_text(encoding='utf-8'))


def train(
    config_path: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: str | None = None,
    overrides: Sequence[str] | dict = (),
    options: TrainOptions = TrainOptions(),
    command: str | None = None,
    after_training: Callable[[Path, TrainResult | None], object] | None = None,
) -> TrainResult:
    """Fine-tune the model of a config and leave a run folder.

    Args:
        config_path: The config file.
        work_dir: Folder of the run; the default is ``work_dirs/<config stem>``, or ``-2``, ``-3``, ...
        resume: ``'auto'`` resumes the newest run of this config (or the one in ``work_dir``); a path resumes that
            checkpoint; None starts a new run.
        overrides: As ``--cfg-options``: a list of ``key=value``, or a dict with dotted keys.
        options: Everything else that the command line can ask for.
        command: The command as typed, for ``command.txt``.
        after_training: Called with the run folder and the result while the folder is still locked. The result is None
            if an error ended the training; that error is raised, whatever happens here. Only the main process calls it.

    Raises:
        ConfigError, DataError, CheckpointError: Before anything is trained.
        DivergedError, OutOfMemoryError, WorkerError, DiskError: During training; the last checkpoint is intact.
        Interrupted: After a signal; its ``checkpoint`` is the one that ``--resume`` continues from.
    """
    # 1. What: load, complete and check the config. Nothing heavy is imported until the config is right.
    cfg = resolve_for_run(config_path, overrides, options)
    resume = _requested_resume(cfg, resume, options)

    from flowercls.features.hook import use_cached_features
    from flowercls.train.hooks import close_progress
    from flowercls.train.loop import translate_worker_errors
    from flowercls.train.resume import complete_results
    from flowercls.train.run_summary import describe_run
    from flowercls.train.runner import build_runner, use_photo_cache

    # 2. Where: claim a new folder, or lock the folder of the run to resume.
    with suppress_log_errors(), claim_run_dir(stem_of(config_path), work_dir or cfg.get('work_dir'), resume) as run:
        changed = config_changes(run, cfg, options.allow_config_change)

        # 3. From what: a checkpoint, starting weights, or random weights.
        start = run.start or choose_start(cfg, options)

        # 4. Build everything and load once: every mistake shows here.
        cfg.work_dir = str(run.folder)
        runner = build_runner(cfg)
        is_main = runner.rank == 0
        with translate_worker_errors(), saved_when_interrupted(runner, run.checkpoint):
            if is_main:
                print(run.announcement, flush=True)
            use_photo_cache(runner)
            started = time.monotonic()
            with disk_errors(run.folder):  # the log gets a line for each weight
                runner.prepare(start, changed)
            epochs_before = runner.epoch
            if is_main:
                print(describe_run(runner, start), flush=True)
            use_cached_features(runner, cfg.get('feature_cache'), was_cached=start.features_cached)

            # 5. Train. After the first step the folder holds a run; the loop says what is written when.
            try:
                with disk_errors(run.folder):
                    runner.train(partial(begin_run, run, cfg, config_path, changed, command) if is_main else None)
                    complete_results(runner)
            except Exception:
                if is_main and after_training is not None:
                    # What ended the run is what the user has to know, and a step that failed is not to be saved.
                    with contextlib.suppress(Exception, Interrupted):
                        after_training(run.folder, None)
                raise
            finally:
                close_progress(runner)

            # 6. Show.
            result = _result(runner, epochs_before, time.monotonic() - started)
            if is_main and after_training is not None:
                after_training(run.folder, result)
            return result


def resolve_for_run(
    config_path: str | Path, overrides: Sequence[str] | dict, flags: Flags, drawn_folder: str | None = None
) -> Config:
    """Load, complete and check a config, and settle it for this machine.

    Args:
        config_path: The config file.
        overrides: As ``--cfg-options``.
        flags: The other options that change a config.
        drawn_folder: Where to draw the demo's flowers if they are needed; None is the config's ``data_root``.

    Raises:
        ConfigError: naming every mistake, the cheap ones before anything heavy is imported.
        DataError: if the prepared folder is missing or is none.
    """
    cfg, notes = load_with_notes(config_path, overrides)
    ensure_data(cfg, flags.launcher, drawn_folder)
    notes += complete_config(cfg, flags)
    if int(os.environ.get('RANK', 0)) == 0:
        print(*(f'note: {note}\n' for note in notes), sep='', end='', flush=True)
    fit_to_machine(cfg)
    return cfg


def ensure_data(cfg: Config, launcher: str = 'none', drawn_folder: str | None = None) -> None:
    """Draw and prepare the demo's flowers if the config asks for them, and set ``data_root`` to their folder.

    Args:
        cfg: From `load_with_notes`; changed in place.
        launcher: As in `Flags`; one of several processes draws for all.
        drawn_folder: As in `resolve_for_run`.
    """

    def data_root() -> str | None:
        if not cfg.get('drawn') or cfg.get('data_root') is None:
            return cfg.get('data_root')
        from flowercls.data.drawn import ensure_drawn

        return ensure_drawn(cfg.data_root, cfg.drawn, drawn_folder)

    if launcher == 'none':
        cfg.data_root = data_root()
        return
    from flowercls.core.distributed import join, on_main_process

    cfg.launcher = launcher
    join(cfg)
    cfg.data_root = on_main_process(data_root)


def dry_run(
    config_path: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: str | None = None,
    overrides: Sequence[str] | dict = (),
    options: TrainOptions = TrainOptions(),
) -> str:
    """Check everything that `train` would do and try one batch each way; write nothing.

    Args:
        config_path: As in `train`.
        work_dir: As in `train`.
        resume: As in `train`.
        overrides: As in `train`.
        options: As in `train`.

    Returns:
        What was tried; empty in all but the main process.
    """
    with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') as folder:
        cfg = resolve_for_run(config_path, overrides, options, drawn_folder=folder)
        if resume := _requested_resume(cfg, resume, options):
            run = plan_run(stem_of(config_path), work_dir or cfg.get('work_dir'), resume)
            print(run.announcement, flush=True)
            config_changes(run, cfg, options.allow_config_change)

        from mmengine.dist import barrier

        from flowercls.train.preflight import try_one_batch
        from flowercls.train.run_summary import describe_run
        from flowercls.train.runner import build_runner

        cfg.work_dir, cfg.feature_cache = f'{folder}/run', None  # nothing is written
        start = choose_start(cfg, options)
        runner = build_runner(cfg)
        runner.prepare(start)
        if runner.rank == 0:
            print(describe_run(runner, start), flush=True)
        tried = try_one_batch(runner)
        barrier()  # flowers drawn for a dry run lie in the main process's temporary folder
        return tried if runner.rank == 0 else ''


def _requested_resume(cfg: Config, resume: str | None, options: TrainOptions) -> str | None:
    """Return what ``--resume`` or the config asks for; the run's config does not keep this request."""
    source = f'--resume {resume}' if resume else 'resume=True in the config'
    resume = resume or ('auto' if cfg.get('resume') else None)
    cfg.resume = False
    if resume not in (None, 'auto') and options.trust_checkpoint:  # 'auto' may find no run, and start from load_from
        raise _unused_trust(source)
    return resume


def _unused_trust(source: str) -> ConfigError:
    return ConfigError(
        f'--trust-checkpoint: applies to the file in load_from, and with {source} none is loaded. '
        'Fix: leave --trust-checkpoint out.'
    )


def config_changes(run: RunPlan, cfg: Config, is_allowed: bool) -> tuple[str, ...]:
    """Return the keys in which a resumed run's config differs from before.

    Raises:
        ConfigError: if there are any and they are not allowed.
    """
    from flowercls.config.diff import changes_since, check_unchanged, format_changes
    from flowercls.core.distributed import on_main_process

    folder = run.checkpoint.parent if run.checkpoint else run.folder
    if not (run.checkpoint or (folder / CONFIG_FILE).is_file()):
        return ()
    if not is_allowed:
        check_unchanged(folder, cfg)
        return ()
    changes = on_main_process(lambda: changes_since(folder, cfg))  # now: `begin_run` writes config.py anew
    if changes and int(os.environ.get('RANK', 0)) == 0:
        print(f'the config differs from that of the run:\n{format_changes(changes)}', flush=True)
    return tuple(changes)


def choose_start(cfg: Config, options: TrainOptions) -> 'FromWeights | RandomInit':
    """Return the starting weights that ``load_from`` names, verified and downloaded if need be, or random ones."""
    from flowercls.core.distributed import on_main_process
    from flowercls.models.weight_files import find_weights
    from flowercls.train.resume import FromWeights, RandomInit

    if cfg.get('load_from'):
        return FromWeights(on_main_process(lambda: find_weights(cfg.load_from)), trusted=options.trust_checkpoint)
    if options.trust_checkpoint:
        raise _unused_trust('load_from=None')
    return RandomInit()


@contextlib.contextmanager
def saved_when_interrupted(runner: 'ClassifierRunner', checkpoint: Path | None) -> Iterator[None]:
    """Save the progress of a run that a signal ends, and tell `Interrupted` the checkpoint to resume from.

    Args:
        runner: The Runner.
        checkpoint: What was resumed, for a run that ends before its first step.
    """
    try:
        yield
    except Interrupted as signal:
        saved = runner.checkpoints.save_interrupted(runner) if runner.checkpoints is not None else None
        raise Interrupted(signal.number, checkpoint=saved or checkpoint) from None


@contextlib.contextmanager
def suppress_log_errors() -> Iterator[None]:
    """Drop log lines that cannot be written (disk full) instead of printing a traceback for each."""
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        yield
    finally:
        logging.raiseExceptions = before


def _result(runner: 'ClassifierRunner', epochs_before: int, seconds: float) -> TrainResult:
    from flowercls.train.checkpoint import RunState
    from flowercls.train.tester import evaluation_of_best

    # As the user would type it, where that is possible: mmengine has made the path absolute.
    folder = Path(os.path.relpath(runner.work_dir))
    if folder.parts[:1] == ('..',):
        folder = Path(runner.work_dir)
    state = runner.checkpoints.state if runner.checkpoints is not None else RunState()
    has_best, last = state.best_checkpoint is not None, folder / epoch_checkpoint(runner.epoch)
    return TrainResult(
        folder=folder,
        epochs=runner.epoch,
        max_epochs=runner.max_epochs,
        seconds=seconds,
        epochs_now=runner.epoch - epochs_before,
        best_epoch=state.best_epoch,
        best_checkpoint=folder / state.best_checkpoint if has_best else None,
        last_checkpoint=last if last.is_file() else None,
        last_top1=state.last_top1,
        evaluation=evaluation_of_best(runner, folder) if has_best and runner.rank == 0 else None,
    )
