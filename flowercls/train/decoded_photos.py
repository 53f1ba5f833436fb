"""Photo cache of a run: its data sets read decoded photos instead of files."""

from collections.abc import Iterator

import torch
from mmengine.runner import Runner

from flowercls.config.data_keys import IMAGE_FOLDER, datasets_in
from flowercls.core.terminal import num_bytes
from flowercls.core.workers import usable_cpus
from flowercls.data.photo_cache import prepare_photo_cache


def use_photo_cache(runner: Runner) -> None:
    """Let the loaders of a run read the folder's decoded photos; the photos are decoded now if they are not yet.

    To be called before the first loader is built, by every process of the run.

    Raises:
        DataError: if a photo cannot be read or decoded.
    """
    cfg, datasets = runner.cfg, list(_datasets(runner))
    if not datasets:
        return
    arguments, is_complete = prepare_photo_cache(
        cfg.data_root,
        [dataset.get('pipeline') for dataset in datasets],
        cfg.cache_dir,
        budget=num_bytes(cfg.photo_cache.budget) if cfg.get('photo_cache') else None,
        report=lambda line: print(f'photo cache: {line}', flush=True) if runner.rank == 0 else None,
    )
    if arguments is not None:
        for dataset in datasets:
            dataset['photo_cache'] = arguments
    if is_complete and not torch.cuda.is_available():
        _leave_cores_to_network(runner)


def _leave_cores_to_network(runner: Runner) -> None:
    """Use at most one loader worker for every four cores; the number of workers changes no result.

    On a CPU a worker takes time from compute threads that wait for each other, and one worker reads several hundred
    cached photos a second. ResNet-50 with two frozen stages on two cores, medians of five rounds: 0.87 and 0.92 of a
    bare loop with two workers, 0.95 and 0.99 with one.
    """
    max_workers = max(1, usable_cpus() // 4)
    for loader in _loaders(runner):
        loader['num_workers'] = min(loader.get('num_workers', 0), max_workers)


def _datasets(runner: Runner) -> Iterator[dict]:
    for loader in _loaders(runner):
        for _, dataset in datasets_in(loader, ''):
            if str(dataset.get('type')).rpartition('.')[2] == IMAGE_FOLDER:
                yield dataset


def _loaders(runner: Runner) -> Iterator[dict]:
    """Yield the loaders in the runner's own copy of the config: the config that is written down stays unchanged."""
    for loader in (runner._train_dataloader, runner._val_dataloader, runner._test_dataloader):
        if isinstance(loader, dict):
            yield loader
