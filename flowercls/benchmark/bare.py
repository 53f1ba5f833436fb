"""The ceiling: the same network trained in a plain loop on a batch of random numbers that never changes."""

import contextlib

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from flowercls.benchmark.cases import Case
from flowercls.benchmark.pace import Pace
from flowercls.models.freezing import num_frozen_stages
from flowercls.train.optimizer import one_kernel
from flowercls.train.runner import use_all_cores


def run_bare(cfg: Config, case: Case, pace: Pace) -> None:
    """Train until ``pace`` ends the process.

    Args:
        cfg: Ours, complete and checked; its precision, memory layout, batch size and optimizer are used.
        case: What is frozen; ``cached`` starts from the frozen part's output.
        pace: The clock.
    """
    use_all_cores()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model)).to(device).train()
    inputs = _batch(model, cfg, case, device)
    labels = torch.arange(len(inputs), device=device) % cfg.data_preprocessor.num_classes  # not every head says
    options = {**one_kernel(cfg.optim_wrapper.optimizer), **cfg.optim_wrapper.optimizer}
    optimizer = getattr(torch.optim, options.pop('type'))([p for p in model.parameters() if p.requires_grad], **options)
    while True:
        pace.step_begins()
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(_logits(model, inputs, case), labels).backward()
        optimizer.step()
        pace.step_ended(len(inputs))


def _batch(model: nn.Module, cfg: Config, case: Case, device: str) -> Tensor:
    """Photos, or what the frozen part makes of them, in the layout and precision that it has."""
    size = cfg.get('input_size', 224)
    images = torch.randn(cfg.train_dataloader.batch_size, 3, size, size, device=device)
    if model.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    if not case.cached:
        return images
    with torch.no_grad(), _autocast(model, device):
        features = model.stages.prefix(images, num_frozen_stages(case.frozen))
        return _pooled(model, features) if case.frozen == 'all' else features


def _logits(model: nn.Module, x: Tensor, case: Case) -> Tensor:
    number = num_frozen_stages(case.frozen)
    with _autocast(model, x.device.type):
        if case.frozen and not case.cached:
            with torch.no_grad():
                x = model.stages.prefix(x, number)
        if not (case.cached and case.frozen == 'all'):
            x = _pooled(model, model.stages.suffix(x, number) if case.frozen else model.stages.run(x))
    return model.head((x.float(),))


def _pooled(model: nn.Module, x: Tensor | tuple[Tensor, ...]) -> Tensor:
    x = model.neck(x) if model.with_neck else x
    return x[-1] if isinstance(x, tuple) else x


def _autocast(model: nn.Module, device: str) -> contextlib.AbstractContextManager:
    return torch.autocast(device, torch.bfloat16) if model.precision == 'bf16' else contextlib.nullcontext()
