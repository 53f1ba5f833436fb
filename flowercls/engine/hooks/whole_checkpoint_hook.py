"""When checkpoints are written, which is the best, and which may go."""

import math
import shutil
from pathlib import Path

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from flowercls.config.sizes import as_size
from flowercls.engine.checkpoint import write_checkpoint
from flowercls.engine.checkpoint_files import link_checkpoint, remove_checkpoint
from flowercls.engine.distributed import unwrapped
from flowercls.engine.run_state import Position, collect_checkpoint
from flowercls.errors import ConfigError, DiskError, DivergedError
from flowercls.files import write_whole

LEAST_KEPT = 2


@HOOKS.register_module()
class WholeCheckpointHook(Hook):
    """Writes ``epoch_N.pth`` after the epoch's validation, and the best one also as ``best_<metric>_epoch_N.pth``.

    A file is written once and whole; an older one goes only after the newer one is safe. The best checkpoint is the
    same file under a second name, so it can be resumed from as well as tested. ``last_checkpoint`` names the newest.

    Args:
        interval: Epochs between checkpoints; the last epoch is always written, a new best one too.
        max_keep_ckpts: How many ``epoch_N.pth`` to keep; -1 keeps all. Two at least are kept: should the newest turn
            out to be damaged, there is another to go on from.
        save_best: Metric to judge by, e.g. ``'accuracy/top1'``; None keeps no best.
        rule: ``'greater'`` or ``'less'``: which value of the metric is better. Of equal ones the earlier epoch wins.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        max_keep_ckpts: int = 2,
        save_best: str | None = 'accuracy/top1',
        rule: str = 'greater',
    ) -> None:
        if rule not in ('greater', 'less'):
            raise ConfigError(f"default_hooks.checkpoint.rule is {rule!r}. Fix: 'greater' or 'less'.")
        self.interval = interval
        self.max_keep_ckpts = max_keep_ckpts
        self.save_best = save_best
        self.rule = rule
        self._written: set[Path] = set()  # by this process: another file of the name may be a damaged one

    @master_only
    def before_train(self, runner) -> None:
        """Look whether the disk has room for the checkpoints that are kept at the least.

        Raises:
            DiskError: with how much is needed.
        """
        needed, free = LEAST_KEPT * _expected_bytes(runner), shutil.disk_usage(runner.work_dir).free
        if free < needed:
            raise DiskError(
                f'{runner.work_dir}: {LEAST_KEPT} checkpoints take about {as_size(needed)}, {as_size(free)} are free. '
                'Fix: free some space, or another --work-dir.'
            )

    def after_train_epoch(self, runner) -> None:
        """Write the checkpoint of an epoch that is not validated."""
        if not is_validated(runner, runner.epoch + 1):
            self._save(runner, epoch=runner.epoch + 1, is_best=False)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the checkpoint of a validated epoch, so that it knows how good it is."""
        if runner.epoch > 0:
            runner.message_hub.update_info('last_top1', (metrics or {}).get('accuracy/top1'))
            try:
                is_best = self._note_if_best(runner, metrics or {})
            except ConfigError:
                self._save(runner, epoch=runner.epoch, is_best=False)  # the epoch itself was fine
                raise
            self._save(runner, epoch=runner.epoch, is_best=is_best)

    def _note_if_best(self, runner, metrics: dict) -> bool:
        if self.save_best is None:
            return False
        if self.save_best not in metrics:
            raise ConfigError(
                f'default_hooks.checkpoint.save_best is {self.save_best!r}, which validation does not report; it '
                f'reports {", ".join(metrics)}. Fix: choose one of these.'
            )
        score, hub = float(metrics[self.save_best]), runner.message_hub
        best = hub.runtime_info.get('best_score')
        is_better = best is None or (score > best if self.rule == 'greater' else score < best)
        if not (is_better and math.isfinite(score)):
            return False
        hub.update_info('best_score', score)
        hub.update_info('best_epoch', runner.epoch)
        hub.update_info('best_checkpoint', f'{self.best_prefix}{runner.epoch}.pth')
        return True

    @property
    def best_prefix(self) -> str:
        """What the name of a best checkpoint begins with."""
        return f'best_{str(self.save_best).replace("/", "_")}_epoch_'

    @master_only
    def _save(self, runner, epoch: int, is_best: bool) -> None:
        is_last = epoch == runner.max_epochs or runner.train_loop.stop_training
        if not (is_best or is_last or epoch % self.interval == 0):
            return
        folder = Path(runner.work_dir)
        path = folder / f'epoch_{epoch}.pth'
        self._write(runner, path, Position(epoch, runner.iter))
        if is_best:
            publish_best(path, runner.message_hub.get_info('best_checkpoint'))
        point_to(path)
        self._remove_old(folder, keep=path)

    @master_only
    def save_position(self, runner) -> Path | None:
        """Write ``iter_N.pth`` where the run stands, unless it can go on from there already.

        Returns:
            What it can go on from; None where no step was taken.
        """
        position, folder = runner.train_loop.position, Path(runner.work_dir)
        complete = folder / f'epoch_{position.epoch}.pth'
        if position.batch_in_epoch == 0 and complete in self._written:
            return complete
        path = folder / f'iter_{position.iter}.pth'
        if path not in self._written:
            self._write(runner, path, position)
            point_to(path)
        return path

    def _write(self, runner, path: Path, position: Position) -> None:
        checkpoint = collect_checkpoint(runner, position)
        _check_finite(checkpoint['state_dict'], position.epoch)
        write_checkpoint(path, checkpoint)
        self._written.add(path)

    def _remove_old(self, folder: Path, keep: Path) -> None:
        for _, path in _numbered(folder, 'iter_'):
            remove_checkpoint(path)  # of an interruption before this epoch was complete
        if self.max_keep_ckpts < 0:
            return
        files = epoch_checkpoints(folder)
        # Newer ones are damaged: this run went on from one before them.
        for path in files[files.index(keep) :][max(self.max_keep_ckpts, LEAST_KEPT) :]:
            remove_checkpoint(path)


