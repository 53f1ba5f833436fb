"""Distributed runs: joining the process group, and decisions of the main process for all."""

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
from flowercls.core.signals import NUM_PROCESSES

Result = TypeVar('Result')


def join(cfg: Config) -> None:
    """Join the process group, if a launcher started several processes.

    On GPUs mmengine does it. Without a GPU mmengine would still choose a GPU for every process, so the processes join
    over gloo here. The group is left when the interpreter ends.
    """
    if cfg.launcher == 'none' or is_distributed():
        return
    on_gpu = torch.cuda.is_available()
    variable = NUM_PROCESSES[cfg.launcher if on_gpu else 'pytorch']
    if variable not in os.environ:
        raise ConfigError(
            f'--launcher {cfg.launcher}: no launcher has started this process ({variable} is not set). Fix: torchrun '
            '--nproc-per-node=2 tools/train.py CONFIG --launcher pytorch, or leave the flag out.'
        )
    atexit.register(_leave)
    if on_gpu:
        store = _rendezvous() if cfg.launcher == 'pytorch' else {}
        options = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}  # the config is not complete yet
        init_dist(cfg.launcher, **options, **store)
        return
    torch.distributed.init_process_group('gloo', **_rendezvous())


def _rendezvous() -> dict[str, Any]:
    """Return a store of addresses for this start alone.

    When torchrun restarts the processes of a run, they get the store of the last start with its dead addresses: half
    of the restarts failed, or waited for half an hour.
    """
    store, rank, world_size = next(torch.distributed.rendezvous('env://'))
    start = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    return {'store': torch.distributed.PrefixStore(f'start {start}', store), 'rank': rank, 'world_size': world_size}


def _leave() -> None:
    """End the communication threads: a thread that outlives the interpreter can abort the process (exit -6)."""
    if is_distributed():
        gc.unfreeze()
        gc.collect()  # a model in a reference cycle still holds the group
        torch.distributed.destroy_process_group()


def on_main_process(function: Callable[[], Result]) -> Result:
    """Call ``function`` in the main process only, and return its result, or raise its error, in all processes.

    Args:
        function: Its result must be picklable.
    """
    if not is_distributed():
        return function()
    answer: list = [None, None]
    if is_main_process():
        try:
            answer[0] = function()
        except Exception as error:
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def print_once(text: str, **options: Any) -> None:
    """Print at once, in the main process only; ``options`` as `print`."""
    if is_main_process():
        print(text, flush=True, **options)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model inside a distributed wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model
