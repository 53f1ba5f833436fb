"""Known photos keep their set and fold whatever they are called now; new ones are split; the rest is told."""

import json
import shutil
from collections import Counter

import pytest

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.prepare.preparation import prepare
from flowercls.data.prepare.sets.extension import KnownPhoto, KnownSplit, extended_folds, extended_sets
from flowercls.data.prepare.sets.split import SplitItem, SplitOptions
from helpers.odd_photos import textured

TRAIN, VAL, TEST = 'training_set', 'val_set', 'test_set'


@pytest.fixture
def raw(tmp_path):
    """10 daisies and 10 roses, all different."""
    for number in range(20):
        save(tmp_path / 'raw', 'daisy' if number < 10 else 'rose', number)
    return tmp_path / 'raw'


def save(raw, label, number):
    (raw / label).mkdir(parents=True, exist_ok=True)
    textured(number).save(raw / label / f'{number}.png')


def run(raw, out, **options):
    return prepare(raw, out, **{'workers': 0, **options})


def sets_of(result):
    return {planned.photo.sha256: planned.set_name for planned in result.plan.photos}


def split_of(**sets):
    """A known split of photos of class a: ``{digest: set}``."""
    photos = {digest: KnownPhoto(f'a/{digest}', 'a', name, None) for digest, name in sets.items()}
    return KnownSplit('old', '', SplitOptions(), photos)


# --- sets -----------------------------------------------------------------------------------------------------------


def test_known_photos_keep_their_set_and_new_ones_make_up_the_shares(raw, tmp_path):
    before = sets_of(run(raw, tmp_path / 'old', seed=3))
    for number in range(100, 110):
        save(raw, 'rose', number)
    (raw / 'daisy/deep').mkdir()
    (raw / 'daisy/0.png').rename(raw / 'daisy/deep/another name.png')
    result = run(raw, tmp_path / 'new', extend=tmp_path / 'old')
    after = sets_of(result)
    assert before.items() <= after.items() and len(after) == 30 and 'WARNING' not in result.summary()
    assert result.counts == {TRAIN: {'daisy': 8, 'rose': 16}, VAL: {'daisy': 2, 'rose': 4}}
    assert (
        f'extends {tmp_path}/old/manifest.json: 16 + 4 known photos keep their set, 10 new: 8 training, 2 validation, '
        '0 gone'
    ) in result.summary()
    digest = json.loads((tmp_path / 'new/manifest.json').read_text())['extends']
    assert {key: digest[key] for key in ('known', 'new', 'gone')} == {'known': 20, 'new': 10, 'gone': 0}


def test_seed_and_shares_come_from_the_old_folder_unless_they_are_given(raw, tmp_path):
    run(raw, tmp_path / 'old', seed=3, val_ratio=0.3, test_ratio=0.2)
    options = run(raw, tmp_path / 'same', extend=tmp_path / 'old/manifest.json').plan.options
    assert options == SplitOptions(seed=3, val_ratio=0.3, test_ratio=0.2)
    for number in range(100, 110):
        save(raw, 'rose', number)
    result = run(raw, tmp_path / 'new', extend=tmp_path / 'old', val_ratio=0.5, test_ratio=0.1, seed=0)
    assert result.plan.options == SplitOptions(seed=0, val_ratio=0.5, test_ratio=0.1)
    # Of 10 roses 3 and 2 were set apart; 20 roses want 10 and 2.
    assert [result.counts[name]['rose'] for name in (TRAIN, VAL, TEST)] == [8, 10, 2]


def test_a_test_set_may_be_added_from_new_photos_alone(raw, tmp_path):
    before = sets_of(run(raw, tmp_path / 'old'))
    for number in range(100, 110):
        save(raw, 'rose', number)
    result = run(raw, tmp_path / 'new', extend=tmp_path / 'old', test_ratio=0.2)
    assert before.items() <= sets_of(result).items()
    assert result.counts[TEST] == {'daisy': 0, 'rose': 4}


def test_the_shares_of_sets_that_were_given_are_those_they_have(raw, tmp_path):
    for number in range(20):
        label = 'daisy' if number < 10 else 'rose'
        set_name = 'val' if number % 10 < 4 else 'train'
        save(tmp_path / f'sets/{set_name}', label, number)
    before = sets_of(run(tmp_path / 'sets', tmp_path / 'old'))
    for number in range(100, 110):
        save(raw, 'rose', number)
    result = run(raw, tmp_path / 'new', extend=tmp_path / 'old')
    assert before.items() <= sets_of(result).items()
    assert result.counts == {TRAIN: {'daisy': 6, 'rose': 12}, VAL: {'daisy': 4, 'rose': 8}}
    with pytest.raises(ConfigError, match=r'has sets.* --split new'):
        run(tmp_path / 'sets', tmp_path / 'again', extend=tmp_path / 'old')


