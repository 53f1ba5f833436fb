"""A run that is resumed with another schedule, for more epochs, or with other values of its optimizer."""

from mmengine.runner import Runner

from flowercls.engine.run_state import Position

# Of which keys a schedule is made, and an optimizer's groups are, by how they begin.
KEYS = ('param_scheduler', 'train_cfg.max_epochs', 'optim_wrapper.optimizer', 'optim_wrapper.paramwise_cfg')
KEYS += ('auto_scale_lr',)
OF_SCHEDULERS = ('lr', 'momentum', 'betas', 'initial_lr')


def follow_new_schedule(runner: Runner, position: Position) -> None:
    """Give a resumed run the rates, and its optimizer the values, that its config has at ``position``.

    The schedulers are built anew and taken through all steps so far: what one does depends on what others did before.
    One that listens to validation (ReduceOnPlateau) cannot be; it goes on from the checkpoint with the others.
    """
    keeps_rates = any(getattr(scheduler, 'need_val_args', False) for scheduler in runner.param_schedulers or [])
    _set_values(runner, but=OF_SCHEDULERS if keeps_rates else ())
    if keeps_rates:
        return
    runner.param_schedulers = runner.build_param_scheduler(runner.cfg.get('param_scheduler') or [])
    steps_an_epoch = len(runner.train_dataloader)
    for _ in range(position.epoch):
        _step(runner, steps_an_epoch)
        _end_epoch(runner)
    _step(runner, position.batch_in_epoch)


def _set_values(runner: Runner, but: tuple[str, ...]) -> None:
    fresh = runner.build_optim_wrapper(runner.cfg.optim_wrapper)
    runner.scale_lr(fresh, runner.auto_scale_lr)
    for group, new in zip(runner.optim_wrapper.param_groups, fresh.param_groups, strict=True):
        group.update({key: value for key, value in new.items() if key not in ('params', *but)})
        if not but:
            for key in [key for key in group if key.startswith('initial_')]:
                group.pop(key)  # schedulers note it when they are built


def _step(runner: Runner, number: int) -> None:
    for _ in range(number):
        for scheduler in runner.param_schedulers:
            if not scheduler.by_epoch:
                scheduler.step()


def _end_epoch(runner: Runner) -> None:
    for scheduler in runner.param_schedulers:
        if scheduler.by_epoch:
            scheduler.step()
