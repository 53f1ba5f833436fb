"""Raw folders as they are found in the world: 40 bad ones made by hand, 300 drawn at random.

Whatever lies in a raw folder, preparing succeeds or says why not; the raw folder stays as it is; every file is
accounted for; copies of one photo never lie on both sides of the split, unless the split is the user's and he says so.
"""

import hashlib
import io
import json
import os
import random
import shutil
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowercls.core.errors import ConfigError, DataError, FlowerclsError
from flowercls.core.layout import MAX_NAME_BYTES
from flowercls.data.image_folder import ImageFolder
from flowercls.data.prepare.preparation import prepare

NUM_RANDOM = 300
SETS = ['train', 'val', 'test', 'Training', 'Testing', 'seg_train', 'seg_test', 'siteA', 'siteB']  # folders in trees
LISTS = {'training_set': 'train.txt', 'val_set': 'val.txt', 'test_set': 'test.txt'}


@cache
def photo(number, kind='PNG', scale=4):
    """Photo ``number`` as the bytes of a file; another kind or scale is a near copy."""
    blocks = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    drawn = Image.fromarray(blocks).resize((8 * scale, 6 * scale), Image.Resampling.BILINEAR)
    drawn.save(buffer := io.BytesIO(), kind)
    return buffer.getvalue()


def snapshot(folder):
    """Every name below a folder, with the digest of a file and the target of a link."""
    found = {}
    for where, folders, files in os.walk(folder):
        for path in (Path(where, name) for name in folders + files):
            if path.is_symlink():
                found[path] = path.readlink()
            else:
                found[path] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else 'folder'
    return found


def written(path):
    """A path as manifest.json writes it."""
    return path.encode('utf-8', 'backslashreplace').decode()


def write_tree(raw, files):
    """Write ``files`` (path to bytes; None makes a folder; text is where a link leads)."""
    raw.mkdir(parents=True)
    for name, content in files.items():
        path = raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


def check_prepared(raw, out, top_is_class=False):
    """What holds of every prepared folder; returns its manifest."""
    manifest = json.loads((out / 'manifest.json').read_text(encoding='utf-8'))
    check_counts(raw, manifest)
    if manifest['leaks'] != 'allow':
        check_disjoint(manifest)
    check_labels(raw, out, manifest, top_is_class)
    return manifest


def check_counts(raw, manifest):
    counts, images = manifest['counts'], manifest['images']
    assert counts['scanned'] == sum(counts[name] for name in ('copied', 'converted', 'skipped', 'duplicates'))
    assert len(images) == counts['copied'] + counts['converted']
    assert len(manifest['skipped']) == counts['skipped'] and len(manifest['duplicates']) == counts['duplicates']
    answered = [row['raw'] for key in ('images', 'skipped', 'duplicates') for row in manifest[key]]
    assert len(answered) == len(set(answered)) == counts['scanned']
    for path in snapshot(raw):
        inside = written(path.relative_to(raw).as_posix())
        above = {inside, *(parent.as_posix() for parent in Path(inside).parents)}
        assert above & set(answered) or path.is_dir(), f'{inside} is not accounted for'


def check_disjoint(manifest):
    sets = {}
    for image in manifest['images']:
        for key in (image['raw_sha256'], image['duplicate_group']):
            if key is not None:
                sets.setdefault(key, set()).add(image['set'])
    assert all(len(where) == 1 for where in sets.values())
    digests = [image['raw_sha256'] for image in manifest['images']]
    assert len(digests) == len(set(digests))


