"""The recipe of a training: a config file in, a run folder out. Start reading here."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.core.errors import ConfigError
from flowercls.core.signals import Interrupted
from flowercls.train.run_config import Flags, ready_config
from flowercls.train.run_dir import begin_run, claim_run_dir, last_checkpoint, plan_run, stem_of

if TYPE_CHECKING:
    from mmengine.config import Config

    from flowercls.train.run_dir import RunPlan
    from flowercls.train.training import TrainResult


@dataclass(frozen=True)
class TrainOptions(Flags):
    """What a command line asks of a training, besides its config.

    Attributes:
        allow_config_change: Resume although the config is not the one the run was started with.
        trust_checkpoint: Open the file that ``load_from`` names with pickle, which can run code.
    """

    allow_config_change: bool = False
    trust_checkpoint: bool = False


def train(
    config_path: str | Path,
    *,
    work_dir: str | Path | None = None,
    resume: str | None = None,
    overrides: Sequence[str] | dict = (),
    options: TrainOptions = TrainOptions(),
    command: str | None = None,
    after_training: Callable[[Path, 'TrainResult | None'], object] | None = None,
) -> 'TrainResult':
    """Fine-tune the model of a config and leave a run folder.

    Args:
        config_path: The config file.
        work_dir: Folder of the run; the default is ``work_dirs/<config stem>``, or ``-2``, ``-3``, ...
        resume: ``'auto'`` resumes the newest run of this config (or the one in ``work_dir``); a path resumes that
            checkpoint; None starts a new run.
        overrides: As ``--cfg-options``: a list of ``key=value``, or a dict with dotted keys.
        options: Everything else that the command line can ask for.
        command: The command as typed, for ``command.txt``.
        after_training: Called with the run folder and the result while the folder is still locked; the result is None
            if an error ended the training. Only the main process calls it. An error in it is raised only if the
            training had none.

    Raises:
        ConfigError, DataError, CheckpointError: Before anything is trained.
        DivergedError, OutOfMemoryError, WorkerError, DiskError: During training; the last checkpoint is intact.
        Interrupted: After a signal; its ``checkpoint`` is the one that ``--resume`` continues from.
    """
    # 1. What: load, complete and check the config. Nothing heavy is imported until the config is right.
    cfg = ready_config(config_path, overrides, options)
    resume = _requested_resume(cfg, resume, options)

    from flowercls.core.distributed import decide_once
    from flowercls.train import decoded_photos, loading, runner, tester
    from flowercls.train.run_summary import describe_run
    from flowercls.train.training import run_training, suppress_log_errors

    # 2. Where: claim a new folder, or lock the folder of the run to resume.
    with suppress_log_errors(), claim_run_dir(stem_of(config_path), work_dir or cfg.get('work_dir'), resume) as run:
        changed = config_changes(run, cfg, options.allow_config_change)
        weights = None if run.checkpoint else decide_once(lambda: starting_weights(cfg))
        pointed_to = last_checkpoint(run.folder)
        try:
            # 3. Build
            cfg.work_dir = str(run.folder)
            the_runner = runner.build_runner(cfg)
            the_runner.trusted = _trusted(weights, options.trust_checkpoint)
            if weights is not None:
                loading.load_starting_weights(the_runner, weights)  # a try: what does not fit is said first
            if the_runner.rank == 0:
                print(run.announcement, flush=True)
            decoded_photos.use_photo_cache(the_runner)
            if the_runner.rank == 0:
                print(describe_run(the_runner, weights, run.checkpoint), flush=True)
                the_runner.begun = lambda: begin_run(run, cfg, config_path, changed, command)

            # 4. Train
            try:
                result = run_training(the_runner, weights, run.checkpoint, changed)
            except Exception:
                if after_training and the_runner.rank == 0:
                    with contextlib.suppress(Exception):  # what ended the run is what has to be told
                        after_training(run.folder, None)
                raise
            if the_runner.rank == 0:
                result = replace(result, evaluation=tester.evaluation_of_best(the_runner, result))
                if after_training:
                    after_training(run.folder, result)
            return result
        except Interrupted as signal:
            newest = last_checkpoint(run.folder)
            saved = signal.checkpoint or (newest if newest != pointed_to else run.checkpoint)
            raise Interrupted(signal.number, checkpoint=saved) from None


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
        cfg = ready_config(config_path, overrides, options, drawn_folder=folder)
        if resume := _requested_resume(cfg, resume, options):
            run = plan_run(stem_of(config_path), work_dir or cfg.get('work_dir'), resume)
            print(run.announcement, flush=True)
            config_changes(run, cfg, options.allow_config_change)

        from mmengine.dist import barrier

        from flowercls.core.distributed import decide_once
        from flowercls.train.dry_run import try_one_batch
        from flowercls.train.run_summary import describe_run
        from flowercls.train.runner import build_runner

        cfg.work_dir, cfg.feature_cache = f'{folder}/run', None  # nothing is to be written
        weights = decide_once(lambda: starting_weights(cfg))
        the_runner = build_runner(cfg)
        the_runner.trusted = _trusted(weights, options.trust_checkpoint)
        if the_runner.rank == 0:
            print(describe_run(the_runner, weights), flush=True)
        tried = try_one_batch(the_runner, weights)
        barrier()  # flowers drawn for a dry run lie in the main process's temporary folder
        return tried if the_runner.rank == 0 else ''


def _requested_resume(cfg: 'Config', resume: str | None, options: TrainOptions) -> str | None:
    """Return what ``--resume`` or the config asks for; the run's config does not keep this request."""
    source = f'--resume {resume}' if resume else 'resume=True in the config'
    resume = resume or ('auto' if cfg.get('resume') else None)
    cfg.resume = False
    if resume and options.trust_checkpoint:
        raise _unused_trust(source)
    return resume


def _unused_trust(source: str) -> ConfigError:
    return ConfigError(
        f'--trust-checkpoint: applies to the file in load_from, and with {source} none is loaded. '
        'Fix: leave --trust-checkpoint out.'
    )


def config_changes(run: 'RunPlan', cfg: 'Config', is_allowed: bool) -> list[str]:
    """Return the keys in which a resumed run's config differs from before.

    Raises:
        ConfigError: if there are any and they are not allowed.
    """
    from flowercls.config.diff import changes_since, check_unchanged, format_changes
    from flowercls.core.distributed import decide_once

    folder = run.checkpoint.parent if run.checkpoint else run.folder
    if not (run.checkpoint or (folder / 'config.py').is_file()):
        return []
    if not is_allowed:
        check_unchanged(folder, cfg)
        return []
    changes = decide_once(lambda: changes_since(folder, cfg))  # now: `begin_run` writes config.py anew
    if changes and int(os.environ.get('RANK', 0)) == 0:
        print(f'the config differs from that of the run:\n{format_changes(changes)}', flush=True)
    return list(changes)


def starting_weights(cfg: 'Config') -> Path | None:
    """Return the verified file that ``load_from`` names, downloaded if need be; None if it names none."""
    from flowercls.models.weight_files import find_weights

    return find_weights(cfg.load_from) if cfg.get('load_from') else None


def _trusted(weights: Path | None, trust: bool) -> Path | None:
    """The file that may hold code; none unless that was asked for."""
    from flowercls.train.loading import warn_of_trust

    if not trust:
        return None
    if weights is None:
        raise _unused_trust('load_from=None')
    warn_of_trust(weights)
    return weights
