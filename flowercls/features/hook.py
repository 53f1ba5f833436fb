"""Training and validation on cached features: the call that switches a Runner over, and the hook that goes with it."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from torch.utils.data import DataLoader

from flowercls.core import signals
from flowercls.core.distributed import on_main_process, unwrapped
from flowercls.core.errors import ConfigError
from flowercls.core.terminal import as_duration, as_size, num_bytes
from flowercls.core.workers import with_progress
from flowercls.data.randomness import SampleKey
from flowercls.data.sampler import CounterSampler
from flowercls.features.dataset import FeatureDataset, feature_loader, ordered_loader
from flowercls.features.key import FeatureKeys
from flowercls.features.store import FeatureStore

ALL = 'all'


def use_cached_features(runner: Runner, cache: Mapping[str, Any] | None, *, was_cached: bool | None = None) -> None:
    """Train and validate on the cached outputs of the frozen stages, if they fit into the budget and on the disk.

    Call it once the weights are loaded and before the first epoch. It computes the validation features, replaces the
    loaders of ``runner.train_loop`` and ``runner.val_loop``, lets the model accept features, and registers a
    `FeatureCacheHook`. If the features do not fit, it prints a note, and every epoch computes the frozen stages. If the
    config asks for no cache or freezes no stage, it does nothing.

    Args:
        runner: With built loops and loaded weights.
        cache: ``feature_cache`` of the config: ``views`` of each photo (a number, or ``'all'``: one for each epoch),
            ``dtype`` and ``budget``; None or 0 views for no cache.
        was_cached: ``features_kept`` of the checkpoint that is resumed; None where there is none.

    Raises:
        ConfigError: if the sampler does not say which view of a photo it asks for, or if a resumed run would train on
            other bits than before.
        DiskError: if the disk is full.
    """
    if not (cache and cache['views'] and runner.cfg.model.get('frozen_stages')):
        return
    features = CachedFeatures(runner, cache)
    obstacle = on_main_process(features.obstacle)  # free space changes between two looks
    is_cached = obstacle is None
    if was_cached not in (None, is_cached):
        raise ConfigError(_other_bits(cache['dtype'], obstacle))
    if is_cached:
        features.console.print(features.announcement())
        if features.val_loader is not None:
            dataset = FeatureDataset(features.val_loader.dataset)
            features.show(dataset, features.validation())
            runner.val_loop.dataloader = feature_loader(features.val_loader, dataset)
        dataset = FeatureDataset(features.train_loader.dataset, counts_repeats=features.has_view_per_epoch)
        runner.train_loop.dataloader = feature_loader(features.train_loader, dataset)
        unwrapped(runner.model).accept_features()
    else:
        features.console.print(f'note: {obstacle}, so every epoch computes the frozen stages.')
    # With dtype 'auto' cached features have the bits of computed ones, so a resumed run may change sides.
    runner.register_hook(FeatureCacheHook(features if is_cached else None, is_recorded=cache['dtype'] != 'auto'))


class FeatureCacheHook(Hook):
    """Shows each epoch its view of the photos, and records in checkpoints whether features are cached.

    Epoch e shows view e mod ``views``.

    Args:
        features: What epochs show; None if every epoch computes the frozen stages.
        is_recorded: Whether checkpoints note which of the two it is.
    """

    priority = 'VERY_HIGH'  # a view is computed before the progress bar of the epoch appears

    def __init__(self, features: 'CachedFeatures | None', *, is_recorded: bool) -> None:
        self._features, self._is_recorded = features, is_recorded

    def before_train_epoch(self, runner: Runner) -> None:
        """Show the view of the epoch, and compute it if it is not in the cache."""
        if self._features is not None:
            view = self._features.view(runner.epoch % self._features.num_views)
            self._features.show(runner.train_dataloader.dataset, view)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Record whether features are cached."""
        if self._is_recorded:
            checkpoint['features_kept'] = self._features is not None


@dataclass(frozen=True)
class FeatureSet:
    """Features that are cached together.

    Attributes:
        samples: Sample keys of the photos, in the order of the set.
        loader: Of the photos.
        title: For people.
        key: Name in the cache.
    """

    samples: Sequence[int]
    loader: DataLoader
    title: str
    key: str


