"""Fine-tune a classifier on a prepared folder of photos."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flowercls.commands.shared import Overrides, accuracy_text, heatmaps_of
from flowercls.core import signals
from flowercls.core.layout import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    METRICS_FILE,
    MISTAKES_FILE,
    PREDICTIONS_VAL_FILE,
    PREDICTIONS_VAL_LAST_FILE,
)
from flowercls.core.terminal import as_duration, next_steps, tool_command

if TYPE_CHECKING:
    from flowercls.train.trainer import TrainResult

# In a run folder, named in the last block where they are there; the pictures are on its page.
FILES_SHOWN = (METRICS_FILE, PREDICTIONS_VAL_FILE, PREDICTIONS_VAL_LAST_FILE, MISTAKES_FILE, CALIBRATION_FILE)
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
    command: str | None = None,
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
        command: The command as typed, for ``command.txt`` in the run folder.
        **flags: ``amp``, ``no_validate``, ``auto_scale_lr``, ``deterministic`` and ``launcher``, as
            `flowercls.config.resolve.Flags`.

    Returns:
        The last block to show: result, time and where things are.
    """
    from flowercls.config.loader import find_config
    from flowercls.train import trainer

    config = find_config(config)
    where = {'work_dir': work_dir, 'resume': resume, 'overrides': overrides}
    options = trainer.TrainOptions(**flags, allow_config_change=allow_config_change, trust_checkpoint=trust_checkpoint)
    if dry_run:
        return trainer.dry_run(config, **where, options=options)
    report = calibration = None

    def finish(folder: Path, result: 'TrainResult | None') -> None:
        nonlocal report, calibration
        if result is not None and result.best_checkpoint:
            calibration = _calibrate(folder)
        if not pictures:
            return
        from flowercls.data.decode import decode_rgb
        from flowercls.report.run_page import write_run_report
        from flowercls.report.run_pictures import draw_run

        draw_run(folder, decode_rgb, heatmaps_of(folder, trusted=True) if result else None)
        if result is not None:
            report = write_run_report(folder)

    result = trainer.train(config, **where, options=options, command=command, after_training=finish)

    from mmengine.dist import is_main_process

    return describe_result(result, report, calibration) if is_main_process() else ''


def _calibrate(folder: Path) -> dict | None:
    """Write the calibration.json of a finished run and return its content, unless the config says no.

    A failure is only a warning: the training is done and saved.
    """
    from flowercls.config.dump import load_dumped
    from flowercls.use.unknown.calibrate import calibrate

    if load_dumped(folder / CONFIG_FILE).get('calibration') is None:
        return None
    try:
        return calibrate(folder, trusted=True)  # this process has run the config's own modules already
    except Exception as error:
        again = tool_command('predict', '--calibrate', folder)
        print(f'warning: {folder / CALIBRATION_FILE} is not written ({error}). Fix: {again}', file=sys.stderr)
        return None


def describe_result(result: 'TrainResult', report: Path | None = None, calibration: dict | None = None) -> str:
    """Return the last block of a training: result, time, where files are, and what to do next, ready to paste.

    Args:
        result: Of the training.
        report: The run's page, if there is one.
        calibration: Content of its calibration.json, if there is one.
    """
    epochs = f'{result.epochs_now} {"epoch" if result.epochs_now == 1 else "epochs"}'
    lines = [f'time        {as_duration(result.seconds)} for {epochs}']
    if result.best_checkpoint:
        from flowercls.evaluate.optimism import best_epoch_optimism, selection_clause

        metrics = json.loads((result.folder / METRICS_FILE).read_text(encoding='utf-8'))
        lines.insert(0, f'best        {accuracy_text(metrics)} at epoch {result.best_epoch} of {result.epochs}')
        if result.last_top1 is not None:
            lines.insert(1, f'last epoch  top-1 {result.last_top1:.2f} %')
        if clause := selection_clause(best_epoch_optimism(result.folder)):
            lines.insert(1, f'optimism    {clause}')
    if result.epochs < result.max_epochs:
        lines.append(f'stopped     early, after epoch {result.epochs} of {result.max_epochs}')
    checkpoint = result.best_checkpoint or result.last_checkpoint
    if calibration and calibration['threshold']:
        from flowercls.use.unknown.calibrate import confidence_text

        lines.append(f'confidence  {confidence_text(calibration)}')
    lines.append(f'run folder  {result.folder}')
    lines.append(f'checkpoint  {checkpoint or "none: default_hooks.checkpoint is switched off"}')
    if there := [name for name in FILES_SHOWN if (result.folder / name).is_file()]:
        lines.append(f'also there  {", ".join(there)}')
    steps = {str(report): 'open it in a browser'} if report else {tool_command('report', result.folder): 'one page'}
    if checkpoint:
        steps[tool_command('predict', result.folder, 'PHOTOS')] = 'classify new photos'
        steps[tool_command('export', result.folder, '--format', 'onnx')] = 'for other programs; html: a page to try it'
    return '\n'.join([*lines, next_steps(steps)])
