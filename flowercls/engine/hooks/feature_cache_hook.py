"""Training and validation on features of the frozen stages, which are computed once and kept."""

import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from torch.utils.data import DataLoader, Sampler

from flowercls.config.sizes import as_size
from flowercls.datasets.kept_features import KeptFeatures
from flowercls.datasets.processes import with_progress
from flowercls.datasets.randomness import SampleKey
from flowercls.datasets.samplers import CounterSampler
from flowercls.engine.distributed import unwrapped
from flowercls.engine.feature_store import FeatureStore
from flowercls.engine.hooks.progress_hook import as_duration
from flowercls.engine.loader_photos import LoaderPhotos
from flowercls.errors import ConfigError
from flowercls.models.feature_preprocessor import FeaturePreprocessor

ALL = 'all'


class FeatureCacheHook(Hook):
    """Keeps what the frozen stages make of each view of each photo, and trains the rest of the network on it.

    Epoch e shows view e mod ``views``; a view is computed in the order and the batches of the first epoch that shows
    it, so that ``views='all'`` gives the very bits that training without kept features would.

    Args:
        folder: Where features are kept; runs share what they have in common.
        views: How many views of a photo are kept, or ``'all'``: one for each epoch.
        dtype: As `FeatureStore`.
        budget: Bytes. If the run's features would take more, none are kept and it trains as without.
    """

    priority = 'VERY_HIGH'

    def __init__(self, folder: str | Path, views: int | str, dtype: str, budget: int) -> None:
        self._folder, self._views, self._dtype, self._budget = Path(folder), views, dtype, budget
        self._is_on = False

    def before_train(self, runner) -> None:
        """Exchange photos for features, if these fit into the budget.

        Raises:
            ConfigError: if the views of photos, or their features, cannot be kept track of.
            DiskError: if the disk is full.
        """
        model = unwrapped(runner.model)
        self._console = Console(highlight=False, soft_wrap=True, quiet=not is_main_process())
        self._store = FeatureStore(self._folder, model, model.data_preprocessor, self._dtype)
        self._num_views = runner.max_epochs if self._views == ALL else self._views
        self._train = _photos(runner.train_dataloader, runner.cfg.train_dataloader)
        self._val = _photos(runner.val_dataloader, runner.cfg.val_dataloader) if runner.val_loop is not None else None
        _check_sampler(self._train.sampler)
        self._is_on = self._fits()
        if self._is_on:
            self._exchange_loaders(runner)
            self._exchange_preprocessor(model)

    def before_train_epoch(self, runner) -> None:
        """Show the epoch's view, which is computed now if it was never needed before."""
        if self._is_on:
            view = runner.epoch % self._num_views
            counters = {'view': view, 'seed': self._train.sampler.seed}
            what = f'view {view + 1} of {self._num_views}'
            self._show(runner.train_dataloader.dataset, self._train, self._keys(view), what, counters)

    def _exchange_loaders(self, runner) -> None:
        # The network still takes photos here.
        if self._val is not None:
            features = KeptFeatures(self._val.dataset)
            self._show(features, self._val, list(self._val.sampler), 'validation', {})
            runner.val_loop.dataloader = self._val.loader_of(features)
        features = KeptFeatures(self._train.dataset, counts_repeats=self._views == ALL)
        runner.train_loop.dataloader = self._train.loader_of(features)

    def _exchange_preprocessor(self, model) -> None:
        photos = model.data_preprocessor
        features = FeaturePreprocessor(model.precision == 'fp32', photos.to_onehot, photos.num_classes)
        model.data_preprocessor = features.to(photos.device)
        model.takes_kept_features = True

    def _keys(self, view: int) -> list[SampleKey]:
        """What a view has: photos in the order of the epoch of its number, and then those that this one leaves out."""
        keys = self._train.sampler.keys_of(view)
        if self._views == ALL:
            return keys
        photos = dict.fromkeys([*map(int, keys), *range(len(self._train.dataset))])
        return [SampleKey(photo, self._train.sampler.seed, view) for photo in photos]

    def _fits(self) -> bool:
        num_photos = len(self._train.dataset) * self._num_views + (len(self._val.dataset) if self._val else 0)
        first = next(iter(self._train.batches([SampleKey(0, 0, 0)])))
        needed = num_photos * self._store.bytes_each(first)
        if needed > self._budget:
            self._console.print(
                f'note: the features of {self._num_views} views would take {as_size(needed)}, more than '
                f'feature_cache.budget ({as_size(self._budget)}), so frozen stages are computed in every epoch.'
            )
        return needed <= self._budget

    def _show(self, shown: KeptFeatures, photos: LoaderPhotos, keys: Sequence[int], what: str, counters: dict) -> None:
        key = self._store.key_of({**photos.identity(keys), **counters})
        if not self._store.has(key):
            self._build(key, photos, keys, what)
        features, channels_last = self._store.read(key)
        shown.show(features, keys, channels_last=channels_last)

    def _build(self, key: str, photos: LoaderPhotos, keys: Sequence[int], what: str) -> None:
        started, name = time.monotonic(), f'frozen features, {what}'
        batches = photos.batches(keys)
        self._store.build(key, {'what': name}, with_progress(batches, len(batches), name), len(keys))
        size, seconds = as_size(self._store.size_of(key)), as_duration(time.monotonic() - started)
        self._console.print(f'{name}: {len(keys):,} photos, {size}, {seconds}, {self._folder}')


def _photos(loader: DataLoader, section: dict) -> LoaderPhotos:
    return LoaderPhotos(loader, section['dataset']['pipeline'])


def _check_sampler(sampler: Sampler) -> None:
    if not isinstance(sampler, CounterSampler):
        raise ConfigError(
            f'feature_cache: {type(sampler).__name__} does not say which view of a photo it asks for. '
            "Fix: train_dataloader.sampler=dict(type='CounterSampler'), or feature_cache.views=0."
        )
