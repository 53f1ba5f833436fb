"""A run that is resumed with another schedule, or for more epochs: its rates are those the new schedule has there."""

from mmengine.runner import Runner

from flowercls.engine.run_state import Position

# Of which keys a schedule is made, by how they begin.
KEYS = ('param_scheduler', 'train_cfg.max_epochs', 'optim_wrapper.optimizer.lr', 'optim_wrapper.paramwise_cfg')
KEYS += ('auto_scale_lr',)


def follow_new_schedule(runner: Runner, position: Position) -> None:
    """Give a resumed run the rates that its config has at ``position``, instead of those of its checkpoint.

    The schedulers are built anew and taken through all steps so far: what one does depends on what others did before.
    One that listens to validation (ReduceOnPlateau) cannot be; it goes on from the checkpoint with the others.
    """
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in runner.param_schedulers or []):
        return
    _set_first_rates(runner)
    runner.param_schedulers = runner.build_param_scheduler(runner.cfg.get('param_scheduler') or [])
    steps_an_epoch = len(runner.train_dataloader)
    for _ in range(position.epoch):
        _step(runner, steps_an_epoch)
        _end_epoch(runner)
    _step(runner, position.batch_in_epoch)


def _set_first_rates(runner: Runner) -> None:
    fresh = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    runner.scale_lr(fresh, runner.auto_scale_lr)
    for group, new in zip(runner.optim_wrapper.param_groups, fresh.param_groups, strict=True):
        group['lr'] = new['lr']
        group.pop('initial_lr', None)  # schedulers note it when they are built


def _step(runner: Runner, number: int) -> None:
    for _ in range(number):
        for scheduler in runner.param_schedulers:
            if not scheduler.by_epoch:
                scheduler.step()


def _end_epoch(runner: Runner) -> None:
    for scheduler in runner.param_schedulers:
        if scheduler.by_epoch:
            scheduler.step()