def check_labels(raw, out, manifest, top_is_class):
    classes = (out / 'classes.txt').read_bytes().decode().removesuffix('\n').split('\n')
    assert classes == manifest['classes'] == sorted(classes)
    digests = {written(path.relative_to(raw).as_posix()): digest for path, digest in snapshot(raw).items()}
    links = {written(path.relative_to(raw).as_posix()) for path in snapshot(raw) if path.is_symlink()}
    listed = {}
    for set_name, list_name in LISTS.items():
        text = (out / list_name).read_bytes().decode() if (out / list_name).exists() else ''
        for line in text.removesuffix('\n').split('\n') if text else ():
            file, label = line.rsplit(' ', 1)
            listed[f'{set_name}/{file}'] = classes[int(label)]
    assert listed == {image['file']: image['class'] for image in manifest['images']}
    for image in manifest['images']:
        assert image['file'].split('/')[1] == image['class']
        assert hashlib.sha256((out / image['file']).read_bytes()).hexdigest() == image['sha256']
        parts = image['raw'].split('/')
        is_linked = any('/'.join(parts[:depth]) in links for depth in range(1, len(parts) + 1))
        assert is_linked or digests[image['raw']] == image['raw_sha256']
        is_top = top_is_class or set(classes) <= set(SETS)  # siteA/rose, siteB/rose may be two classes of one folder
        class_name = parts[0] if is_top else next(part for part in parts if part not in SETS)
        assert unicodedata.normalize('NFC', class_name) == image['class']
        assert image['converted'] or image['sha256'] == image['raw_sha256']
    photos = {path.relative_to(out).as_posix() for name in LISTS for path in (out / name).rglob('*') if path.is_file()}
    assert photos == set(listed)
    check_loaded(out, classes, listed)


def check_loaded(out, classes, listed):
    """What training is given: the same photos, labels and classes."""
    for set_name, list_name in LISTS.items():
        if (out / list_name).exists():
            data = ImageFolder(data_root=str(out), ann_file=list_name, data_prefix=set_name, pipeline=[])
            assert list(data.metainfo['classes']) == classes
            infos = [data.get_data_info(index) for index in range(len(data))]
            found = {Path(info['img_path']).relative_to(out).as_posix(): classes[info['gt_label']] for info in infos}
            assert found == {file: label for file, label in listed.items() if file.startswith(f'{set_name}/')}


# --- 40 trees, one by one -------------------------------------------------------------------------------------------

BASE = {f'{name}/{number}.png': photo(10 * place + number) for place, name in enumerate('ab') for number in range(3)}
LONG = '花' * 83 + '.png'  # 253 bytes: as long as a file system takes
DEEP = 'a/' + 'deeper/' * 30 + 'photo.png'
NEAR = {'a/large.png': photo(0, scale=8), 'a/copy.bmp': photo(0, 'BMP'), 'b/again.png': photo(10, scale=6)}
ALL_NEAR = {f'c/{scale}.png': photo(30, scale=scale) for scale in (4, 6, 8)}


def with_base(files=(), **more):
    return {**BASE, **dict(files), **more}


def two_classes(one, other='b'):
    return {f'{name}/{number}.png': photo(10 * (name == one) + number) for name in (one, other) for number in range(3)}


def odd_file(name):
    return with_base({f'a/{name}': photo(50)})


