"""Training and validation on features of the frozen stages, which are computed once and kept."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from torch.utils.data import DataLoader, Sampler

from flowercls.core import signals
from flowercls.core.distributed import decide_once, unwrapped
from flowercls.core.errors import ConfigError
from flowercls.core.terminal import as_duration, as_size
from flowercls.core.workers import with_progress
from flowercls.data.randomness import SampleKey
from flowercls.data.sampler import CounterSampler
from flowercls.features.dataset import KeptFeatures
from flowercls.features.key import LoaderPhotos
from flowercls.features.store import FeatureStore
from flowercls.models.preprocess import FeaturePreprocessor

ALL = 'all'


class FeatureCacheHook(Hook):
    """Keeps what the frozen stages make of each view of each photo, and trains the rest of the network on it.

    Epoch e shows view e mod ``views``; a view is computed in the order and the batches of the first epoch that shows
    it, so that ``views='all'`` gives the very bits that training without kept features would.

    Args:
        folder: Where features are kept; runs share what they have in common.
        views: How many views of a photo are kept, or ``'all'``: one for each epoch.
        dtype: As `FeatureStore`.
        budget: Bytes. If the run's features would take more, or those not there yet more than half of what the disk
            has free, none are kept and it trains as without.
    """

    priority = 'VERY_HIGH'

    def __init__(self, folder: str | Path, views: int | str, dtype: str, budget: int) -> None:
        self._folder, self._views, self._dtype, self._budget = Path(folder), views, dtype, budget
        self._is_on, self._was_on = False, None

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note whether features are kept, where training sees other bits of them then."""
        if self._dtype != 'auto':
            checkpoint['features_kept'] = self._is_on

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Look whether they were, in the run that is resumed."""
        if runner._resume:
            self._was_on = checkpoint.get('features_kept')

    def before_train(self, runner) -> None:
        """Exchange photos for features, if these fit into the budget.

        Raises:
            ConfigError: if the views of photos cannot be kept track of, or if a run would go on with other bits.
            DiskError: if the disk is full.
        """
        model = unwrapped(runner.model)
        self._console = Console(highlight=False, soft_wrap=True, quiet=not is_main_process())
        self._store = FeatureStore(self._folder, model, model.data_preprocessor, self._dtype)
        self._num_views = runner.max_epochs if self._views == ALL else self._views
        self._train = _photos(runner.train_dataloader, runner.cfg.train_dataloader)
        self._val = _photos(runner.val_dataloader, runner.cfg.val_dataloader) if runner.val_loop is not None else None
        _check_sampler(self._train.sampler)
        obstacle = decide_once(self._obstacle)  # free room changes while it is looked at
        self._is_on = obstacle is None
        if self._was_on not in (None, self._is_on):
            raise ConfigError(_other_bits(self._dtype, obstacle))
        if obstacle:
            self._console.print(f'note: {obstacle}, so frozen stages are computed in every epoch.')
        else:
            self._console.print(self._announcement())
            self._exchange_loaders(runner)
            self._exchange_preprocessor(model)

    def _announcement(self) -> str:
        if self._views == ALL:
            return 'frozen stages: computed once for the view of each epoch, and kept'
        return (
            f'frozen stages: computed once for {self._num_views} augmented views of each photo, which epochs show in '
            'turn (feature_cache.views=0: a new view in every epoch)'
        )

    def before_train_epoch(self, runner) -> None:
        """Show the epoch's view, which is computed now if it was never needed before."""
        if self._is_on:
            self._show(runner.train_dataloader.dataset, self._view(runner.epoch % self._num_views))

    def _exchange_loaders(self, runner) -> None:
        # The network still takes photos here.
        if self._val is not None:
            features = KeptFeatures(self._val.dataset)
            self._show(features, self._validation())
            runner.val_loop.dataloader = self._val.loader_of(features)
        features = KeptFeatures(self._train.dataset, counts_repeats=self._views == ALL)
        runner.train_loop.dataloader = self._train.loader_of(features)

    def _exchange_preprocessor(self, model) -> None:
        photos = model.data_preprocessor
        features = FeaturePreprocessor(model.precision == 'fp32', photos.to_onehot, photos.num_classes)
        model.data_preprocessor = features.to(photos.device)
        model.takes_kept_features = True

    def _view(self, view: int) -> '_Set':
        counters = {'view': view, 'seed': self._train.sampler.seed}
        return self._set(self._train, self._keys(view), f'view {view + 1} of {self._num_views}', counters)

    def _validation(self) -> '_Set':
        return self._set(self._val, list(self._val.sampler), 'validation', {})

    def _set(self, photos: LoaderPhotos, keys: Sequence[int], what: str, counters: dict) -> '_Set':
        return _Set(photos, keys, f'frozen features, {what}', self._store.key_of({**photos.identity(keys), **counters}))

    def _keys(self, view: int) -> list[SampleKey]:
        """What a view has: photos in the order of the epoch of its number, and then those that this one leaves out."""
        keys = self._train.sampler.keys_of(view)
        if self._views == ALL:
            return keys
        photos = dict.fromkeys([*map(int, keys), *range(len(self._train.dataset))])
        return [SampleKey(photo, self._train.sampler.seed, view) for photo in photos]

    def _obstacle(self) -> str | None:
        """Why features are not kept; None if they are."""
        try:
            each = self._store.bytes_each(next(iter(self._train.batches([SampleKey(0, 0, 0)]))))
        except ConfigError as error:  # some backbones hand on more than one tensor
            return str(error).partition('. Fix:')[0]
        sets = [self._view(view) for view in range(self._num_views)] + ([self._validation()] if self._val else [])
        needed = each * sum(len(one.keys) for one in sets)
        what = f'the features of {self._num_views} views would take'
        if needed > self._budget:
            return f'{what} {as_size(needed)}, more than feature_cache.budget ({as_size(self._budget)})'
        missing = each * sum(len(one.keys) for one in sets if not self._store.has(one.key))
        if missing > (free := self._store.bytes_free()) / 2:
            return f'{what} {as_size(missing)}, more than half of the {as_size(free)} free in {self._folder}'
        return None

    def _show(self, shown: KeptFeatures, chosen: '_Set') -> None:
        if not self._store.has(chosen.key):
            self._build(chosen)
        features, channels_last = self._store.read(chosen.key)
        shown.show(features, chosen.keys, channels_last=channels_last)

    def _build(self, chosen: '_Set') -> None:
        started, batches = time.monotonic(), chosen.photos.batches(chosen.keys)
        with_bar = _interruptible(with_progress(batches, len(batches), chosen.name))
        self._store.build(chosen.key, {'what': chosen.name}, with_bar, len(chosen.keys))
        size, seconds = as_size(self._store.size_of(chosen.key)), as_duration(time.monotonic() - started)
        self._console.print(f'{chosen.name}: {len(chosen.keys):,} photos, {size}, {seconds}, {self._folder}')


