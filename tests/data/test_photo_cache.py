"""Photos from the cache are the photos of the files, bit for bit where they were not shrunk."""

import json
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from flowercls.data import photo_cache
from flowercls.data.array_store import ArrayStore
from flowercls.data.image_folder import ImageFolder
from flowercls.data.photo_cache import PhotoCache, cache_size, list_photos, read_photos
from flowercls.data.randomness import SampleKey
from flowercls.data.sampler import CounterSampler

SHAPES = [(40, 61), (61, 40), (33, 33), (32, 50), (97, 64), (100, 35), (31, 90), (64, 129)]  # height, width
AUGMENTED = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[dict(type='RandomResizedCrop', size=24), dict(type='ColorJitter', hue=0.3)],
    ),
    dict(type='PackInputs'),
]
VALIDATED = [
    dict(type='LoadImage'),
    dict(type='TorchvisionTransforms', transforms=[dict(type='Resize', size=32), dict(type='CenterCrop', size=24)]),
    dict(type='PackInputs'),
]


def save_noise(path, shape, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    """A prepared folder of noise in many shapes, the last two photos in the validation set."""
    folder = tmp_path / 'flower'
    names = [f'rose/Blüte {number}.png' for number in range(len(SHAPES))]
    images = []
    for number, (name, shape) in enumerate(zip(names, SHAPES, strict=True)):
        file = f'{"training_set" if number < 6 else "val_set"}/{name}'
        save_noise(folder / file, shape, seed=number)
        images.append({'file': file, 'size': [shape[1], shape[0]]})
    (folder / 'classes.txt').write_text('rose\n')
    (folder / 'train.txt').write_text(''.join(f'{name} 0\n' for name in names[:6]), encoding='utf-8')
    (folder / 'val.txt').write_text(''.join(f'{name} 0\n' for name in names[6:]), encoding='utf-8')
    (folder / 'folds').mkdir()
    (folder / 'folds' / 'fold_0_val.txt').write_text(
        f'training_set/{names[1]} 0\nval_set/{names[7]} 0\n', encoding='utf-8'
    )
    (folder / 'manifest.json').write_text(json.dumps({'images': images}, ensure_ascii=False), encoding='utf-8')
    return folder


@pytest.fixture
def cache(tmp_path):
    return ArrayStore(tmp_path / 'cache')


def made(cache, root, size):
    """Make a store and return it as an argument of `ImageFolder`."""
    photos = list_photos(root, size)
    read_photos(cache, photos, print, decode=True)
    return dict(folder=str(cache.folder), key=photos.key, size=size)


def dataset(root, pipeline, ann_file='train.txt', data_prefix='training_set', **kwargs):
    return ImageFolder(data_root=str(root), ann_file=ann_file, data_prefix=data_prefix, pipeline=pipeline, **kwargs)


def view(data, number, epoch=0):
    return data[SampleKey(number, seed=5, epoch=epoch)]['inputs']


def assert_same_views(one, other, epochs=2):
    assert len(one) == len(other)
    assert all((view(one, n, e) == view(other, n, e)).all() for e in range(epochs) for n in range(len(one)))


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(content, name):
        raise AssertionError(f'{name} was decoded')

    return lambda: monkeypatch.setattr('flowercls.data.transforms.decode_rgb', refuse)


def test_photos_no_larger_than_the_cache_are_augmented_alike(root, cache, no_decoding):
    from_files, cached = dataset(root, AUGMENTED), dataset(root, AUGMENTED, photo_cache=made(cache, root, 100))
    expected = [view(from_files, number, epoch) for epoch in range(3) for number in range(6)]
    no_decoding()
    shown = [view(cached, number, epoch) for epoch in range(3) for number in range(6)]
    assert all((a == b).all() for a, b in zip(shown, expected, strict=True))
    assert (shown[0] != shown[6]).any()  # two epochs


def test_larger_photos_are_shrunk_as_a_resize_in_the_pipeline_would(root, cache, no_decoding):
    val = dict(ann_file='val.txt', data_prefix='val_set')
    for arguments in ({}, val):
        store = made(cache, root, 32)
        assert_same_views(
            dataset(root, VALIDATED, **arguments), dataset(root, VALIDATED, **arguments, photo_cache=store)
        )
    no_decoding()
    photos = [dataset(root, [dict(type='LoadImage')], photo_cache=store)[number] for number in range(6)]
    assert [photo['img'].shape[:2] for photo in photos] == [(32, 48), (48, 32), (32, 32), (32, 50), (48, 32), (91, 32)]
    assert [photo['ori_shape'] for photo in photos] == SHAPES[:6]
    assert all(photo['img_shape'] == photo['img'].shape[:2] for photo in photos)


def test_sets_and_folds_share_one_cache(root, cache, no_decoding):
    store = made(cache, root, 100)
    no_decoding()
    for list_file, folder, number in (
        ('train.txt', 'training_set', 6),
        ('val.txt', 'val_set', 2),
        ('folds/fold_0_val.txt', '', 2),
    ):
        data = dataset(root, AUGMENTED, list_file, folder, photo_cache=store)
        assert len([data[i] for i in range(len(data))]) == number
    assert made(cache, root, 100) == store  # nothing is decoded again
    assert len(list(cache.folder.glob('photos-100px-*/'))) == 1


@pytest.mark.parametrize('decode', [True, False])
def test_a_complete_cache_is_only_read(root, cache, decode):
    photos = list_photos(root, 32)
    read_photos(cache, photos, print, decode)
    (lock,) = cache.folder.glob('*.lock')
    lock.unlink()
    read_photos(cache, photos, print, decode)
    assert not lock.exists()  # in a folder that may only be read, it could not be made


def test_a_relative_data_root_finds_its_photos(root, cache, no_decoding, monkeypatch):
    store = made(cache, root, 100)
    no_decoding()
    monkeypatch.chdir(root)
    for written in ('.', './', '../flower', '../flower/'):
        view(dataset(written, AUGMENTED, photo_cache=store), 0)


def test_a_replaced_photo_is_seen(root, cache):
    before = made(cache, root, 100)
    path = root / 'training_set' / 'rose' / 'Blüte 0.png'
    old = path.stat()
    save_noise(path, SHAPES[0], seed=99)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    after = made(cache, root, 100)
    assert before['key'] != after['key']
    assert_same_views(dataset(root, AUGMENTED), dataset(root, AUGMENTED, photo_cache=after))


def test_a_photo_of_another_size_than_the_manifest_says_is_read_from_its_file(root, cache):
    save_noise(root / 'training_set' / 'rose' / 'Blüte 0.png', (80, 20), seed=99)
    store = made(cache, root, 100)
    cached = PhotoCache(**store)
    assert cached.find('training_set/rose/Blüte 0.png') is None
    assert cached.find('training_set/rose/Blüte 1.png') is not None
    assert_same_views(dataset(root, AUGMENTED), dataset(root, AUGMENTED, photo_cache=store))


@pytest.mark.parametrize('change', ['size', 'manifest'])
def test_the_key_follows_what_the_cache_holds(root, change):
    key = list_photos(root, 100).key
    assert list_photos(root, 100).key == key
    manifest = root / 'manifest.json'
    if change == 'manifest':
        manifest.write_text(manifest.read_text(encoding='utf-8') + '\n', encoding='utf-8')
    assert list_photos(root, 101 if change == 'size' else 100).key != key


def test_a_folder_without_a_manifest_has_no_cache(root):
    (root / 'manifest.json').unlink()
    assert list_photos(root, 100) is None


def test_a_manifest_leads_to_photos_in_its_folder_only(root, tmp_path):
    save_noise(tmp_path / 'secret.png', (40, 40), seed=0)
    manifest = json.loads((root / 'manifest.json').read_text(encoding='utf-8'))
    outside = ['../secret.png', str(tmp_path / 'secret.png'), 'val_set/gone.png']
    manifest['images'] += [{'file': file, 'size': [40, 40]} for file in outside]
    (root / 'manifest.json').write_text(json.dumps(manifest), encoding='utf-8')
    assert len(list_photos(root, 100).names) == len(SHAPES)


@pytest.mark.parametrize('size', [100, 40])
def test_without_its_cache_a_dataset_makes_the_same_pixels_of_files(root, cache, size):
    store = made(cache, root, size)
    gone = dict(store, folder=str(cache.folder / 'gone'))
    assert_same_views(dataset(root, AUGMENTED, photo_cache=store), dataset(root, AUGMENTED, photo_cache=gone))
    one, other = (dataset(root, [dict(type='LoadImage')], photo_cache=place) for place in (store, gone))
    assert [one[n]['ori_shape'] for n in range(6)] == [other[n]['ori_shape'] for n in range(6)] == SHAPES[:6]


def test_a_signal_is_not_kept_waiting_by_photos_that_others_decode(monkeypatch):
    begun, pause = [], threading.Event()

    def slow(row):
        begun.append(row)
        if row >= photo_cache.BLOCK:
            pause.wait(0.2)

    monkeypatch.setattr(photo_cache, 'usable_cpus', lambda: 2)
    rows = photo_cache._in_threads(slow, 100 * photo_cache.BLOCK)
    next(rows)
    rows.close()
    assert len(begun) < 3 * photo_cache.BLOCK


def test_loader_workers_and_pickles_carry_no_pixels(root, cache, no_decoding):
    plain, data = dataset(root, AUGMENTED), dataset(root, AUGMENTED, photo_cache=made(cache, root, 100))
    no_decoding()
    view(data, 0)  # opens the files
    assert len(pickle.dumps(data)) < len(pickle.dumps(plain)) + 1000
    assert_same_views(data, pickle.loads(pickle.dumps(data)))


def test_loader_workers_change_nothing(root, cache):
    data = dataset(root, AUGMENTED, photo_cache=made(cache, root, 64))

    def epoch(num_workers):
        sampler = CounterSampler(data, seed=1)
        loader = DataLoader(data, batch_size=2, sampler=sampler, num_workers=num_workers, collate_fn=list)
        return [sample['inputs'] for batch in loader for sample in batch]

    assert all((a == b).all() for a, b in zip(epoch(0), epoch(2), strict=True))


ERASING = dict(type='RandomErasing', erase_prob=1.0, mode='rand')  # mmpretrain's: it writes into the photo it gets
NOTHING = dict(type='TorchvisionTransforms', transforms=[dict(type='RandomHorizontalFlip', p=0.0)])


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    'steps',
    [
        [dict(type='TorchvisionTransforms', transforms=[dict(type='RandomErasing', p=1.0, inplace=True)])],
        [ERASING],
        [NOTHING, ERASING],
        [dict(type='mmpretrain.RandomFlip', prob=1.0), ERASING],
    ],
    ids=['in place', 'another library', 'after nothing', 'after a flip'],
)
def test_transforms_that_write_into_a_photo_leave_the_cache_as_it_is(root, cache, steps):
    pipeline = [dict(type='LoadImage'), *steps, dict(type='PackInputs')]
    store = made(cache, root, 200)
    before = cache.read(store['key'])['pixels'].copy()
    from_files, cached = dataset(root, pipeline), dataset(root, pipeline, photo_cache=store)
    for _ in range(2):  # what was written would show the second time
        assert_same_views(from_files, cached)
    assert (cache.read(store['key'])['pixels'] == before).all()


