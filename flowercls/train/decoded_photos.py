"""Whether a run draws its photos from a store of decoded ones, which store that is, and who makes it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.runner import Runner

from flowercls.config.data_keys import IMAGE_FOLDER, datasets_in, dicts_inside
from flowercls.core.errors import DiskError
from flowercls.core.terminal import as_size, num_bytes
from flowercls.core.workers import usable_cpus
from flowercls.data.array_store import ArrayStore
from flowercls.data.photo_cache import PhotoList, build_photo_store, changed_files, changed_photos, list_photos

LEAST_SIZE = 256  # a validation photo of 224 px is usually cut from one of this size
# After one of these the pixels of the file no longer count: sizes are absolute, or shares of the photo.
SCALING = re.compile('Resize|^EfficientNet')
SIZES = ('size', 'scale', 'crop_size', 'min_size', 'max_size', 'target_size')


def use_photo_store(runner: Runner) -> None:
    """Let the loaders of a run draw from the folder's decoded photos; those are made now, if they are not there yet.

    To be called before the first loader is built, by every process of the run: one makes the store, the others wait.
    Where the config asks for no store, or the folder has no manifest, photos are read from files as they are; where
    there is no room, what the store would have is made of the files in every epoch.
    Either way files that are not as they were prepared are told of.

    Raises:
        DataError: if a photo cannot be read or decoded.
    """
    cfg, datasets = runner.cfg, list(_datasets(runner))

    def say(text: str) -> None:
        if runner.rank == 0:
            print(f'photo store: {text}', flush=True)

    size = store_size([dataset.get('pipeline') for dataset in datasets])
    photos = list_photos(cfg.data_root, size or LEAST_SIZE) if datasets else None
    if photos is None:
        return
    is_stored = False
    try:
        is_stored = _is_stored(cfg, photos, size, say)
    except DiskError as error:
        say(f'none: {error} Until then photos are read from their files.')
    if cfg.get('photo_cache') and size:  # what there is no room for is made of files each time, the same
        for dataset in datasets:
            dataset['photo_store'] = {'folder': cfg.cache_dir, 'key': photos.key, 'size': size}
    if is_stored and not torch.cuda.is_available():
        _leave_cores_to_network(runner)


def _leave_cores_to_network(runner: Runner) -> None:
    """At most one loader worker for every four cores; how many there are changes no result.

    On a CPU a worker takes time from compute threads that wait for each other, and one gives several hundred stored
    photos a second. ResNet-50 with two frozen stages on two cores, medians of five rounds: 0.87 and 0.92 of a bare loop
    with two workers, 0.95 and 0.99 with one.
    """
    most = max(1, usable_cpus() // 4)
    for loader in _loaders(runner):
        loader['num_workers'] = min(loader.get('num_workers', 0), most)


def _datasets(runner: Runner) -> Iterator[dict]:
    for loader in _loaders(runner):
        for _, dataset in datasets_in(loader, ''):
            if str(dataset.get('type')).rpartition('.')[2] == IMAGE_FOLDER:
                yield dataset


def _loaders(runner: Runner) -> Iterator[dict]:
    """Loaders in the runner's own copy of the config: what is written down of it stays as it was."""
    for loader in (runner._train_dataloader, runner._val_dataloader, runner._test_dataloader):
        if isinstance(loader, dict):
            yield loader


def _is_stored(cfg: Any, photos: PhotoList, size: int | None, say: Callable[[str], None]) -> bool:
    """Whether there is a complete store of the photos now; if not, they are to be read from their files."""
    store = ArrayStore(cfg.cache_dir)

    def wait() -> None:
        say('another process is at it; waiting')

    use_files = _why_files(cfg, photos, size)
    if use_files is not None:
        if use_files:
            say(use_files)
        _tell_changed(changed_files(store, photos, wait), photos, say)
        return False
    was_there = store.read(photos.key) is not None
    if not was_there:
        say(f'decoding {_number(photos)} once, to {as_size(photos.num_bytes)}')
        build_photo_store(store, photos, wait)
    here = f'{_number(photos)}, {as_size(store.size_of(photos.key))}, {store.folder_of(photos.key)}'
    say(f'{here}{", decoded before" if was_there else ""}')
    _tell_changed(changed_photos(store, photos), photos, say)
    return True


def _why_files(cfg: Any, photos: PhotoList, size: int | None) -> str | None:
    """Why photos are read from their files, empty where the config says so; None where they are not."""
    if not cfg.get('photo_cache'):
        return ''
    if size is None:
        return 'none, as a pipeline cuts photos before it resizes them, or never does; they are read from their files'
    budget = num_bytes(cfg.photo_cache.budget)
    if photos.num_bytes <= budget:
        return None
    return (
        f'none: {_number(photos)} are {as_size(photos.num_bytes)}, above photo_cache.budget ({as_size(budget)}); they '
        'are read from their files'
    )


def _tell_changed(changed: list[str], photos: PhotoList, say: Callable[[str], None]) -> None:
    if changed:
        say(
            f'{len(changed):,} of {_number(photos)} {"are" if len(changed) > 1 else "is"} not as prepared, first '
            f'{changed[0]}: replaced, or damaged. Fix: prepare again, unless it was replaced on purpose.'
        )


def _number(photos: PhotoList) -> str:
    return f'{len(photos.names):,} photos'


def store_size(pipelines: list) -> int | None:
    """The short side that suits all ``pipelines``: the largest size one asks for, or `LEAST_SIZE`.

    None where one of them would see something else in a smaller photo: where it cuts out so many pixels, takes the
    whole photo as it is, or a share of its size.
    """
    sizes = [LEAST_SIZE]
    for pipeline in pipelines:
        steps = [step for _, step in dicts_inside(pipeline, '') if re.search('Resize|Crop', str(step.get('type')))]
        if not steps or not SCALING.search(_name(steps[0])) or any('scale_factor' in step for step in steps):
            return None
        sizes += [number for step in steps for key in SIZES for number in _whole_numbers(step.get(key))]
    return max(sizes)


def _name(step: dict) -> str:
    return str(step.get('type')).rpartition('.')[2]


def _whole_numbers(value: Any) -> list[int]:
    several = value if isinstance(value, list | tuple) else [value]
    return [number for number in several if isinstance(number, int) and not isinstance(number, bool)]
