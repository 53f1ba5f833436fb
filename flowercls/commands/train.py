"""Fine-tune a classifier on a prepared folder of photos."""

import argparse
import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides, draw_evaluation, starting_weights, warn_of_trust
from flowercls.core import signals

if TYPE_CHECKING:
    from mmengine.config import Config

    from flowercls.core.errors import ConfigError
    from flowercls.train.run_dir import RunPlan

EXAMPLES = (
    'configs/demo_flower.py                    # drawn flowers, two minutes on a CPU',
    'configs/resnet50_flower.py --dry-run      # check everything, write nothing',
    'configs/resnet50_flower.py --cfg-options model.frozen_stages=3 optim_wrapper.optimizer.lr=0.001',
    'configs/resnet50_flower.py --resume       # go on with the newest run of this config',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags; the names are mmpretrain's, and a few of our own."""
    parser.add_argument('config', help='a config file')
    parser.add_argument('--work-dir', help='folder of the run (default: work_dirs/<name of the config>, -2, -3, ...)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='continue the newest run of this config, the one in --work-dir, or this checkpoint',
    )
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16, also on a CPU')
    parser.add_argument('--no-validate', action='store_true', help='do not validate; no best checkpoint then')
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config keys')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers')
    parser.add_argument('--dry-run', action='store_true', help='check everything, try one batch, write nothing')
    parser.add_argument('--deterministic', action='store_true', help='only deterministic operations on a GPU')
    parser.add_argument(
        '--allow-config-change', action='store_true', help='resume although the config differs from the one of the run'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load the file in load_from with pickle, which can run code: only if you trust its source',
    )
    parser.add_argument(
        '--no-pictures', action='store_true', help='draw no pictures and no report; tools/report.py draws them later'
    )


def run(options: argparse.Namespace) -> int:
    """Train, print the last block, return the exit code."""
    arguments = dict(vars(options))
    os.environ.setdefault('LOCAL_RANK', str(arguments.pop('local_rank')))
    arguments['overrides'], arguments['pictures'] = arguments.pop('cfg_options'), not arguments.pop('no_pictures')
    print(train(arguments.pop('config'), **arguments))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    if interruption.checkpoint:
        return f'{interruption.checkpoint} is saved; add --resume to the same command to go on'
    return 'nothing was saved yet; the same command starts again'


def train(
    config: str | Path,
    *,
    work_dir: str | None = None,
    resume: str | None = None,
    overrides: Overrides = (),
    allow_config_change: bool = False,
    trust_checkpoint: bool = False,
    dry_run: bool = False,
    pictures: bool = True,
    **flags,
) -> str:
    """Fine-tune the model of a config and leave a run folder.

    Args:
        config: Path of the config file.
        work_dir: Folder of the run; the default is ``work_dirs/<config stem>``.
        resume: ``'auto'`` continues the newest run of this config (or the one in ``work_dir``), a path that checkpoint.
        overrides: As ``--cfg-options``: a list of ``key=value``, or a dict with dotted keys.
        allow_config_change: Resume although the config is not the one the run was started with.
        trust_checkpoint: Open what ``load_from`` names even if it holds more than plain data, and so could run code.
        dry_run: Check everything and try one batch; write nothing.
        pictures: Draw the pictures and write the report.
        **flags: ``amp``, ``no_validate``, ``auto_scale_lr``, ``deterministic`` and ``launcher``, as
            `flowercls.train.run_config.Flags`.

    Returns:
        The last block to show: result, time and where things are.
    """
    from flowercls.config.loader import find_config
    from flowercls.train.run_config import Flags, ready_config

    config = find_config(config)
    if trust_checkpoint and resume:
        raise _refusal_to_trust(f'--resume {resume}')
    if dry_run:
        with tempfile.TemporaryDirectory(prefix='flowercls-dry-run-') as folder:
            cfg = ready_config(config, overrides, Flags(**flags), drawn_folder=folder)
            if wanted := _wanted_resume(cfg, resume):
                _check_resumed(cfg, config, work_dir, wanted, allow_config_change)
            cfg.work_dir = f'{folder}/run'
            return _dry_run(cfg, trust_checkpoint)
    cfg = ready_config(config, overrides, Flags(**flags))
    return _train(cfg, config, work_dir, resume, allow_config_change, trust_checkpoint, pictures)


def _wanted_resume(cfg: 'Config', resume: str | None) -> str | None:
    """What ``--resume`` or the config asks for: a wish of this start, which does not belong to the run's config."""
    resume = resume or ('auto' if cfg.get('resume') else None)
    cfg.resume = False
    return resume


def _check_resumed(cfg: 'Config', config: str | Path, work_dir: str | None, resume: str, allow_change: bool) -> None:
    """Say what would be resumed, and refuse what would be refused."""
    from flowercls.train.run_dir import plan_run, stem_of

    plan = plan_run(stem_of(config), work_dir or cfg.get('work_dir'), resume)
    print(plan.announcement, flush=True)
    _config_changes(plan, cfg, allow_change)


def _refusal_to_trust(what: str) -> 'ConfigError':
    from flowercls.core.errors import ConfigError

    return ConfigError(
        f'--trust-checkpoint: opens the file that load_from names; with {what} there is none to be opened so. '
        'Fix: leave --trust-checkpoint out.'
    )


