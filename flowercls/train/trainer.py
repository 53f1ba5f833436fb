"""The recipe of a training: a config file in, a run folder out. Start reading here."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flowercls.core.files import disk_errors
from flowercls.core.layout import epoch_checkpoint
from flowercls.core.signals import Interrupted
from flowercls.train.run_config import TrainOptions, config_changes, requested_resume, resolve_for_run
from flowercls.train.run_dir import begin_run, claim_run_dir, plan_run, stem_of

DEFAULT_OPTIONS = TrainOptions()


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


def train(
    config_path: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: str | None = None,
    overrides: Sequence[str] | dict = (),
    options: TrainOptions = DEFAULT_OPTIONS,
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
    resume = requested_resume(cfg, resume, options)

    from flowercls.core.distributed import print_once
    from flowercls.train.loop import saved_when_interrupted, translate_worker_errors
    from flowercls.train.preflight import describe_run
    from flowercls.train.resume import check_epochs_left, choose_start, complete_results
    from flowercls.train.runner import build_runner, use_photo_cache

    # 2. Where: claim a new folder, or lock the folder of the run to resume.
    with claim_run_dir(stem_of(config_path), work_dir or cfg.get('work_dir'), resume) as run:
        changed = config_changes(run, cfg, is_allowed=options.allow_config_change)

        # 3. From what: a checkpoint, starting weights, or random weights.
        start = run.start or choose_start(cfg, trusted=options.trust_checkpoint)

        # 4. Build everything and load once: every mistake shows here.
        cfg.work_dir = str(run.folder)
        with (
            contextlib.closing(build_runner(cfg)) as runner,
            saved_when_interrupted(runner, run.checkpoint),
            disk_errors(run.folder),
            translate_worker_errors(),
        ):
            is_main = runner.rank == 0
            print_once(run.announcement)
            use_photo_cache(runner)
            started = time.monotonic()
            runner.prepare(start, changed)
            check_epochs_left(runner, run)
            if is_main:
                print(describe_run(runner, start), flush=True)
            if cfg.model.get('frozen_stages') and cfg.get('feature_cache'):
                from flowercls.features.hook import use_cached_features

                use_cached_features(runner, cfg.feature_cache, was_cached=start.features_cached)

            # 5. Train. After the first step the folder holds a run; the loop says what is written when.
            epochs_before = runner.epoch
            try:
                runner.train(partial(begin_run, run, cfg, config_path, changed, command) if is_main else None)
                complete_results(runner)
            except Exception:
                if is_main and after_training is not None:
                    # What ended the run is what the user has to know, and a step that failed is not to be saved.
                    with contextlib.suppress(Exception, Interrupted):
                        after_training(run.folder, None)
                raise

            # 6. Show.
            best, last = runner.state.best_checkpoint, run.folder / epoch_checkpoint(runner.epoch)
            result = TrainResult(
                folder=run.folder,
                epochs=runner.epoch,
                max_epochs=runner.max_epochs,
                seconds=time.monotonic() - started,
                epochs_now=runner.epoch - epochs_before,
                best_epoch=runner.state.best_epoch,
                best_checkpoint=run.folder / best if best else None,
                last_checkpoint=last if last.is_file() else None,
                last_top1=runner.state.last_top1,
            )
            if is_main and after_training is not None:
                after_training(run.folder, result)
            return result


def dry_run(
    config_path: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: str | None = None,
    overrides: Sequence[str] | dict = (),
    options: TrainOptions = DEFAULT_OPTIONS,
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
        resume = requested_resume(cfg, resume, options)

        from mmengine.dist import barrier

        from flowercls.core.distributed import print_once
        from flowercls.train.loop import translate_worker_errors
        from flowercls.train.preflight import describe_run, try_one_batch
        from flowercls.train.resume import check_epochs_left, choose_start
        from flowercls.train.runner import build_runner

        run = plan_run(stem_of(config_path), work_dir or cfg.get('work_dir'), resume)
        changed = config_changes(run, cfg, is_allowed=options.allow_config_change)
        start = run.start or choose_start(cfg, trusted=options.trust_checkpoint)
        if resume:
            print_once(run.announcement)
        cfg.work_dir, cfg.feature_cache = f'{folder}/run', None  # nothing is written
        with contextlib.closing(build_runner(cfg)) as runner, translate_worker_errors():
            runner.prepare(start, changed)
            check_epochs_left(runner, run)
            if runner.rank == 0:
                print(describe_run(runner, start), flush=True)
            tried = try_one_batch(runner)
            barrier()  # flowers drawn for a dry run lie in the main process's temporary folder
            return tried if runner.rank == 0 else ''