def test_transforms_of_torchvision_get_the_cache_itself(root, cache, monkeypatch):
    data = dataset(root, VALIDATED, photo_cache=made(cache, root, 100))
    taken = []
    step = data.pipeline.transforms[1]
    compose = step.compose
    monkeypatch.setattr(step, 'compose', lambda image: taken.append(image) or compose(image))
    data[0]
    pixels = data._cached._arrays['pixels']
    assert np.shares_memory(taken[0].numpy(), pixels) and isinstance(pixels.base, np.memmap)
    assert Path(pixels.base.filename).name == 'pixels.npy'


def torchvision(*transforms):
    return [dict(type='LoadImage'), dict(type='TorchvisionTransforms', transforms=list(transforms))]


@pytest.mark.parametrize(
    ('transforms', 'size'),
    [
        ([dict(type='RandomResizedCrop', size=224, scale=(0.3, 1.0))], 256),
        ([dict(type='Resize', size=342), dict(type='CenterCrop', size=299)], 342),
        ([dict(type='RandomRotation', degrees=15), dict(type='Resize', size=[300, 400])], 400),
        ([dict(type='Resize', size=64), dict(type='RandomCrop', size=300, pad_if_needed=True)], 300),
        ([dict(type='RandomCrop', size=300), dict(type='Resize', size=224)], None),
        ([dict(type='RandomHorizontalFlip')], None),
        ([dict(type='Resize', scale_factor=0.5), dict(type='CenterCrop', size=112)], None),
        ([], None),
    ],
)
def test_the_size_is_the_largest_that_a_pipeline_asks_for(transforms, size):
    assert cache_size([torchvision(*transforms)]) == size


def test_all_pipelines_count_and_so_do_those_of_mmpretrain():
    crop = [dict(type='LoadImage'), dict(type='RandomResizedCrop', scale=320)]
    edge = [
        dict(type='LoadImage'),
        dict(type='ResizeEdge', scale=438, edge='short'),
        dict(type='CenterCrop', crop_size=384),
    ]
    flips = [[dict(type='RandomFlip', prob=0.0)], [dict(type='PackInputs')]]
    tta = [*torchvision(dict(type='Resize', size=448)), dict(type='TestTimeAug', transforms=flips)]
    assert cache_size([crop]) == 320
    assert cache_size([crop, edge]) == 438
    assert cache_size([crop, edge, tta]) == 448
    assert cache_size([crop, None]) is None