# (what is odd, the tree, what comes of it): (copied, converted, skipped, duplicates), or an error and part of its text.
TREES = [
    ('spaces in names', {**two_classes('wild rose'), 'b/a b c 7.png': photo(50)}, (7, 0, 0, 0)),
    ('tab in a file name', odd_file('a\tb.png'), (7, 0, 0, 0)),
    ('letters of other scripts', {**two_classes('蔷薇'), 'b/Ärger.png': photo(50)}, (7, 0, 0, 0)),
    ('emoji', {**two_classes('🌹'), 'b/🌷.png': photo(50)}, (7, 0, 0, 0)),
    ('line break in a file name', odd_file('a\nb.png'), (7, 0, 0, 0)),
    ('carriage return in a file name', odd_file('a\rb.png'), (7, 0, 0, 0)),
    ('line break in a class name', two_classes('ro\nse'), (DataError, 'line break')),
    ('class begins with a byte order mark', two_classes('\ufeffa'), (DataError, 'byte order mark')),
    ('class begins with a space', two_classes(' rose'), (DataError, 'begins or ends with a space')),
    ('class ends with a space', two_classes('rose '), (DataError, 'begins or ends with a space')),
    ('file name is not UTF-8', odd_file(os.fsdecode(b'caf\xe9.png')), (7, 0, 0, 0)),
    ('class name is not UTF-8', two_classes(os.fsdecode(b'caf\xe9')), (DataError, 'not UTF-8')),
    ('a list of photos with wrong labels', with_base({'train.txt': b'../../etc/hostname -1\n'}), (6, 0, 1, 0)),
    ('.git', with_base({'.git/1.png': photo(50)}), (6, 0, 1, 0)),
    ('@eaDir', with_base({'@eaDir/1.png': photo(50), 'a/@eaDir/2.png': photo(51)}), (6, 0, 2, 0)),
    ('__MACOSX', with_base({'__MACOSX/a/1.png': photo(50)}), (6, 0, 1, 0)),
    ('.DS_Store and Thumbs.db', with_base({'.DS_Store': b'x', 'a/.DS_Store': b'x', 'b/Thumbs.db': b'x'}), (6, 0, 3, 0)),
    ('AppleDouble', odd_file('._0.png'), (6, 0, 1, 0)),
    ('photos in deeper folders', with_base({'a/deep/er/0.png': photo(50)}), (7, 0, 0, 0)),
    ('photo beside the classes', with_base({'0.png': photo(50)}), (6, 0, 1, 0)),
    ('link that leads to itself', with_base({'a/loop': 'loop', 'b/up': '..'}), (6, 0, 2, 0)),
    ('link to a class', with_base({'c': 'a'}), (DataError, 'both c and a')),
    ('link to a photo', with_base({'a/again.png': '0.png'}), (6, 0, 0, 1)),
    ('dangling link', with_base({'a/gone.png': 'nowhere.png'}), (6, 0, 1, 0)),
    (
        'files that are no photos',
        with_base({'a/x.png': b'', 'a/y.jpg': b'text', 'b/z.png': photo(50)[:90]}),
        (6, 0, 3, 0),
    ),
    ('empty class', with_base({'c': None}), (DataError, 'c: 0 usable photos')),
    ('class of one photo', with_base({'c/0.png': photo(50)}), (DataError, '--allow-tiny-classes')),
    ('class of two photos', with_base({'c/0.png': photo(50), 'c/1.png': photo(51)}), (8, 0, 0, 0)),
    ('class of near copies only', with_base(ALL_NEAR), (DataError, 'near-duplicates of each other')),
    ('one class', {'a/0.png': photo(0), 'a/1.png': photo(1)}, (DataError, "1 class folder, 'a'")),
    ('nothing at all', {}, (DataError, 'no class folder')),
    ('photos without classes', {'0.png': photo(0), '1.png': photo(1)}, (DataError, '--labels')),
    ('Cat and cat', {**two_classes('Cat', 'cat')}, (DataError, 'one name on macOS and Windows')),
    ('two forms of one accent', {**two_classes('\u00e9', 'e\u0301')}, (DataError, 'one name on macOS and Windows')),
    ('sets without classes', two_classes('train', 'val'), (DataError, '--labels')),
    ('200 classes', {f'{c:03}/{n}.png': photo(2 * c + n) for c in range(200) for n in range(2)}, (400, 0, 0, 0)),
    ('longest names', with_base({f'a/{LONG}': photo(50), DEEP: photo(51)}), (8, 0, 0, 0)),
    ('same photo in two classes', with_base({'b/a.png': photo(0)}), (5, 0, 2, 0)),
    ('same photo twice in a class', with_base({'a/copy.png': photo(0)}), (6, 0, 0, 1)),
    ('near copies', with_base(NEAR), (8, 1, 0, 0)),
]


def test_there_are_forty_trees():
    assert len({name for name, _, _ in TREES}) == len(TREES) == 40


@pytest.mark.parametrize(('files', 'expected'), [tree[1:] for tree in TREES], ids=[tree[0] for tree in TREES])
def test_a_bad_tree_has_the_outcome_written_here(tmp_path, files, expected):
    check_outcome(tmp_path, files, {}, expected)


def check_outcome(tmp_path, files, options, expected):
    raw, out = tmp_path / 'raw', tmp_path / 'out'
    write_tree(raw, files)
    before = snapshot(raw)
    if isinstance(expected[0], type):
        with pytest.raises(expected[0], match=expected[1]):
            prepare(raw, out, workers=0, **options)
        assert [path.name for path in tmp_path.iterdir()] == ['raw']
    else:
        prepare(raw, out, workers=0, **options).summary().encode()  # also of names that are not UTF-8
        counts = check_prepared(raw, out, options.get('split') == 'ignore')['counts']
        assert tuple(counts[name] for name in ('copied', 'converted', 'skipped', 'duplicates')) == expected
        assert all(len(path.name.encode()) <= MAX_NAME_BYTES for path in out.rglob('*'))
    assert snapshot(raw) == before


# --- 20 trees that are split already --------------------------------------------------------------------------------


