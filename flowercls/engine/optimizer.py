"""Which parameters an optimizer is given."""

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmpretrain.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with frozen parameters left out of the optimizer instead of skipped at every step."""

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of ``model``; ``paramwise_cfg`` works as in mmengine."""
        optim_wrapper = super().__call__(model)
        groups = optim_wrapper.optimizer.param_groups
        for group in groups:
            group['params'] = [parameter for parameter in group['params'] if parameter.requires_grad]
        groups[:] = [group for group in groups if group['params']]
        return optim_wrapper
