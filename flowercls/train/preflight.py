"""What is checked and shown before the first step: data, model, common mistakes, and one trial batch of a dry run.

Each warning names its fix. What makes a run impossible is an error elsewhere.
"""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.utils.data import DataLoader

from flowercls.config.schedule import step_schedule_notes
from flowercls.core.distributed import unwrapped
from flowercls.core.errors import ConfigError
from flowercls.models.backbones.torchvision_backbone import preset_of
from flowercls.models.model_summary import StageRow, render_stage_table, stage_table
from flowercls.train.hooks import close_progress
from flowercls.train.loop import translate_step_errors
from flowercls.train.optimizer import check_parts, effective_batch_size
from flowercls.train.resume import FromCheckpoint, FromWeights, RandomInit
from flowercls.train.runner import ClassifierRunner, config_error_for, show_part

MIN_NORM_BATCH = 8  # photos; below, means and variances are noise (Wu and He 2018, "Group Normalization", figure 1)
MIN_BATCH_RATIO = 2  # how much larger or smaller a batch has to be before its learning rate is doubtful
MAX_ADAM_LR = 0.003  # ten times what fine-tuning recipes use
INCEPTION_SIZE = 299  # px; of bases that do not say `input_size`
BASE_SIZES = (224, 299, 384)  # px; of configs/_base_/datasets
MAX_MEAN_DIFFERENCE = 2.0  # of 255, between two means of the same normalisation
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


def preflight(runner: Runner) -> list[str]:
    """Return warnings about settings that rarely do what their user wants, each with its fix.

    Args:
        runner: With loaders and model built; one photo is loaded.
    """
    checks = (_rate_for_batch, _accumulation, _adam_rate, _schedule, _norm_batch, _last_batch, _log_interval)
    return [warning for check in (*checks, _image_size, _normalisation) for warning in check(runner)]


def _rate_for_batch(runner: Runner) -> Iterator[str]:
    scaling = runner.cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    if not base or scaling.get('enable'):
        return
    batch = effective_batch_size(runner)
    lr = runner.cfg.optim_wrapper.optimizer.get('lr')
    if lr and max(batch, base) / min(batch, base) >= MIN_BATCH_RATIO:
        yield (
            f'the learning rate {lr:g} is meant for {base} photos a step, this run takes {batch}. '
            f'Fix: --auto-scale-lr, which makes it {lr * batch / base:.3g}; or, if it was chosen for this run, '
            f'--cfg-options auto_scale_lr.base_batch_size={batch}'
        )


def _accumulation(runner: Runner) -> Iterator[str]:
    batches, steps = runner.cfg.optim_wrapper.get('accumulative_counts', 1), len(runner.train_dataloader)
    if batches > steps:
        yield (
            f'one step of the optimizer takes {batches} batches, an epoch has only {steps}. '
            f'Fix: --cfg-options optim_wrapper.accumulative_counts={max(1, steps // 4)}'
        )


def _adam_rate(runner: Runner) -> Iterator[str]:
    optimizer = runner.cfg.optim_wrapper.optimizer
    name, lr = str(optimizer.get('type')).rpartition('.')[2], optimizer.get('lr') or 0
    if name.startswith(('Adam', 'NAdam', 'RAdam')) and lr > MAX_ADAM_LR:
        yield (
            f'the learning rate {lr:g} is one for SGD; {name} mostly forgets the starting weights with it. '
            'Fix: optim_wrapper.optimizer.lr=0.0003, or from 0.0001 to 0.001.'
        )


def _schedule(runner: Runner) -> Iterator[str]:
    # The number of steps is known only here; schedulers that count epochs are checked with the config.
    yield from step_schedule_notes(runner.cfg.get('param_scheduler'), runner.max_epochs * len(runner.train_dataloader))


def _norm_batch(runner: Runner) -> Iterator[str]:
    layers, batch = _learning_norms(runner), runner.train_dataloader.batch_size
    if not layers or batch is None:
        return
    if all(isinstance(layer, SyncBatchNorm) for layer in layers):
        batch *= get_world_size()
    if batch < MIN_NORM_BATCH:
        yield (
            f'{len(layers)} batch-norm layers estimate means and variances from {batch} photos. '
            f'Fix: train_dataloader.batch_size={MIN_NORM_BATCH} or more (optim_wrapper.accumulative_counts does not '
            "help here), or model.frozen_stages='all', whose statistics stay."
        )


