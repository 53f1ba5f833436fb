"""What usually goes wrong in a fine-tuning, looked for before the first step; each warning says what to do.

What makes a run impossible is an error elsewhere; what can be put right without asking is, with a note, by ``config``.
"""

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from flowercls.config.schedule import step_schedule_notes
from flowercls.core.distributed import unwrapped
from flowercls.models.backbones.torchvision_backbone import preset_of
from flowercls.train.optimizer import photos_a_step

LEAST_NORM_BATCH = 8  # photos; below, means and variances are noise (Wu and He 2018, "Group Normalization", figure 1)
OTHER_BATCH = 2  # times larger or smaller: from here on the learning rate is worth a word
HIGHEST_ADAM_LR = 0.003  # ten times what fine-tuning recipes use
INCEPTION_SIZE = 299  # px; of bases that do not say `input_size`
BASE_SIZES = (224, 299, 384)  # px; of configs/_base_/datasets
SAME_COLOUR = 2.0  # of 255; means further apart are another normalisation


def preflight(runner: Runner) -> list[str]:
    """Sentences about settings that rarely do what their user wants, each with its remedy.

    Args:
        runner: With loaders and model built; what a loader gives is looked at.
    """
    checks = (_batch_of_the_rate, _accumulation, _adam_rate, _schedule, _batch_of_the_norm, _last_batch, _log_interval)
    return [warning for check in (*checks, _image_size, _normalisation) for warning in check(runner)]


def _batch_of_the_rate(runner: Runner) -> Iterator[str]:
    scaling = runner.cfg.get('auto_scale_lr') or {}
    meant = scaling.get('base_batch_size')
    if not meant or scaling.get('enable'):
        return
    batch = photos_a_step(runner)
    lr = runner.cfg.optim_wrapper.optimizer.get('lr')
    if lr and max(batch, meant) / min(batch, meant) >= OTHER_BATCH:
        yield (
            f'the learning rate {lr:g} is meant for {meant} photos a step, this run takes {batch}. '
            f'Fix: --auto-scale-lr, which makes it {lr * batch / meant:.3g}; or, if it was chosen for this run, '
            f'auto_scale_lr.base_batch_size={batch}.'
        )


def _accumulation(runner: Runner) -> Iterator[str]:
    batches, steps = runner.cfg.optim_wrapper.get('accumulative_counts', 1), len(runner.train_dataloader)
    if batches > steps:
        yield (
            f'one step of the optimizer takes {batches} batches, an epoch has only {steps}. '
            f'Fix: optim_wrapper.accumulative_counts={max(1, steps // 4)}.'
        )


def _adam_rate(runner: Runner) -> Iterator[str]:
    optimizer = runner.cfg.optim_wrapper.optimizer
    name, lr = str(optimizer.get('type')).rpartition('.')[2], optimizer.get('lr') or 0
    if name.startswith(('Adam', 'NAdam', 'RAdam')) and lr > HIGHEST_ADAM_LR:
        yield (
            f'the learning rate {lr:g} is one for SGD; {name} mostly forgets the starting weights with it. '
            'Fix: optim_wrapper.optimizer.lr=0.0003, or from 0.0001 to 0.001.'
        )


def _schedule(runner: Runner) -> Iterator[str]:
    # Those counted in epochs are judged with the config; how many steps there are is known only here.
    yield from step_schedule_notes(runner.cfg.get('param_scheduler'), runner.max_epochs * len(runner.train_dataloader))


def _batch_of_the_norm(runner: Runner) -> Iterator[str]:
    layers, batch = _learning_norms(runner), runner.train_dataloader.batch_size
    if not layers or batch is None:
        return
    if all(isinstance(layer, SyncBatchNorm) for layer in layers):
        batch *= get_world_size()
    if batch < LEAST_NORM_BATCH:
        yield (
            f'{len(layers)} batch-norm layers estimate means and variances from {batch} photos. '
            f'Fix: train_dataloader.batch_size={LEAST_NORM_BATCH} or more (optim_wrapper.accumulative_counts does not '
            "help here), or model.frozen_stages='all', whose statistics stay."
        )


def _last_batch(runner: Runner) -> Iterator[str]:
    loader = runner.train_dataloader
    if loader.batch_size is None or loader.drop_last or not _learning_norms(runner):
        return
    if loader.batch_size > 1 and len(loader.sampler) % loader.batch_size == 1:
        yield (
            'the last batch of an epoch holds a single photo: batch norm learns nothing sensible from it, and fails '
            'where the image has shrunk to one pixel. Fix: train_dataloader.drop_last=True, or another batch_size.'
        )


def _log_interval(runner: Runner) -> Iterator[str]:
    logger, steps = runner.cfg.default_hooks.get('logger'), len(runner.train_dataloader)
    if logger and logger.get('interval', 10) > steps:
        yield (
            f'the log gets a line every {logger.get("interval", 10)} steps, but an epoch has only {steps}. '
            f'Fix: default_hooks.logger.interval={max(1, steps // 4)}.'
        )


def _image_size(runner: Runner) -> Iterator[str]:
    if runner.val_loop is None:
        return  # some recipes train with smaller photos than they test with
    backbone, preset = runner.cfg.model.backbone, _preset(runner)
    is_inception = 'inception' in str(backbone.get('type')).lower()
    own = preset.crop_size[0] if preset else INCEPTION_SIZE if is_inception else 0
    meant = max(own, runner.cfg.get('input_size') or 0)
    given = min(runner.val_dataloader.dataset[0]['inputs'].shape[-2:])
    if given < meant:
        base = f'_base_/datasets/flower_{meant}.py, or ' if meant in BASE_SIZES else ''
        yield (
            f'the weights of this {backbone.get("type")} are meant for {meant} px, the photos to validate come with '
            f'{given}. Fix: {base}{meant} in the pipelines.'
        )


def _normalisation(runner: Runner) -> Iterator[str]:
    preset, given = _preset(runner), unwrapped(runner.model).data_preprocessor
    if preset is None or not getattr(given, '_enable_normalize', False):
        return
    means = [255 * mean for mean in preset.mean]
    if any(abs(a - b) > SAME_COLOUR for a, b in zip(means, given.mean.flatten().tolist(), strict=True)):
        stds = [round(255 * std, 3) for std in preset.std]
        yield (
            f'torchvision normalises photos for {runner.cfg.model.backbone.arch} otherwise. Fix: '
            f'data_preprocessor = dict(mean={[round(mean, 3) for mean in means]}, std={stds}).'
        )


def _preset(runner: Runner) -> Any | None:
    """What torchvision tested its own starting weights with; None for other networks, and without weights."""
    backbone, load_from = runner.cfg.model.backbone, runner.cfg.get('load_from') or ''
    if backbone.get('type') != 'TorchvisionBackbone' or not load_from.startswith('torchvision://'):
        return None
    return preset_of(backbone.arch, backbone.get('weights'))


def _learning_norms(runner: Runner) -> list[_BatchNorm]:
    """Batch-norm layers that neither our freezing nor the backbone's own ``norm_eval`` keeps as they are."""
    model = unwrapped(runner.model).train()
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