def test_what_is_gone_or_of_another_class_or_new_is_told(raw, tmp_path):
    before = run(raw, tmp_path / 'old')
    moved = next(p.photo.path for p in before.plan.photos if p.set_name == VAL and p.photo.class_name == 'rose')
    (raw / moved).rename(raw / 'daisy/corrected.png')
    for number in range(7):
        (raw / f'daisy/{number}.png').unlink()
        save(raw, 'aster', 200 + number)
    shutil.copy(raw / 'daisy/9.png', raw / 'rose/9.png')  # a label conflict now
    result = run(raw, tmp_path / 'new', extend=tmp_path / 'old')
    text = result.summary()
    assert result.counts[VAL]['aster'] == 1 and '7 gone' in text
    assert 'daisy/corrected.png: rose → daisy' in text
    assert sets_of(result)[next(p.photo.sha256 for p in before.plan.photos if p.photo.path == moved)] == VAL
    lines = text.splitlines()
    start = lines.index('gone (7):')
    assert lines[start + 1 : start + 8] == [f'  daisy/{number}.png' for number in range(7)]
    assert lines[lines.index('known, but left out now (1):') + 1] == '  daisy/9.png'


def test_of_many_only_the_first_are_named(raw, tmp_path):
    run(raw, tmp_path / 'old')
    for number in range(12):
        (raw / ('daisy' if number < 10 else 'rose') / f'{number}.png').unlink()
    for number in (100, 101):
        save(raw, 'daisy', number)
    text = run(raw, tmp_path / 'new', extend=tmp_path / 'old').summary()
    assert 'WARNING: most known photos are gone' in text
    assert 'gone (12):' in text and '  daisy/9.png\n  and 2 more' in text and 'rose/10.png' not in text


def test_the_old_folder_may_be_the_one_that_is_moved_aside(raw, tmp_path):
    before = sets_of(run(raw, tmp_path / 'old', seed=5))
    save(raw, 'rose', 100)
    result = run(raw, tmp_path / 'old', extend=tmp_path / 'old', overwrite=True)
    assert before.items() <= sets_of(result).items() and result.backup.is_dir()
    with pytest.raises(ConfigError, match='--overwrite'):
        run(raw, tmp_path / 'old', extend=tmp_path / 'old')


def test_a_group_goes_where_its_known_photo_is():
    known = split_of(k0=VAL, k1=TRAIN, k2=TRAIN, k3=TRAIN)
    items = [SplitItem('a', name, group) for name, group in [('k0', 0), ('n0', 0), ('k1', 1), ('n1', 1), ('n2', 1)]]
    assert extended_sets(known, items, SplitOptions()) == [VAL, VAL, TRAIN, TRAIN, TRAIN]


def test_known_photos_of_a_torn_group_keep_their_sets_and_the_new_one_trains():
    known = split_of(k0=VAL, k1=TRAIN, k2=TEST)
    items = [SplitItem('a', name, 0) for name in ('k0', 'n', 'k1')] + [SplitItem('a', 'k2', 1)]
    assert extended_sets(known, items, SplitOptions()) == [VAL, TRAIN, TRAIN, TEST]


@pytest.fixture
def torn(raw, tmp_path):
    """Two photos that were split before the user said that they are one plant: (path to train, path to validate)."""
    before = run(raw, tmp_path / 'old')
    pair = [next(p.photo.path for p in before.plan.photos if p.set_name == name) for name in (TRAIN, VAL)]
    (tmp_path / 'plants.csv').write_text('photo,plant\n' + ''.join(f'{path},one\n' for path in pair))
    return pair


@pytest.mark.parametrize('leaks', ['error', 'drop', 'allow'])
def test_a_group_that_lies_in_two_sets_is_treated_as_a_leak(raw, tmp_path, torn, leaks):
    options = dict(extend=tmp_path / 'old', groups=tmp_path / 'plants.csv', leaks=leaks)
    if leaks == 'error':
        with pytest.raises(DataError, match=rf'(?s){torn[0]} and {torn[1]}.*--leaks drop'):
            run(raw, tmp_path / 'new', **options)
        return
    result = run(raw, tmp_path / 'new', **options)
    sets = {planned.photo.path: planned.set_name for planned in result.plan.photos}
    assert sets[torn[1]] == VAL
    if leaks == 'drop':
        assert torn[0] not in sets and [skip.reason for skip in result.skipped] == ['leak']
        assert f'known, but left out now (1):\n  {torn[0]}' in result.summary()
    else:
        assert sets[torn[0]] == TRAIN and f'{torn[0]} and {torn[1]}' in result.summary()
    files = result.plan.file_counts()
    assert files.pop('scanned') == sum(files.values()) == 20


# --- folds ----------------------------------------------------------------------------------------------------------


def folds_of(result):
    return {planned.photo.sha256: planned.fold for planned in result.plan.photos}