def in_sets(*sets, classes='ab'):
    """Three photos of each class in each set, all different."""
    return {
        f'{folder}/{name}/{number}.png': photo(100 * place + 10 * row + number)
        for place, folder in enumerate(sets)
        for row, name in enumerate(classes)
        for number in range(3)
    }


SPLIT = in_sets('train', 'val')
LEAKING = {**SPLIT, 'val/b/x.png': photo(10), 'train/a/y.png': photo(102, scale=8)}
BELOW = {f'{name}/{folder}/{number}.png': photo(20 * ('ab'.index(name)) + 10 * (folder == 'train') + number)
         for name in 'ab' for folder in ('train', 'val') for number in range(3)}  # fmt: skip
# (the tree, options, what comes of it): as above
SPLIT_TREES = [
    (SPLIT, {}, (12, 0, 0, 0)),
    (SPLIT, {'split': 'new', 'val_ratio': 0.5}, (12, 0, 0, 0)),
    (SPLIT, {'split': 'ignore'}, (12, 0, 0, 0)),
    (SPLIT, {'val_ratio': 0.3}, (ConfigError, '--val-ratio')),
    (SPLIT, {'split': 'keep', 'folds': 2, 'test_ratio': 0.3}, (12, 0, 0, 0)),
    (LEAKING, {}, (DataError, r'train/b/0.png and val/b/x.png[\s\S]*train/a/y.png and val/a/2.png')),
    (LEAKING, {'leaks': 'drop'}, (12, 0, 2, 0)),
    (LEAKING, {'leaks': 'allow'}, (14, 0, 0, 0)),
    (LEAKING, {'split': 'new'}, (13, 0, 0, 1)),
    (in_sets('seg_train/seg_train', 'seg_test/seg_test'), {'folds': 2}, (12, 0, 0, 0)),
    (in_sets('siteA', 'siteB'), {}, (DataError, r'--split keep[\s\S]*--split new')),
    (in_sets('siteA', 'siteB'), {'split': 'keep'}, (DataError, 'rename them')),
    (in_sets('siteA', 'siteB'), {'split': 'new'}, (12, 0, 0, 0)),
    (in_sets('siteA', 'siteB'), {'split': 'ignore'}, (12, 0, 0, 0)),
    (BELOW, {}, (12, 0, 0, 0)),
    (BELOW, {'split': 'new'}, (12, 0, 0, 0)),
    (BASE, {'split': 'keep'}, (ConfigError, 'no name of a folder says')),
    (
        {**SPLIT, 'val/up': '..', 'val/more': '../train', 'val/a/in': '../../train/a'},
        {},
        (DataError, 'one folder, by a link'),
    ),
    ({**SPLIT, 'test': 'val'}, {'leaks': 'drop'}, (DataError, 'validation set is empty')),
    ({**SPLIT, 'test': 'train'}, {}, (DataError, 'train/a/0.png and test/a/0.png')),
]


@pytest.mark.parametrize(('files', 'options', 'expected'), SPLIT_TREES)
def test_a_tree_that_is_split_has_the_outcome_written_here(tmp_path, files, options, expected):
    check_outcome(tmp_path, files, options, expected)


# --- 300 trees at random --------------------------------------------------------------------------------------------

GOOD_NAMES = [
    'daisy', 'wild rose', '蔷薇', '🌹', 'e\u0301te', 'CON', "l'orchidée", 'a.b', '-rf', '100%', '#1',
]  # fmt: skip
BAD_NAMES = [
    'Daisy', '\ufeffbom', ' rose', 'tulip ', 'li\nly', 'back\\slash', os.fsdecode(b'caf\xe9'), '\u00e9te',
    'x\u2028y',
]  # fmt: skip
LAYOUTS = [
    ['train', 'train', 'val'], ['train', 'train', 'val', 'test'], ['Training', 'Training', 'Training', 'Testing'],
    ['seg_train/seg_train', 'seg_train/seg_train', 'seg_test'], ['siteA', 'siteB'],
]  # fmt: skip
IGNORED = ['.git', '@eaDir', '__MACOSX', '.x']
FILE_NAMES = [
    '{}.png', '{}.JPG', 'a b {} 3.png', '{}\n.png', '{}', '花{}.jpeg', '{}.tar.gz', 'deep/er {}/x.png', 'x{}\\.png',
]  # fmt: skip
STRANGE = ['.DS_Store', '._{}.png', 'Thumbs.db', os.fsdecode(b'\xff{}.png'), '-{}.gif']


