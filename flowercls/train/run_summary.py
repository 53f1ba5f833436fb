"""Texts that a run prints before its first step and after its last one."""

from pathlib import Path

import torch
from torch.utils.data import DataLoader

from flowercls.core.distributed import unwrapped
from flowercls.core.errors import ConfigError
from flowercls.core.layout import (
    CONFIG_FILE,
    CONFUSION_PICTURE,
    CURVES_PICTURE,
    METRICS_FILE,
    MISTAKES_FILE,
    MISTAKES_PICTURE,
    PREDICTIONS_VAL_FILE,
    RELIABILITY_PICTURE,
)
from flowercls.core.terminal import as_duration, tool_command
from flowercls.evaluate.intervals import INTERVAL
from flowercls.models.model_summary import StageRow, render_stage_table, stage_table
from flowercls.train.optimizer import check_parts
from flowercls.train.preflight import preflight
from flowercls.train.resume import FromCheckpoint, FromWeights, RandomInit
from flowercls.train.runner import ClassifierRunner, config_error_for, show_part
from flowercls.train.trainer import TrainResult

PARTS = ('backbone', 'neck', 'head')


def describe_run(runner: ClassifierRunner, start: RandomInit | FromWeights | FromCheckpoint) -> str:
    """Return data, device, starting weights, stage table and warnings of a prepared run.

    Raises:
        ConfigError: if the parts of the model do not fit each other or the photos.
    """
    model = unwrapped(runner.model)
    train = runner.train_dataloader
    # The parts have to fit each other, and some networks take one size only.
    size = _photo_size(train, 'train_dataloader')
    rows = _checked_stages(runner, size)
    if runner.val_loop is not None and (other := _photo_size(runner.val_dataloader, 'val_dataloader')) != size:
        _checked_stages(runner, other)
    names = train.dataset.metainfo['classes']
    batches = f'{len(train)} batches of {train.batch_size}'
    lines = [
        f'data: {runner.cfg.data_root}, {len(train.dataset)} training photos, {batches}, {len(names)} classes '
        f'({", ".join(names)})',
        f'device: {device_name(model)}, {model.precision}, '
        f'{"channels last" if model.channels_last else "channels first"}',
        start.description,
    ]
    lr_mult = (runner.cfg.optim_wrapper.get('paramwise_cfg') or {}).get('stage_lr_mult') or {}
    if lr_mult:
        check_parts(model, lr_mult)
    lines.append(render_stage_table(rows, lr_mult))
    lines += [f'warning: {warning}' for warning in preflight(runner)]
    return '\n'.join(lines)


def _photo_size(loader: DataLoader, name: str) -> tuple[int, int]:
    """Return (height, width) of the model's input; a transform may refuse its arguments when it is used."""
    with config_error_for(f'{name}.dataset', RuntimeError):
        sample = loader.dataset[0]
    if 'inputs' not in sample:
        raise ConfigError(
            f'{name}.dataset.pipeline: gives {", ".join(map(str, sample))}, and no inputs for the model. Fix: end it '
            "with dict(type='PackInputs'), as configs/_base_/datasets/flower_224.py does."
        )
    return tuple(sample['inputs'].shape[-2:])


def _checked_stages(runner: ClassifierRunner, size: tuple[int, int]) -> list[StageRow]:
    model = runner.cfg.model
    parts = '; '.join(f'{name} {show_part(model[name])}' for name in PARTS if isinstance(model.get(name), dict))
    fix = f'values of model.* that fit each other, or photos of another size than {"x".join(map(str, size))}'
    with config_error_for('model', RuntimeError, fix=f'{fix} (size=... in the pipelines)', about=parts):
        return stage_table(unwrapped(runner.model), size)


def device_name(model: torch.nn.Module) -> str:
    """Return the name of the hardware that a model computes on."""
    device = next(model.parameters()).device
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device.type.upper()}, {torch.get_num_threads()} threads'


def describe_result(result: TrainResult, report: Path | None = None) -> str:
    """Return the last block of a training: result, time, and where files are.

    Args:
        result: Of the training.
        report: The run's page, if there is one.
    """
    epochs = f'{result.epochs_now} {"epoch" if result.epochs_now == 1 else "epochs"}'
    lines = [f'time        {as_duration(result.seconds)} for {epochs}']
    if result.best_checkpoint:
        metrics = result.metrics()
        lines.insert(0, f'best        {accuracy_text(metrics)} at epoch {result.best_epoch} of {result.epochs}')
        if result.last_top1 is not None:
            lines.insert(1, f'last epoch  top-1 {result.last_top1:.2f} %')
    if result.epochs < result.max_epochs:
        lines.append(f'stopped     early, after epoch {result.epochs} of {result.max_epochs}')
    checkpoint = result.best_checkpoint or result.last_checkpoint
    files = {'checkpoint': checkpoint or 'none: default_hooks.checkpoint is switched off'}
    if (curves := result.folder / CURVES_PICTURE).is_file():
        files['curves'] = curves
    if result.best_checkpoint:
        files['metrics'] = result.folder / METRICS_FILE
        files['scores'] = result.folder / PREDICTIONS_VAL_FILE
        pictures = (MISTAKES_PICTURE, CONFUSION_PICTURE, RELIABILITY_PICTURE)
        drawn = [name for name in pictures if (result.folder / name).is_file()]
        files['mistakes'] = ', '.join([str(result.folder / MISTAKES_FILE), *drawn])
    if report:
        files['report'] = report
    lines += [f'{name:<11} {path}' for name, path in files.items()]
    if checkpoint:
        test = tool_command('test', result.folder / CONFIG_FILE, checkpoint)
        lines.append(f'test it     {test}')
    return '\n'.join([*lines, f'run folder  {result.folder}'])


def describe_test(metrics: dict, folder: Path) -> str:
    """Return the table of a test: precision, recall and F1 of each class in percent, averages, accuracy, mistakes."""
    rows = [*metrics['per_class'].items(), ('macro average', {**metrics['macro'], 'support': metrics['n']})]
    width = max(len(name) for name, _ in rows)
    lines = [f'{"class":<{width}}  precision  recall     f1  photos']
    for name, row in rows:
        lines.append(
            f'{name:<{width}}  {row["precision"]:9.2f}  {row["recall"]:6.2f}  {row["f1"]:5.2f}  {row["support"]:6d}'
        )
    augmented = ', with test-time augmentation' if metrics['tta'] else ''
    lines += [
        f'{accuracy_text(metrics)} on the {"validation" if metrics["split"] == "val" else metrics["split"]} set'
        f'{augmented}',
        f'negative log-likelihood {metrics["nll"]:.4f}, calibration error {metrics["ece"]:.2f} %',
        f'most confused: {_most_confused_text(metrics)}',
        f'results     {folder}',
    ]
    return '\n'.join(lines)


def _most_confused_text(metrics: dict, most: int = 3) -> str:
    pairs = [f'{pair["true"]} as {pair["pred"]} ({pair["photos"]})' for pair in metrics['most_confused'][:most]]
    return ', '.join(pairs) or 'none'


def accuracy_text(metrics: dict) -> str:
    """Return top-1 with its interval: ``top-1 96.32 % (549 of 570, 95 % interval 94.4-97.6)``."""
    hits = sum(row[i] for i, row in enumerate(metrics['confusion']))
    low, high = metrics['top1_interval']
    return f'top-1 {metrics["top1"]:.2f} % ({hits} of {metrics["n"]}, {INTERVAL} {low:.1f}-{high:.1f})'