class CachedFeatures:
    """The features of a run's photos: a set for each view of the training photos, and one for validation.

    A view is computed in the order and the batches of the first epoch that shows it. So ``views='all'`` gives the bits
    of a run without a cache.

    Args:
        runner: With built loops and loaded weights.
        cache: As `use_cached_features`.

    Raises:
        ConfigError: if the sampler does not say which view of a photo it asks for.
    """

    def __init__(self, runner: Runner, cache: Mapping[str, Any]) -> None:
        self.console = Console(highlight=False, soft_wrap=True, quiet=not is_main_process())
        self.has_view_per_epoch = cache['views'] == ALL
        self.num_views = runner.max_epochs if self.has_view_per_epoch else cache['views']
        self.train_loader = runner.train_dataloader
        self.val_loader = runner.val_dataloader if runner.val_loop is not None else None
        self._sampler = self.train_loader.sampler
        if not isinstance(self._sampler, CounterSampler):
            raise ConfigError(
                f'feature_cache: {type(self._sampler).__name__} does not say which view of a photo it asks for. '
                "Fix: train_dataloader.sampler=dict(type='CounterSampler'), or feature_cache.views=0"
            )
        self._cfg, self._budget = runner.cfg, num_bytes(cache['budget'])
        self._folder = Path(runner.cfg.cache_dir)
        self._store = FeatureStore(self._folder, unwrapped(runner.model), cache['dtype'])
        self._keys = FeatureKeys(unwrapped(runner.model), cache['dtype'])

    def view(self, view: int) -> FeatureSet:
        """Return the set of one view of the training photos, counted from 0."""
        samples: list[SampleKey] = self._sampler.keys_of(view)
        if not self.has_view_per_epoch:  # all photos, also those that a balanced epoch leaves out
            indices = dict.fromkeys([*map(int, samples), *range(len(self.train_loader.dataset))])
            samples = [SampleKey(index, self._sampler.seed, view) for index in indices]
        pipeline, counters = (
            self._cfg.train_dataloader['dataset']['pipeline'],
            {'view': view, 'seed': self._sampler.seed},
        )
        key = self._keys.key_of(self.train_loader, pipeline, samples, counters)
        return FeatureSet(samples, self.train_loader, f'frozen features, view {view + 1} of {self.num_views}', key)

    def validation(self) -> FeatureSet:
        """Return the set of the validation photos."""
        samples = list(self.val_loader.sampler)
        key = self._keys.key_of(self.val_loader, self._cfg.val_dataloader['dataset']['pipeline'], samples, {})
        return FeatureSet(samples, self.val_loader, 'frozen features, validation', key)

    def obstacle(self) -> str | None:
        """Return why features cannot be cached: more than one tensor, or no room; None if they can."""
        try:
            one_photo = ordered_loader(self.train_loader, [SampleKey(0, 0, 0)])
            photo_bytes = self._store.bytes_per_photo(next(iter(one_photo)))
        except ConfigError as error:  # the frozen stages of some backbones return more than one tensor
            return str(error).partition('. Fix:')[0]
        sets = [self.view(view) for view in range(self.num_views)] + ([self.validation()] if self.val_loader else [])
        total = photo_bytes * sum(len(s.samples) for s in sets)
        subject = f'the features of {self.num_views} views would take'
        if total > self._budget:
            return f'{subject} {as_size(total)}, more than feature_cache.budget ({as_size(self._budget)})'
        missing = photo_bytes * sum(len(s.samples) for s in sets if not self._store.has(s.key))
        free = self._store.bytes_free()
        if missing > free / 2:
            return f'{subject} {as_size(missing)}, more than half of the {as_size(free)} free in {self._folder}'
        return None

    def show(self, dataset: FeatureDataset, features: FeatureSet) -> None:
        """Let ``dataset`` give ``features``, which are computed now if they are not in the cache."""
        if not self._store.has(features.key):
            self._build(features)
        array, channels_last = self._store.read_features(features.key)
        dataset.show(array, features.samples, channels_last=channels_last)

    def _build(self, features: FeatureSet) -> None:
        started, batches = time.monotonic(), ordered_loader(features.loader, features.samples)
        watched = _interruptible(with_progress(batches, len(batches), features.title))
        self._store.build(features.key, features.title, watched, len(features.samples))
        size, seconds = as_size(self._store.size_of(features.key)), as_duration(time.monotonic() - started)
        self.console.print(f'{features.title}: {len(features.samples):,} photos, {size}, {seconds}, {self._folder}')

    def announcement(self) -> str:
        """Return the line that tells a user what is cached."""
        if self.has_view_per_epoch:
            return 'frozen stages: computed once for the view of each epoch, and cached'
        return (
            f'frozen stages: computed once for {self.num_views} augmented views of each photo, which epochs show in '
            'turn (feature_cache.views=0: a new view in every epoch)'
        )


def _interruptible(batches: Iterable[dict]) -> Iterator[dict]:
    for batch in batches:
        signals.check()
        yield batch


def _other_bits(dtype: str, obstacle: str | None) -> str:
    if obstacle is None:
        return (
            'feature_cache: this run started without cached features, because they did not fit. Features cached as '
            f'{dtype} would change its result. Fix: resume with feature_cache.views=0 --allow-config-change.'
        )
    return (
        f'feature_cache: this run started with features cached as {dtype}, and now {obstacle}. Features computed in '
        'every epoch would change its result. Fix: make room, or resume with feature_cache.views=0 '
        '--allow-config-change.'
    )
