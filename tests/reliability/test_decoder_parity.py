"""Odd photos are the same pixels to training, validation and test, from the photo cache and from their files."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from flowercls.config.resolve import Flags
from flowercls.data.decode import decode_rgb
from flowercls.data.photo_cache import MIN_SIZE_PX
from flowercls.data.prepare.preparation import prepare
from flowercls.train.run_config import resolve_for_run
from flowercls.train.runner import build_runner, use_photo_cache
from flowercls.train.tester import use_tta_pipeline
from helpers import odd_photos

# Both lists name all photos, and training does to them what a test does: what is left to differ is how they are read.
SAME_PHOTOS = """
same = dict(type='ImageFolder', ann_file='train.txt', data_prefix='', pipeline={{_base_.test_pipeline}})
train_dataloader = dict(dataset=same)
val_dataloader = dict(dataset=same)
"""
MOST_BY_SHRINKING = 4  # levels of 255, on average over a smooth photo that is shrunk twice


@pytest.fixture(scope='module')
def odd_files():
    """Odd photos, one of them larger than a store keeps it."""
    files = {**odd_photos.good_files(), **odd_photos.more_good_files()}
    assert len(files) >= 30
    return {f'{"ab"[number % 2]}/{name}': content for number, (name, content) in enumerate(files.items())}


@pytest.fixture(scope='module')
def raw(odd_files, tmp_path_factory):
    """The odd photos in class folders, with some ordinary ones."""
    folder = tmp_path_factory.mktemp('odd') / 'raw'
    plain = {
        f'{name}/{n}.png': odd_photos.encoded(odd_photos.textured(90 + n)) for n in range(4) for name in ('ab'[n % 2])
    }
    for name, content in {**odd_files, **plain}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope='module')
def folders(raw, tmp_path_factory):
    """Dataset folders by name: prepared, put together by hand, and by hand with a manifest of what headers say."""
    where = tmp_path_factory.mktemp('folders')
    prepare(raw, where / 'prepared', workers=0)
    by_hand = {path.relative_to(raw).as_posix(): path.read_bytes() for path in sorted(raw.rglob('*')) if path.is_file()}
    for name in ('by hand', 'by hand with a manifest'):
        for file, content in by_hand.items():
            (where / name / file).parent.mkdir(parents=True, exist_ok=True)
            (where / name / file).write_bytes(content)
        (where / name / 'classes.txt').write_text('a\nb\n')
    with_manifest = where / 'by hand with a manifest'
    images = [{'file': file, 'size': header_size(with_manifest / file)} for file in by_hand]
    (with_manifest / 'manifest.json').write_text(json.dumps({'images': images}))
    return {folder.name: list_all(folder) for folder in where.iterdir()}


def header_size(path):
    """Width and height as they are stored, which of a photo that lies are not those that are seen."""
    with Image.open(path) as image:
        return list(image.size)


def list_all(folder):
    """List all photos of a dataset folder for training and validation alike; returns the folder."""
    files = sorted(path for path in folder.rglob('*') if path.parent.name in ('a', 'b') and path.is_file())
    lines = [f'{path.relative_to(folder).as_posix()} {"ab".index(path.parent.name)}\n' for path in files]
    for name in ('train.txt', 'val.txt'):
        (folder / name).write_text(''.join(lines))
    return folder


@pytest.fixture
def datasets(write_config, tmp_path):
    """Datasets of a folder as a run and a test build them, by what they are for."""

    def build(folder, with_store, tta=False):
        extra = f"cache_dir = '{tmp_path / 'cache'}'\n" + ('' if with_store else 'photo_cache = None\n')
        cfg = resolve_for_run(write_config(tmp_path, SAME_PHOTOS + extra, data_root=folder), [], Flags())
        cfg.work_dir = str(tmp_path / 'run')
        if tta:
            use_tta_pipeline(cfg)
        runner = build_runner(cfg)
        use_photo_cache(runner)
        loaders = {'train': runner.train_dataloader, 'val': runner.val_dataloader, 'test': runner.test_dataloader}
        return {name: loader.dataset for name, loader in loaders.items()}

    return build


def expected(path):
    """What a network is given: decoded, resized and cut out, here by torchvision itself; BGR."""
    rgb = torch.from_numpy(decode_rgb(path)).permute(2, 0, 1)
    return v2.Compose([v2.Resize(72), v2.CenterCrop(64)])(rgb).flip(0)


def is_larger(path):
    return min(decode_rgb(path).shape[:2]) > MIN_SIZE_PX


def in_store(dataset, number):
    path = Path(dataset.get_data_info(number)['img_path']).relative_to(dataset.data_root)
    return dataset._cached is not None and dataset._cached.find(path.as_posix()) is not None


@pytest.mark.parametrize('name', ['prepared', 'by hand', 'by hand with a manifest'])
def test_all_ways_to_read_a_photo_give_the_same_pixels(folders, datasets, odd_files, name):
    from_files, stored = (datasets(folders[name], with_store) for with_store in (False, True))
    found = [in_store(stored['train'], number) for number in range(len(stored['train']))]
    # A photo that lies is of another size than a header says: it has no place in the store, and is read from its file.
    assert [any(found), all(found)] == [name != 'by hand', name == 'prepared']
    for dataset in (*from_files.values(), *stored.values()):
        assert len(dataset) >= len(odd_files)
        for number in range(len(dataset)):
            path = dataset.get_data_info(number)['img_path']
            difference = (dataset[number]['inputs'].int() - expected(path).int()).abs()
            if dataset._cached is not None and is_larger(path):
                assert difference.float().mean() < MOST_BY_SHRINKING, path
            else:
                assert difference.max() == 0, path


def test_both_views_of_test_time_augmentation_are_of_the_same_photo(folders, datasets):
    for with_store in (False, True):
        dataset = datasets(folders['prepared'], with_store, tta=True)['test']
        for number in range(len(dataset)):
            path = dataset.get_data_info(number)['img_path']
            as_it_is, mirrored = dataset[number]['inputs']
            assert torch.equal(mirrored, as_it_is.flip(2))
            assert torch.equal(as_it_is, expected(path)) or with_store and is_larger(path)