def _train(
    cfg: 'Config',
    config: str | Path,
    work_dir: str | None,
    resume: str | None,
    allow_change: bool,
    trust: bool,
    pictures: bool,
) -> str:
    from flowercls.core.distributed import decide_once
    from flowercls.train.run_dir import last_checkpoint, occupied_run_folder, stem_of
    from flowercls.train.training import unshaken_log

    work_dir = work_dir or cfg.get('work_dir')
    resume = _wanted_resume(cfg, resume)
    if trust and resume:
        raise _refusal_to_trust('resume=True in the config')
    with contextlib.ExitStack() as stack:
        stack.enter_context(unshaken_log())
        plan = decide_once(lambda: stack.enter_context(occupied_run_folder(stem_of(config), work_dir, resume)))
        changed = _config_changes(plan, cfg, allow_change)
        weights = None if plan.checkpoint else decide_once(lambda: starting_weights(cfg))
        pointed_to = last_checkpoint(plan.folder)
        try:
            return _train_in(plan, cfg, config, weights, changed, _trusted(weights, trust), pictures)
        except signals.Interrupted as signal:
            newest = last_checkpoint(plan.folder)
            saved = signal.checkpoint or (newest if newest != pointed_to else plan.checkpoint)
            raise signals.Interrupted(signal.number, checkpoint=saved) from None


def _config_changes(plan: 'RunPlan', cfg: 'Config', allow_change: bool) -> list[str]:
    """Keys in which a resumed run's config is another than before; refused, or told."""
    from flowercls.config.diff import changes_since, check_unchanged, format_changes
    from flowercls.core.distributed import decide_once

    folder = plan.checkpoint.parent if plan.checkpoint else plan.folder
    if not (plan.checkpoint or (folder / 'config.py').is_file()):
        return []
    if not allow_change:
        check_unchanged(folder, cfg)
    changes = decide_once(lambda: changes_since(folder, cfg))  # before config.py is written anew
    if changes and int(os.environ.get('RANK', 0)) == 0:
        print(f'the config differs from that of the run:\n{format_changes(changes)}', flush=True)
    return list(changes)


def _trusted(weights: Path | None, trust: bool) -> Path | None:
    """The file that may hold code; none unless that was asked for."""
    if not trust:
        return None
    if weights is None:
        raise _refusal_to_trust('load_from=None')
    warn_of_trust(weights)
    return weights


def _train_in(
    plan: 'RunPlan',
    cfg: 'Config',
    config: str | Path,
    weights: Path | None,
    changed: list[str],
    trusted: Path | None,
    pictures: bool,
) -> str:
    from flowercls.report.run_page import write_run_report
    from flowercls.train import decoded_photos, loading, run_summary, runner, tester, training

    cfg.work_dir = str(plan.folder)
    the_runner = runner.build_runner(cfg)
    the_runner.trusted = trusted
    if weights is not None:
        loading.load_starting_weights(the_runner, weights)  # a try: what does not fit is said before the run begins
    if the_runner.rank == 0:
        print(plan.announcement, flush=True)
    decoded_photos.use_photo_store(the_runner)
    if the_runner.rank == 0:
        print(run_summary.describe_run(the_runner, weights, plan.checkpoint), flush=True)
        the_runner.begun = lambda: _begin(plan, cfg, config, changed)
    try:
        result = training.run_training(the_runner, weights, plan.checkpoint, changed)
    except Exception:
        with contextlib.suppress(Exception):  # what ended the run is what has to be told
            _draw_curves(plan.folder, the_runner)
        raise
    if the_runner.rank != 0:
        return ''
    if not pictures:
        return run_summary.describe_result(result)
    _draw_curves(plan.folder, the_runner)
    draw_evaluation(plan.folder, tester.evaluation_of_best(the_runner, result))
    return run_summary.describe_result(result, write_run_report(result.folder, config))


def _begin(plan: 'RunPlan', cfg: 'Config', config: str | Path, changed: list[str]) -> None:
    from flowercls.train import run_dir

    if plan.checkpoint and changed:
        run_dir.keep_earlier_config(plan.folder, plan.checkpoint)
    run_dir.write_config(plan.folder, cfg, config)


def _dry_run(cfg: 'Config', trust: bool) -> str:
    cfg.feature_cache = None  # nothing is to be written
    from mmengine.dist import barrier

    from flowercls.core.distributed import decide_once
    from flowercls.train import run_summary, runner
    from flowercls.train.dry_run import try_one_batch

    weights = decide_once(lambda: starting_weights(cfg))
    the_runner = runner.build_runner(cfg)
    the_runner.trusted = _trusted(weights, trust)
    if the_runner.rank == 0:
        print(run_summary.describe_run(the_runner, weights), flush=True)
    tried = try_one_batch(the_runner, weights)
    barrier()  # flowers drawn for a dry run lie in the main process's temporary folder
    return tried if the_runner.rank == 0 else ''


def _draw_curves(folder: Path, runner) -> None:
    from flowercls.report.curves import plot_curves

    if runner.rank == 0:
        plot_curves(folder, runner.message_hub.runtime_info.get('best_epoch'))