def random_tree(draw):
    """A tree, and of each path the number of the photo in it."""
    names = draw.sample(GOOD_NAMES, draw.randint(1, 5)) + (draw.sample(BAD_NAMES, 1) if draw.random() < 0.1 else [])
    files, origin, pool = {}, {}, [draw.randrange(400) for _ in range(40)]
    for name in names + (draw.sample(IGNORED, 1) if draw.random() < 0.3 else []):
        if draw.random() < 0.05:
            files[name] = None  # an empty class
        for number in range(draw.randint(2, 7) if name not in files else 0):
            path = f'{name}/{draw.choice(FILE_NAMES).format(number)}'
            origin[path] = pool.pop() if pool and draw.random() < 0.8 else draw.choice([*origin.values(), 0])
            files[path] = photo(origin[path], draw.choice(['PNG'] * 6 + ['BMP', 'PPM']), draw.choice([4, 4, 4, 6]))
        for _ in range(draw.choice([0, 0, 1, 2]) if files.get(name, b'') is not None else 0):
            files[f'{name}/{draw.choice(STRANGE).replace("{}", str(draw.random()))}'] = damaged(draw)
    if draw.random() < 0.05:
        files[f'{draw.choice(names)}/linked'] = f'../{draw.choice(names)}'
    if draw.random() < 0.5:
        sets, are_below = draw.choice(LAYOUTS), draw.random() < 0.2
        moved = {path: moved_into_a_set(path, draw.choice(sets), are_below) for path in files}
        files = {moved[path]: content for path, content in files.items()}
        origin = {moved[path]: number for path, number in origin.items()}
    if draw.random() < 0.3:
        files[draw.choice(['notes.txt', 'top.png', 'train.txt'])] = photo(7)
    return files, origin


def moved_into_a_set(path, folder, is_below):
    name, slash, rest = path.partition('/')
    return f'{name}/{folder}{slash}{rest}' if is_below else f'{folder}/{path}'


def damaged(draw):
    whole = photo(draw.randrange(400))
    broken = bytearray(whole)
    broken[draw.randrange(len(whole))] ^= 255
    links = ['nowhere', '.', '..', '../..']
    return draw.choice([b'', b'text', whole[: draw.randrange(len(whole))], bytes(broken), *draw.sample(links, 2)])


@pytest.mark.parametrize(
    'block',
    [pytest.param(block, marks=pytest.mark.slow if block >= 5 else pytest.mark.exhaustive) for block in range(10)],
)
def test_random_trees_lose_nothing_and_leak_nothing(tmp_path, block):
    outcomes = [try_random_tree(tmp_path / str(seed), seed) for seed in range(block, NUM_RANDOM, 10)]
    assert len(outcomes) == NUM_RANDOM // 10
    assert {'new split', 'given split', 'refused'} <= {*outcomes}  # else the trees are all too good, or all too bad


def try_random_tree(folder, seed):
    draw, raw, out = random.Random(seed), folder / 'raw', folder / 'out'
    files, origin = random_tree(draw)
    write_tree(raw, files)
    before = snapshot(raw)
    options = {'test_ratio': draw.choice([None, None, 0.2]), 'allow_tiny_classes': draw.random() < 0.5}
    options['split'] = draw.choice([*['auto'] * 8, *['new'] * 2, 'ignore', 'keep'])
    options['leaks'] = draw.choice(['error', 'drop', 'drop', 'drop', 'allow', 'allow'])
    try:
        prepare(raw, out, workers=0, seed=seed, **options)
    except FlowerclsError as error:
        assert error.exit_code in (2, 3) and [path.name for path in folder.iterdir()] == ['raw'], seed
        outcome = 'refused'
    else:
        manifest = check_prepared(raw, out, options['split'] == 'ignore')
        if manifest['leaks'] != 'allow':
            check_origins(manifest, origin)
        outcome = f'{manifest["split"]} split'
    assert snapshot(raw) == before, seed
    shutil.rmtree(folder)
    return outcome


def check_origins(manifest, origin):
    """Copies of one drawn photo, whatever their size and format, are in one set: known without any hash."""
    number = {written(path): drawn for path, drawn in origin.items()}
    sets = {}
    for image in manifest['images']:
        if image['raw'] in number:
            sets.setdefault(number[image['raw']], set()).add(image['set'])
    assert all(len(where) == 1 for where in sets.values()), sets
