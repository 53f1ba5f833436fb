"""What usually goes wrong in a fine-tuning, looked for before the first step; each warning says what to do.

What makes a run impossible is an error elsewhere; what can be put right without asking is, with a note, by ``config``.
"""

from collections.abc import Iterator

from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from flowercls.config.schedules import never_fires
from flowercls.engine.distributed import unwrapped

LEAST_NORM_BATCH = 8  # photos; below, means and variances are noise (Wu and He 2018, "Group Normalization", figure 1)
OTHER_BATCH = 2  # times larger or smaller: from here on the learning rate is worth a word
HIGHEST_ADAM_LR = 0.003  # ten times what fine-tuning recipes use
INCEPTION_SIZE = 299  # px; of bases that do not say `input_size`


def preflight(runner: Runner) -> list[str]:
    """Sentences about settings that rarely do what their user wants, each with its remedy.

    Args:
        runner: With loaders and model built; what a loader gives is looked at.
    """
    checks = (_batch_of_the_rate, _adam_rate, _schedule, _batch_of_the_norm, _last_batch, _log_interval, _image_size)
    return [warning for check in checks for warning in check(runner)]


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
    yield from never_fires(runner.cfg.get('param_scheduler'), runner.max_epochs * len(runner.train_dataloader))


def _batch_of_the_norm(runner: Runner) -> Iterator[str]:
    batch = runner.train_dataloader.batch_size
    if batch is not None and batch < LEAST_NORM_BATCH and _num_learning_norms(runner):
        yield (
            f'{_num_learning_norms(runner)} batch-norm layers estimate means and variances from {batch} photos. '
            f'Fix: train_dataloader.batch_size={LEAST_NORM_BATCH} or more (optim_wrapper.accumulative_counts does not '
            "help here), or model.frozen_stages='all', whose statistics stay."
        )


def _last_batch(runner: Runner) -> Iterator[str]:
    loader = runner.train_dataloader
    if loader.batch_size is None or loader.drop_last or not _num_learning_norms(runner):
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
    backbone = runner.cfg.model.backbone
    is_inception = 'inception' in f'{backbone.get("type")} {backbone.get("arch")}'.lower()
    meant = runner.cfg.get('input_size') or (INCEPTION_SIZE if is_inception else None)
    loader = runner.train_dataloader if runner.val_loop is None else runner.val_dataloader
    given = min(loader.dataset[0]['inputs'].shape[-2:])
    if meant and given < meant:
        yield (
            f'the weights of this {backbone.get("type")} were trained with {meant} px, the photos come with {given}. '
            f'Fix: a dataset base of that size, as _base_/datasets/flower_{meant}.py, or {meant} in the pipelines; '
            f'or input_size={given} if you mean it.'
        )


def photos_a_step(runner: Runner) -> int:
    """Photos behind one step of the optimizer: batch size × processes × accumulated batches."""
    accumulated = runner.cfg.optim_wrapper.get('accumulative_counts', 1)
    return (runner.train_dataloader.batch_size or 1) * get_world_size() * accumulated


def _num_learning_norms(runner: Runner) -> int:
    """Batch-norm layers that are not frozen; a built model that has not run yet is in training mode."""
    layers = [module for module in unwrapped(runner.model).modules() if isinstance(module, _BatchNorm)]
    return sum(layer.training for layer in layers)