def checkpoint_hook(runner) -> WholeCheckpointHook | None:
    """The one that a run has, if any."""
    return next((hook for hook in runner.hooks if isinstance(hook, WholeCheckpointHook)), None)


def save_position(runner) -> Path | None:
    """Let the run's `WholeCheckpointHook` save where the run stands; None where it has none, or cannot go on there.

    Before the first step there is nothing to save: what is being loaded may be there by halves.
    """
    hook, has_trained = checkpoint_hook(runner), getattr(runner.train_loop, 'has_trained', False)
    return hook.save_position(runner) if hook is not None and has_trained and runner.world_size == 1 else None


def _expected_bytes(runner) -> int:
    """Of a checkpoint: all weights, and for each that is trained the two averages that an optimizer keeps at most."""
    state = unwrapped(runner.model).state_dict().values()
    trained = (p for group in runner.optim_wrapper.param_groups for p in group['params'])
    return sum(value.nbytes for value in state) + 2 * sum(p.nbytes for p in trained)


def point_to(path: Path) -> None:
    """Name ``path`` as the newest checkpoint of its run."""
    with write_whole(path.with_name('last_checkpoint')) as file:
        file.write(path.name)


def publish_best(path: Path, name: str) -> None:
    """Give the checkpoint ``path`` a second name, and remove the best ones by that metric which it supersedes."""
    link_checkpoint(path, path.with_name(name))
    stem, _, epoch = name.removesuffix('.pth').rpartition('_')
    for number, older in _numbered(path.parent, f'{stem}_'):
        if number < int(epoch):
            remove_checkpoint(older)


def _check_finite(state_dict: dict[str, torch.Tensor], epoch: int) -> None:
    bad = [name for name, value in state_dict.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise DivergedError(
            f'epoch {epoch}: {len(bad)} of {len(state_dict)} weights and statistics are no numbers any more, first '
            f'{bad[0]}. Nothing of this epoch was saved. Fix: a lower learning rate (optim_wrapper.optimizer.lr), or '
            'optim_wrapper.clip_grad=dict(max_norm=1.0).'
        )


def epoch_checkpoints(folder: str | Path) -> list[Path]:
    """The files ``epoch_N.pth`` in ``folder``, newest epoch first."""
    return [path for _, path in sorted(_numbered(Path(folder), 'epoch_'), reverse=True)]


def _numbered(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    numbered = [(path.stem.removeprefix(prefix), path) for path in folder.glob(f'{prefix}*.pth')]
    return [(int(number), path) for number, path in numbered if number.isdecimal()]


def is_validated(runner, epoch: int) -> bool:
    """Whether the complete epoch number ``epoch`` is validated, as mmengine's EpochBasedTrainLoop decides it."""
    return (
        runner.val_loop is not None
        and epoch >= runner.val_begin
        and (epoch % runner.val_interval == 0 or epoch == runner.max_epochs)
    )