def _last_batch(runner: Runner) -> Iterator[str]:
    loader = runner.train_dataloader
    if loader.batch_size is None or loader.drop_last or not _learning_norms(runner):
        return
    if loader.batch_size > 1 and len(loader.sampler) % loader.batch_size == 1:
        yield (
            'the last batch of an epoch holds a single photo: batch norm learns nothing useful from it, and fails '
            'where the image has shrunk to one pixel. Fix: train_dataloader.drop_last=True, or another batch_size.'
        )


def _log_interval(runner: Runner) -> Iterator[str]:
    logger, steps = runner.cfg.default_hooks.get('logger'), len(runner.train_dataloader)
    if logger and logger.get('interval', 10) > steps:
        yield (
            f'the log gets a line every {logger.get("interval", 10)} steps, but an epoch has only {steps}. '
            f'Fix: --cfg-options default_hooks.logger.interval={max(1, steps // 4)}'
        )


def _image_size(runner: Runner) -> Iterator[str]:
    if runner.val_loop is None:
        return  # some recipes train with smaller photos than they test with
    backbone, preset = runner.cfg.model.backbone, _preset(runner)
    is_inception = 'inception' in str(backbone.get('type')).lower()
    preset_size = preset.crop_size[0] if preset else INCEPTION_SIZE if is_inception else 0
    weights_size = max(preset_size, runner.cfg.get('input_size') or 0)
    photo_size = min(runner.val_dataloader.dataset[0]['inputs'].shape[-2:])
    if photo_size < weights_size:
        base = f'_base_/datasets/flower_{weights_size}.py, or ' if weights_size in BASE_SIZES else ''
        yield (
            f'the weights of this {backbone.get("type")} are meant for {weights_size} px, validation photos have '
            f'{photo_size} px. Fix: {base}{weights_size} in the pipelines.'
        )


def _normalisation(runner: Runner) -> Iterator[str]:
    preset, preprocessor = _preset(runner), unwrapped(runner.model).data_preprocessor
    if preset is None or not getattr(preprocessor, '_enable_normalize', False):
        return
    means = [255 * mean for mean in preset.mean]
    if any(abs(a - b) > MAX_MEAN_DIFFERENCE for a, b in zip(means, preprocessor.mean.flatten().tolist(), strict=True)):
        stds = [round(255 * std, 3) for std in preset.std]
        yield (
            f'torchvision normalises photos for {runner.cfg.model.backbone.arch} with other values. Fix: '
            f'data_preprocessor = dict(mean={[round(mean, 3) for mean in means]}, std={stds}).'
        )


def _preset(runner: Runner) -> Any | None:
    """Return torchvision's transforms for its own starting weights; None for other networks, and without weights."""
    backbone, load_from = runner.cfg.model.backbone, runner.cfg.get('load_from') or ''
    if backbone.get('type') != 'TorchvisionBackbone' or not load_from.startswith('torchvision://'):
        return None
    return preset_of(backbone.arch, backbone.get('weights'))


def _learning_norms(runner: Runner) -> list[_BatchNorm]:
    """Return the batch-norm layers that learn: neither our freezing nor ``norm_eval`` of the backbone fixes them."""
    model = unwrapped(runner.model).train()
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]


def try_one_batch(runner: ClassifierRunner) -> str:
    """Train one batch and validate one, without keeping anything.

    Args:
        runner: After `ClassifierRunner.prepare`.
    """
    model = unwrapped(runner.model)
    try:
        runner.call_hook('before_train')  # some hooks refuse their arguments only then
    finally:
        close_progress(runner)
    model.train()
    batch = next(iter(runner.train_dataloader))
    with translate_step_errors(runner, batch):
        losses = model.train_step(batch, runner.optim_wrapper)
    lines = [f'one training batch of {len(batch["inputs"])}: loss {losses["loss"].item():.4f}']
    if runner.val_loop is not None:
        model.eval()
        with torch.no_grad():
            predicted = model.val_step(next(iter(runner.val_dataloader)))
        lines.append(f'one validation batch of {len(predicted)}: scores of {len(predicted[0].pred_score)} classes')
    return '\n'.join([*lines, 'dry run: config, weights and one batch each way checked, nothing written'])
