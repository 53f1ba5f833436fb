"""Several processes of one run: how they meet, and how one of them decides for all."""

import atexit
import gc
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, init_dist, is_distributed, is_main_process
from mmengine.model import is_model_wrapper

from flowercls.core.errors import ConfigError

Result = TypeVar('Result')


def join(cfg: Config) -> None:
    """Meet the other processes of this run, if a launcher started several.

    On GPUs as mmengine does it. Without one mmengine would still choose a GPU for every process, so the processes
    meet here, over gloo. They part when the interpreter ends.
    """
    if cfg.launcher == 'none' or is_distributed():
        return
    if cfg.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ConfigError(
            '--launcher pytorch: this process was not started by torchrun. Fix: torchrun --nproc-per-node=2 '
            'tools/train.py CONFIG --launcher pytorch, or leave the flag out.'
        )
    atexit.register(_part)
    if torch.cuda.is_available():
        place = _meeting_place() if cfg.launcher == 'pytorch' else {}
        init_dist(cfg.launcher, **cfg.env_cfg.get('dist_cfg', {}), **place)
        return
    torch.distributed.init_process_group('gloo', **_meeting_place())


def _meeting_place() -> dict[str, Any]:
    """A store of addresses for this start alone.

    Processes that torchrun starts again after one has died get the store of those before, where they would find
    addresses at which nobody listens any more: half of the restarts failed, or waited for half an hour.
    """
    store, rank, world_size = next(torch.distributed.rendezvous('env://'))
    start = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    return {'store': torch.distributed.PrefixStore(f'start {start}', store), 'rank': rank, 'world_size': world_size}


def _part() -> None:
    """End the communication's threads: one that outlives the interpreter now and then aborts the process (exit -6)."""
    if is_distributed():
        gc.unfreeze()
        gc.collect()  # a model that nobody holds but a circle still holds the group
        torch.distributed.destroy_process_group()


def decide_once(decide: Callable[[], Result]) -> Result:
    """Let the main process decide, and give its answer, or its error, to all.

    Args:
        decide: Called in the main process only; what it returns must be picklable.
    """
    if not is_distributed():
        return decide()
    answer: list = [None, None]
    if is_main_process():
        try:
            answer[0] = decide()
        except Exception as error:
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model inside a distributed wrapper, or itself."""
    return model.module if is_model_wrapper(model) else model