def _other_bits(dtype: str, obstacle: str | None) -> str:
    if obstacle is None:
        return (
            f'feature_cache: the run was begun without kept features, for want of room; kept as {dtype} they have '
            'other bits. Fix: feature_cache.views=0 with --allow-config-change to go on without.'
        )
    return (
        f'feature_cache: the run was begun with features kept as {dtype}, and {obstacle}. Fix: more room; or '
        'feature_cache.views=0 with --allow-config-change, to go on with what is computed in every epoch.'
    )


@dataclass(frozen=True)
class _Set:
    """Features that are kept together, of which photos in which order they are, and under which key they lie."""

    photos: LoaderPhotos
    keys: Sequence[int]
    name: str
    key: str


def _interruptible(batches: Iterable[dict]) -> Iterator[dict]:
    for batch in batches:
        signals.check()
        yield batch


def _photos(loader: DataLoader, section: dict) -> LoaderPhotos:
    return LoaderPhotos(loader, section['dataset']['pipeline'])


def _check_sampler(sampler: Sampler) -> None:
    if not isinstance(sampler, CounterSampler):
        raise ConfigError(
            f'feature_cache: {type(sampler).__name__} does not say which view of a photo it asks for. '
            "Fix: train_dataloader.sampler=dict(type='CounterSampler'), or feature_cache.views=0."
        )