def test_known_photos_keep_their_fold_and_new_ones_even_the_folds_out(raw, tmp_path):
    before = folds_of(run(raw, tmp_path / 'old', folds=3))
    for number in range(100, 105):
        save(raw, 'rose', number)
    result = run(raw, tmp_path / 'new', extend=tmp_path / 'old')
    assert before.items() <= folds_of(result).items() and 'folds are new' not in result.summary()
    roses = Counter(planned.fold for planned in result.plan.photos if planned.photo.class_name == 'rose')
    assert sorted(roses.values()) == [5, 5, 5]
    lines = [(tmp_path / f'new/folds/fold_{fold}_val.txt').read_text().splitlines() for fold in range(3)]
    assert [len(of_fold) for of_fold in lines] == [
        sum(f == fold for f in folds_of(result).values()) for fold in (0, 1, 2)
    ]


@pytest.mark.parametrize('other', ['another number', 'a list is missing', 'none before'])
def test_other_folds_are_new_and_that_is_told(raw, tmp_path, other):
    run(raw, tmp_path / 'old', folds=None if other == 'none before' else 3)
    if other == 'a list is missing':
        (tmp_path / 'old/folds/fold_1_val.txt').unlink()
    result = run(raw, tmp_path / 'new', extend=tmp_path / 'old', folds=2 if other == 'another number' else 3)
    assert 'the folds are new' in result.summary() and None not in folds_of(result).values()


def test_groups_stay_in_one_fold_and_small_classes_are_refused():
    photos = {f'k{n}': KnownPhoto(f'a/{n}', 'a', TRAIN, n) for n in range(2)}
    known = KnownSplit('old', '', SplitOptions(folds=2), photos)
    items = [SplitItem('a', name, group) for name, group in [('k0', 0), ('k1', 1), ('n0', 1), ('n1', 2), ('n2', 2)]]
    # The group of k1 has two photos then, so the new group goes where there is one.
    assert extended_folds(known, items, 2) == [0, 1, 1, 0, 0]
    with pytest.raises(ConfigError, match='a has 2'):
        extended_folds(known, items[:3], 3)


# --- manifests that cannot be used ----------------------------------------------------------------------------------


def changed(**values):
    return lambda manifest: manifest.update(values)


def without_a_photo(manifest):
    manifest['images'].pop()


@pytest.mark.parametrize(
    'change',
    [
        without_a_photo,
        changed(images=3),
        changed(seed='x'),
        changed(val_ratio=2),
        changed(counts={}),
        changed(folds=-1),
        lambda manifest: manifest['images'][0].update(set='train'),
        lambda manifest: manifest['images'][0].update(raw_sha256='0'),
        lambda manifest: manifest['images'][0].update(raw_sha256=None),
        lambda manifest: manifest['images'][0].pop('class'),
        lambda manifest: manifest['images'][0].update({'set': 'val_set'}),
        lambda manifest: manifest.pop('images'),
    ],
)
def test_a_manifest_that_is_not_as_it_was_written_is_refused(raw, tmp_path, change):
    run(raw, tmp_path / 'old')
    path = tmp_path / 'old/manifest.json'
    manifest = json.loads(path.read_text())
    manifest['images'].sort(key=lambda image: image['set'])  # the first trains
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r'changed by hand .*Fix: '):
        run(raw, tmp_path / 'new', extend=path)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    'content', [b'', b'{"a": 1}', b'[]', b'\xff\xfe', b'[' * 100_000, b'image,label\na.jpg,rose\n']
)
def test_another_file_is_refused(raw, tmp_path, content):
    (tmp_path / 'other.json').write_bytes(content)
    with pytest.raises(DataError, match='no manifest of a prepared folder'):
        run(raw, tmp_path / 'new', extend=tmp_path / 'other.json')


@pytest.mark.parametrize('name', ['missing', 'missing/manifest.json', 'raw'])
def test_a_missing_manifest_is_named(raw, tmp_path, name):
    with pytest.raises(DataError, match=rf'{name}.*Fix: name the manifest'):
        run(raw, tmp_path / 'new', extend=tmp_path / name)


def test_leaks_that_would_take_all_training_photos_of_a_class_are_refused(raw, tmp_path):
    before = run(raw, tmp_path / 'old')
    daisies = [p for p in before.plan.photos if p.photo.class_name == 'daisy']  # in each plant one to validate
    rows = [f'{p.photo.path},{number % 2}\n' for number, p in enumerate(sorted(daisies, key=lambda p: p.set_name))]
    (tmp_path / 'plants.csv').write_text('photo,plant\n' + ''.join(rows))
    with pytest.raises(DataError, match='no training photo is left of daisy'):
        run(raw, tmp_path / 'new', extend=tmp_path / 'old', groups=tmp_path / 'plants.csv', leaks='drop')
