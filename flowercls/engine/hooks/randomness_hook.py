"""Initial weights as a function of the seed; dropout and batch augmentation as one of (seed, step)."""

from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from flowercls.datasets.randomness import INITIAL_WEIGHTS, STEP, derive_seed, seed_generators


@HOOKS.register_module()
class CounterRandomnessHook(Hook):
    """Seeds all generators before the weights are initialised and before every step.

    What the step draws (dropout, drop-path, mixup) then depends on nothing that happened before it, so a run that was
    interrupted goes on exactly as it would have.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        """Seed for the initial weights, which are drawn next: whatever was looked at before does not matter."""
        seed_generators(derive_seed(runner.seed, INITIAL_WEIGHTS))

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed for the step ``runner.iter``; each process of a distributed run draws its own."""
        seed_generators(derive_seed(runner.seed, STEP, runner.iter, runner.rank))
