"""mmengine's EarlyStoppingHook, which remembers how long it has waited when a run is resumed."""

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmpretrain.registry import HOOKS

from flowercls.errors import ConfigError


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """As mmengine's, under its name; its count and its best score are in every checkpoint."""

    priority = 'LOW'  # before the checkpoint of the epoch is written

    _reported = None  # instead of the metric that is asked for

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """As mmengine's, which would only warn, in each epoch, of a metric that there is none of."""
        if self.monitor in (metrics or {}):
            super().after_val_epoch(runner, metrics)
        else:
            self._reported = ', '.join(metrics or {})

    def before_train_epoch(self, runner) -> None:
        """Say that there is no such metric, now that the epoch is saved.

        Raises:
            ConfigError: if validation has not reported the metric.
        """
        if self._reported is not None:
            raise ConfigError(
                f'EarlyStoppingHook.monitor is {self.monitor!r}, which validation does not report; it reports '
                f'{self._reported}. Fix: choose one of these.'
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put its state into a checkpoint."""
        stopped = bool(runner.train_loop.stop_training)
        checkpoint['early_stopping'] = {
            'wait_count': self.wait_count,
            'best_score': float(self.best_score),
            'stopped': stopped,
            'by_patience': stopped and self.wait_count >= self.patience,
        }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take its state from the checkpoint that a run goes on from."""
        state = checkpoint.get('early_stopping')
        if runner._resume and state is not None:
            self.wait_count, self.best_score = state['wait_count'], state['best_score']
            # With more patience than before it goes on, unless its score was good enough, or no number.
            is_over = state['wait_count'] >= self.patience if state.get('by_patience') else state['stopped']
            runner.train_loop.stop_training = is_over
