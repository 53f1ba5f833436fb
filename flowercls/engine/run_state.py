"""What a run needs to go on: collected for a checkpoint, and given back."""

import functools
from dataclasses import asdict, dataclass, fields

import mmengine
import torch
from mmengine.config import Config
from mmengine.dist import is_distributed

import flowercls
from flowercls.config.resolved import resolved_text
from flowercls.engine.distributed import unwrapped

# What of mmengine's message hub a resumed run needs; the rest is derived again or is log history. `epoch_summary` is of
# an epoch that is trained and not validated yet.
_HUB_KEYS = ('best_score', 'best_epoch', 'best_checkpoint', 'last_top1', 'epoch_summary')


@dataclass(frozen=True, order=True)
class Position:
    """Where a run stands.

    Attributes:
        epoch: Complete epochs.
        iter: Steps in all.
        batch_in_epoch: Steps of the epoch that is not complete.
        validation_pending: Whether the last complete epoch is still to be validated.
    """

    epoch: int
    iter: int
    batch_in_epoch: int = 0
    validation_pending: bool = False


def position_in(checkpoint: dict) -> Position:
    """Where the run of a checkpoint stood."""
    meta = checkpoint['meta']
    return Position(**{field.name: meta[field.name] for field in fields(Position) if field.name in meta})


def collect_checkpoint(runner, position: Position) -> dict:
    """What a run needs to be continued or tested: weights, optimizer, schedulers, and where it stands.

    Args:
        runner: An mmengine Runner in training.
        position: Where it stands.
    """
    hub = runner.message_hub.runtime_info
    checkpoint = {
        'meta': _meta(runner, position),
        'state_dict': unwrapped(runner.model).state_dict(),
        'message_hub': {
            'log_scalars': {},
            'runtime_info': {key: hub[key] for key in _HUB_KEYS if key in hub},
            'resumed_keys': {},
        },
        'optimizer': runner.optim_wrapper.state_dict(),
        'param_schedulers': [scheduler.state_dict() for scheduler in runner.param_schedulers or []],
        'gradients': _gradients_in_waiting(runner),
    }
    runner.call_hook('before_save_checkpoint', checkpoint=checkpoint)  # an EMAHook puts its averages in here
    return checkpoint


def _gradients_in_waiting(runner) -> dict[str, torch.Tensor]:
    """Of accumulated batches, between two steps of the optimizer; none where every batch is a step."""
    if is_distributed() or runner.optim_wrapper.should_update():  # each of several processes has its own
        return {}
    return {name: p.grad for name, p in unwrapped(runner.model).named_parameters() if p.grad is not None}


def restore_gradients(model: torch.nn.Module, gradients: dict[str, torch.Tensor]) -> None:
    """Give parameters the gradients that a checkpoint has of accumulated batches."""
    parameters = dict(model.named_parameters())
    for name, gradient in gradients.items():
        parameters[name].grad = gradient.to(parameters[name].device)


@functools.lru_cache(maxsize=1)
def _text_of(cfg: Config) -> str:
    """Written once: laying it out takes a fifth of a second, and nothing changes the config of a run in training."""
    return resolved_text(cfg)


def _meta(runner, position: Position) -> dict:
    return {
        **asdict(position),
        'seed': runner.seed,
        'dataset_meta': {'classes': list(runner.train_dataloader.dataset.metainfo['classes'])},
        'data_manifest': runner.cfg.get('data_manifest'),
        'cfg': _text_of(runner.cfg),
        'mmengine_version': mmengine.__version__,
        'torch_version': str(torch.__version__),
        'flowercls_version': flowercls.__version__,
    }


def class_names_of(checkpoint: dict) -> list[str] | None:
    """The classes a checkpoint was trained for, or None where it does not say."""
    said = checkpoint
    for key in ('meta', 'dataset_meta', 'classes'):  # a file of somebody else may have anything under these names
        said = said.get(key) if isinstance(said, dict) else None
    return [str(name) for name in said] if said and isinstance(said, list | tuple) else None
