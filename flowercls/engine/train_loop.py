"""mmengine's training loop, which can be left and entered again in the middle of an epoch."""

import bisect
import itertools
from collections.abc import Iterator

from mmengine.hooks import EMAHook
from mmengine.runner import EpochBasedTrainLoop

from flowercls import interruption
from flowercls.engine.hooks.whole_checkpoint_hook import is_validated
from flowercls.engine.run_state import Position
from flowercls.engine.step_errors import explained


class ResumableTrainLoop(EpochBasedTrainLoop):
    """Trains the same batches in the same order, whether it is interrupted or not.

    Attributes:
        batches_done: Of the epoch that runs; after a resume, those that are not trained again.
        validation_pending: Whether the last complete epoch is still to be validated.
        has_trained: Whether a step was taken in this start.
    """

    batches_done = 0
    validation_pending = False
    has_trained = False

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return Position(self._epoch, self._iter, self.batches_done, self.validation_pending)

    @position.setter
    def position(self, position: Position) -> None:
        self._epoch, self._iter = position.epoch, position.iter
        self.batches_done, self.validation_pending = position.batch_in_epoch, position.validation_pending

    def run(self):
        """As mmengine's; signals end it between two steps.

        Raises:
            Interrupted: after SIGINT or SIGTERM.
        """
        self.runner.call_hook('before_train')
        with interruption.deferred():
            if self.validation_pending:
                self._validate()
            while self._epoch < self._max_epochs and not self.stop_training:
                interruption.check()
                self.run_epoch()
                self.validation_pending = is_validated(self.runner, self._epoch)
                if self.validation_pending:
                    self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train what is left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for number, batch in enumerate(self._batches_left(), self.batches_done):
            with explained(self.runner, batch):
                self.run_iter(number, batch)
                leave = interruption.is_pending()
                if leave or number + 1 == len(self.dataloader):
                    self._look()
            self.batches_done, self.has_trained = number + 1, True
            if leave:
                interruption.check()
        self._set_val_interval(self._epoch + 1)  # now: whether a checkpoint waits for the validation hangs on it
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.batches_done = 0

    def _look(self) -> None:
        """Whether a step was bad that a GPU was not asked about yet: nothing of it may be saved."""
        if hasattr(self.runner.optim_wrapper, 'look'):
            self.runner.optim_wrapper.look()

    def _set_val_interval(self, complete_epochs: int) -> None:
        """As mmengine's, which counts the epoch first."""
        step = bisect.bisect(self.dynamic_milestones, complete_epochs + 1)
        self.val_interval = self.dynamic_intervals[step - 1]

    def _batches_left(self) -> Iterator[dict]:
        """Batches of the epoch that are still to be trained; none of the others is loaded."""
        sampler = self.dataloader.sampler
        if not hasattr(sampler, 'first'):  # not ours: what was trained already is loaded, and passed over
            yield from itertools.islice(self.dataloader, self.batches_done, None)
            return
        sampler.first = self.batches_done * self.dataloader.batch_size
        try:
            yield from self.dataloader
        finally:
            sampler.first = 0

    def _validate(self) -> None:
        try:
            self.runner.val_loop.run()
        except interruption.Interrupted:  # within the epoch
            for hook in self.runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.after_val_epoch(self.runner)  # else a checkpoint would take the averages for the weights
            raise
        self.validation_pending = False
