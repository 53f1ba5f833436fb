"""Raw folder to prepared folder: complete or absent, repeatable, every file accounted for, the source untouched."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from flowercls.core.errors import ConfigError, DataError, DiskError
from flowercls.core.prepared_folder import manifest_hash, photo_groups
from flowercls.data.prepare import preparation as prepare_module
from flowercls.data.prepare.preparation import prepare
from helpers.odd_photos import bomb, encoded, textured


@pytest.fixture
def raw(tmp_path):
    """10 daisies, 5 roses, all different, in ordinary files."""
    for number in range(15):
        name = f'daisy/{number}.jpg' if number < 10 else f'rose/{number}.png'
        (tmp_path / 'raw' / name).parent.mkdir(parents=True, exist_ok=True)
        textured(number).save(tmp_path / 'raw' / name)
    return tmp_path / 'raw'


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


def run(raw, out, **options):
    return prepare(raw, out, **{'workers': 0, **options})


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def manifest_of(out):
    return json.loads((out / 'manifest.json').read_text(encoding='utf-8'))


def entry(out, raw_path):
    (found,) = (image for image in manifest_of(out)['images'] if image['raw'] == raw_path)
    return found


# --- what is made ---------------------------------------------------------------------------------------------------


def test_the_prepared_folder_has_the_promised_layout(raw, out):
    report = run(raw, out)
    assert sorted(path.name for path in out.iterdir()) == [
        *('classes.txt', 'manifest.json', 'overview.png', 'train.txt', 'training_set', 'val.txt', 'val_set'),
    ]
    assert (out / 'classes.txt').read_bytes() == b'daisy\nrose\n'
    assert report.counts == {'training_set': {'daisy': 8, 'rose': 4}, 'val_set': {'daisy': 2, 'rose': 1}}
    for list_name, folder in (('train.txt', 'training_set'), ('val.txt', 'val_set')):
        rows = [line.rsplit(' ', 1) for line in (out / list_name).read_text(encoding='utf-8').splitlines()]
        assert rows == sorted(rows)
        assert {name for name, _ in rows} == set(tree(out / folder))
        assert all(label == str(['daisy', 'rose'].index(name.split('/')[0])) for name, label in rows)


def test_the_same_command_twice_gives_the_same_files(raw, out, tmp_path):
    Image.new('RGBA', (20, 20), (0, 0, 0, 0)).save(raw / 'rose/clear.png')
    run(raw, out, folds=2)
    run(shutil.copytree(raw, tmp_path / 'elsewhere/other'), tmp_path / 'again', folds=2, workers=2)
    assert tree(out) == tree(tmp_path / 'again')
    run(raw, tmp_path / 'seed', seed=1, folds=2)
    assert tree(out)['val.txt'] != tree(tmp_path / 'seed')['val.txt']


def test_the_manifest_has_a_line_for_each_photo(raw, out):
    (raw / 'rose/notes.txt').write_text('water on Mondays')
    run(raw, out)
    lines = (out / 'manifest.json').read_text(encoding='utf-8').splitlines()
    assert [json.loads(line.rstrip(',')) for line in lines if line.startswith('    {"file"')] == manifest_of(out)[
        'images'
    ]
    assert '  "duplicates": []' in lines and len(manifest_of(out)['images']) == 15
    (skipped,) = manifest_of(out)['skipped']
    assert skipped['raw'] == 'rose/notes.txt' and skipped['reason'] == 'not an image'


def test_a_test_set_is_made_when_asked_for(raw, out):
    report = run(raw, out, test_ratio=0.2)
    assert report.counts['test_set'] == {'daisy': 2, 'rose': 1}
    assert len((out / 'test.txt').read_text().splitlines()) == len(tree(out / 'test_set')) == 3
    assert 'test' in report.summary()


def test_folds_cover_training_and_validation_and_leave_the_test_set_out(raw, out):
    run(raw, out, test_ratio=0.2, folds=2)
    assert sorted(path.name for path in (out / 'folds').iterdir()) == [
        *('fold_0_train.txt', 'fold_0_val.txt', 'fold_1_train.txt', 'fold_1_val.txt'),
    ]
    everything = {f'training_set/{line}' for line in (out / 'train.txt').read_text().splitlines()}
    everything |= {f'val_set/{line}' for line in (out / 'val.txt').read_text().splitlines()}
    lists = {path.name: set(path.read_text().splitlines()) for path in (out / 'folds').iterdir()}
    for fold in (0, 1):
        train, val = lists[f'fold_{fold}_train.txt'], lists[f'fold_{fold}_val.txt']
        assert train | val == everything and not train & val
        assert all((out / line.rsplit(' ', 1)[0]).is_file() for line in train)
    assert lists['fold_0_val.txt'] | lists['fold_1_val.txt'] == everything


# --- odd photos -----------------------------------------------------------------------------------------------------


def test_names_get_their_true_extension(raw, out):
    textured(40).save(raw / 'rose/a.JPEG')
    textured(41).save(raw / 'rose/really_png.jpg', 'PNG')
    textured(42).save(raw / 'rose/v1.5', 'JPEG')
    textured(43).save(raw / 'rose/b.bmp')
    (raw / 'rose/x').mkdir()
    textured(44).save(raw / 'rose/x/a.jpg')
    summary = run(raw, out).summary()
    names = {
        path: Path(entry(out, f'rose/{path}')['file']).name for path in ('a.JPEG', 'really_png.jpg', 'v1.5', 'b.bmp')
    }
    assert names == {'a.JPEG': 'a.jpg', 'really_png.jpg': 'really_png.png', 'v1.5': 'v1.5.jpg', 'b.bmp': 'b.png'}
    _, renamed = summary.split('renamed: 2 files')  # only where the name was wrong or taken
    assert 'really a PNG (1)\n    rose/really_png.jpg: now really_png.png' in renamed
    assert 'taken' in renamed and '    rose/x/a.jpg: now a-' in renamed


# --- copies, tiny classes, and the sum ------------------------------------------------------------------------------


def test_every_file_is_accounted_for(raw, out):
    (raw / 'rose/again.png').write_bytes((raw / 'rose/10.png').read_bytes())
    (raw / 'rose/wrong.jpg').write_bytes((raw / 'daisy/0.jpg').read_bytes())
    (raw / 'rose/cut.jpg').write_bytes((raw / 'daisy/1.jpg').read_bytes()[:300])
    (raw / 'rose/.DS_Store').write_bytes(b'x')
    (raw / 'readme.txt').write_text('x')
    textured(60).save(raw / 'rose/w.webp')
    report = run(raw, out)
    assert manifest_of(out)['counts'] | {'sets': None} == {
        **{'scanned': 21, 'copied': 14, 'converted': 1, 'skipped': 5, 'duplicates': 1, 'sets': None},
    }
    assert report.duplicates == (('rose/again.png', 'rose/10.png'),)
    assert sorted((skip['raw'], skip['reason']) for skip in manifest_of(out)['skipped']) == [
        ('daisy/0.jpg', 'label conflict'),
        ('readme.txt', 'not in a class folder'),
        ('rose/.DS_Store', 'system file'),
        ('rose/cut.jpg', 'truncated'),
        ('rose/wrong.jpg', 'label conflict'),
    ]
    summary = report.summary()
    assert '21 files scanned = 14 copied + 1 converted + 5 skipped + 1 duplicates' in summary
    for path in ('daisy/0.jpg', 'readme.txt', 'rose/.DS_Store', 'rose/cut.jpg', 'rose/wrong.jpg', 'rose/again.png'):
        assert f'    {path}' in summary


@pytest.mark.parametrize('seed', range(2))
def test_near_copies_are_kept_together_also_across_classes(raw, out, seed):
    textured(0, (96, 72)).save(raw / 'daisy/0 larger.jpg')
    textured(0, (48, 40)).save(raw / 'rose/0 as a rose.jpg')
    report = run(raw, out, seed=seed)
    assert report.near_duplicates == (('daisy/0 larger.jpg', 'daisy/0.jpg', 'rose/0 as a rose.jpg'),)
    near = [entry(out, path) for path in report.near_duplicates[0]]
    assert len({image['set'] for image in near}) == 1 and [image['duplicate_group'] for image in near] == [1, 1, 1]
    assert entry(out, 'daisy/1.jpg')['duplicate_group'] is None
    assert 'different classes: check them' in report.summary()


def test_near_duplicates_are_dropped_or_left_alone_when_asked_for(raw, out, tmp_path):
    textured(0, (96, 72)).save(raw / 'daisy/0 larger.jpg')
    textured(1).transpose(Image.Transpose.ROTATE_90).save(raw / 'daisy/1 turned.png')
    report = run(raw, out, near_duplicates='drop')
    left_out = [(skip['raw'], skip['reason'], skip['detail']) for skip in manifest_of(out)['skipped']]
    assert left_out == [
        ('daisy/0.jpg', 'near-duplicate', 'looks like daisy/0 larger.jpg'),
        ('daisy/1.jpg', 'near-duplicate', 'looks like daisy/1 turned.png'),
    ]
    counts = manifest_of(out)['counts']
    assert (counts['scanned'], counts['copied'], counts['skipped']) == (17, 15, 2) and report.near_duplicates == ()
    assert manifest_of(out)['near_duplicates'] == {'action': 'drop', 'method': 'hash', 'distance': 0.6}
    assert run(raw, tmp_path / 'off', near_duplicates='off').near_duplicates == ()
    assert run(raw, tmp_path / 'strict', near_duplicate_distance=0).near_duplicates == ()
    assert len(run(raw, tmp_path / 'near').near_duplicates) == 2


def test_a_class_of_near_duplicates_only_is_refused_with_the_flags_that_help(raw, out):
    (raw / 'tulip').mkdir()
    for number in range(3):
        textured(70, (64 + number, 48)).save(raw / f'tulip/{number}.jpg')
    with pytest.raises(DataError, match='near-duplicates of each other') as caught:
        run(raw, out)
    for flag in ('--near-duplicate-distance (now 0.6)', '--near-duplicate-method', '--near-duplicates off'):
        assert flag in str(caught.value)
    assert run(raw, out, near_duplicates='off').counts['val_set']['tulip'] == 1


def test_large_groups_are_told(raw, out):
    for number in range(11):
        textured(0, (64 + number, 48)).save(raw / f'daisy/burst {number}.jpg')
    summary = run(raw, out).summary()
    assert '(1): look at them' in summary and '11 photos, 55.0% of daisy, all for training' in summary
    assert 'look at them' not in run(raw, out, overwrite=True, near_duplicates='drop').summary()


def test_a_class_with_one_usable_photo_is_refused_unless_allowed(raw, out):
    (raw / 'tulip').mkdir()
    textured(70).save(raw / 'tulip/a.jpg')
    (raw / 'tulip/b.jpg').write_bytes(b'')
    with pytest.raises(DataError, match=r'tulip: 1 usable photo\n.*empty file \(1\)[\s\S]*--allow-tiny-classes'):
        run(raw, out)
    assert not out.exists()
    assert run(raw, out, allow_tiny_classes=True).counts['training_set']['tulip'] == 1
    assert (out / 'classes.txt').read_text() == 'daisy\nrose\ntulip\n'
    assert (out / 'val_set/tulip').is_dir() and not any((out / 'val_set/tulip').iterdir())


def test_a_class_without_a_usable_photo_is_always_refused(raw, out):
    (raw / 'tulip').mkdir()
    with pytest.raises(DataError, match='tulip: 0 usable') as caught:
        run(raw, out, allow_tiny_classes=True)
    assert '--allow-tiny-classes' not in str(caught.value)


def test_tiny_classes_only_leave_nothing_to_validate(raw, out):
    for path in [*raw.glob('*/1*'), *raw.glob('*/[2-9]*')]:
        path.unlink() if path.name != '10.png' else None
    with pytest.raises(DataError, match='left to validate'):
        run(raw, out, allow_tiny_classes=True)


# --- a raw folder that is split already ----------------------------------------------------------------------------


def photo(path, number, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    textured(number, size).save(path)


@pytest.fixture
def sets(tmp_path):
    """Sets train (4 + 4), valid (2 + 2) and test (1 + 1) of daisy and rose, all different, with equal names."""
    for place, (name, size) in enumerate({'train': 4, 'valid': 2, 'test': 1}.items()):
        for number in range(2 * size):
            photo(tmp_path / 'raw' / name / ('daisy', 'rose')[number % 2] / f'{number // 2}.png', 20 * place + number)
    return tmp_path / 'raw'


def test_a_given_split_is_kept_photo_by_photo(sets, out):
    report = run(sets, out, folds=2)
    of_raw = {'train': 'training_set', 'valid': 'val_set', 'test': 'test_set'}
    assert len(manifest_of(out)['images']) == 14
    for image in manifest_of(out)['images']:
        name, rest = image['raw'].split('/', 1)
        assert image['file'] == f'{of_raw[name]}/{rest}'  # also the name of the file
    manifest = manifest_of(out)
    assert (manifest['split'], manifest['leaks'], manifest['val_ratio'], manifest['test_ratio']) == (
        *('given', 'error', None, None),
    )
    assert sum(manifest['leaked'].values()) == 0
    assert 'split kept as it is: train → training_set, valid → val_set, test → test_set' in report.summary()
    folded = (out / 'folds/fold_0_train.txt').read_text() + (out / 'folds/fold_0_val.txt').read_text()
    assert len(folded.splitlines()) == 12 and 'test_set' not in folded


def test_new_merges_the_sets_and_keeps_equal_names_apart(sets, out):
    report = run(sets, out, split='new', test_ratio=0.2)
    assert report.counts == {
        'training_set': {'daisy': 5, 'rose': 5},
        **dict.fromkeys(['val_set', 'test_set'], {'daisy': 1, 'rose': 1}),
    }
    names = [image['file'].rpartition('/')[2] for image in manifest_of(out)['images'] if image['class'] == 'rose']
    assert len(names) == len(set(names)) == 7
    assert manifest_of(out)['split'] == 'new' and manifest_of(out)['leaks'] is None
    assert 'sets merged and split anew: test, train, valid' in report.summary()


def test_a_set_that_is_missing_is_cut_from_training(sets, out):
    shutil.rmtree(sets / 'valid')
    report = run(sets, out, val_ratio=0.25)
    assert report.counts['val_set'] == {'daisy': 1, 'rose': 1} and report.counts['training_set']['daisy'] == 3
    assert {image['raw'][:4] for image in manifest_of(out)['images'] if image['set'] == 'test_set'} == {'test'}
    assert 'no validation set was given: 25 %' in report.summary()


def test_a_test_set_may_be_cut_from_a_split_without_one(sets, out):
    shutil.rmtree(sets / 'test')
    report = run(sets, out, split='keep', test_ratio=0.25)
    assert report.counts['test_set'] == {'daisy': 1, 'rose': 1} and report.counts['val_set'] == {'daisy': 2, 'rose': 2}
    assert {image['raw'][:5] for image in manifest_of(out)['images'] if image['set'] == 'test_set'} == {'train'}


@pytest.mark.parametrize('options', [{'val_ratio': 0.2}, {'test_ratio': 0.1}, {'val_ratio': 0.2, 'split': 'keep'}])
def test_a_share_of_a_set_that_is_kept_is_refused(sets, out, tmp_path, options):
    with pytest.raises(ConfigError, match='means nothing.*--split new'):
        run(sets, out, **options)
    assert nothing_left(tmp_path)
    assert run(sets, out, **(options | {'split': 'new'})).counts


def test_classes_that_a_set_lacks_are_named_and_one_without_training_is_refused(sets, out):
    photo(sets / 'train/tulip/0.png', 90)
    assert 'no validation photos of: tulip\nno test photos of: tulip' in run(sets, out).summary()
    photo(sets / 'test/zinnia/0.png', 91)
    with pytest.raises(DataError, match='usable training photos[\\s\\S]*zinnia: 0[\\s\\S]*--split new'):
        run(sets, out, overwrite=True)


@pytest.fixture
def leaking(sets):
    """A photo in train and test, twice in train, one in valid and test, one in train and larger in valid."""
    for path in ('train/rose/a.png', 'train/rose/b.png', 'test/rose/c.png'):
        photo(sets / path, 70)
    for path in ('valid/daisy/d.png', 'test/daisy/e.png'):
        photo(sets / path, 71)
    photo(sets / 'train/daisy/f.png', 72)
    photo(sets / 'valid/daisy/g.png', 72, (128, 96))
    return sets


def test_leaks_are_an_error_that_names_both_paths(leaking, out, tmp_path):
    with pytest.raises(DataError) as caught:
        run(leaking, out)
    for pair in (
        *('train/rose/a.png and test/rose/c.png', 'valid/daisy/d.png and test/daisy/e.png'),
        'train/daisy/f.png and valid/daisy/g.png',
    ):
        assert pair in str(caught.value)
    assert nothing_left(tmp_path)


def test_leaks_that_are_dropped_count_as_skipped(leaking, out):
    report = run(leaking, out, leaks='drop')
    counts = manifest_of(out)['counts']
    assert {**counts, 'sets': 0} == {
        'scanned': 21,
        'copied': 17,
        'converted': 0,
        'skipped': 3,
        'duplicates': 1,
        'sets': 0,
    }
    assert {skip['raw']: skip['reason'] for skip in manifest_of(out)['skipped']} == dict.fromkeys(
        ['train/daisy/f.png', 'train/rose/a.png', 'valid/daisy/d.png'], 'leak'
    )
    assert report.duplicates == (('train/rose/b.png', 'train/rose/a.png'),)
    assert manifest_of(out)['leaks'] == 'drop' and sum(manifest_of(out)['leaked'].values()) == 3
    sets_of_group = {image['duplicate_group']: image['set'] for image in manifest_of(out)['images']}
    assert set(sets_of_group) == {None}


def test_leaks_that_are_allowed_stay_and_are_told_loudly(leaking, out):
    report = run(leaking, out, leaks='allow')
    counts = manifest_of(out)['counts']
    assert (counts['copied'], counts['skipped'], counts['duplicates']) == (20, 0, 1)
    assert 'WARNING: photos of one set are also in another (3)' in report.summary()
    assert 'valid/daisy/d.png and test/daisy/e.png' in report.summary()
    assert manifest_of(out)['leaks'] == 'allow' and sum(manifest_of(out)['leaked'].values()) == 3


def test_one_content_under_two_classes_is_left_out_of_all_sets(sets, out):
    photo(sets / 'train/rose/a.png', 70)
    photo(sets / 'test/daisy/a.png', 70)
    run(sets, out)
    assert {skip['raw']: skip['reason'] for skip in manifest_of(out)['skipped']} == dict.fromkeys(
        ['test/daisy/a.png', 'train/rose/a.png'], 'label conflict'
    )


def test_a_validation_set_that_leaks_as_a_whole_is_not_replaced(sets, out):
    shutil.rmtree(sets / 'valid')
    shutil.copytree(sets / 'test', sets / 'valid')
    with pytest.raises(DataError, match='validation set is empty'):
        run(sets, out, leaks='drop')


@pytest.mark.skipif(os.name != 'posix', reason='links as on POSIX')
def test_a_link_must_not_lead_to_the_prepared_folder_or_around_it(raw, tmp_path):
    photo(tmp_path / 'elsewhere/tulip/0.png', 80)
    (raw / 'tulip').symlink_to(tmp_path / 'elsewhere/tulip')
    for place in ('elsewhere', 'elsewhere/tulip/new'):
        with pytest.raises(ConfigError, match='within each other'):
            run(raw, tmp_path / place, overwrite=True, allow_tiny_classes=True)
    assert [path.name for path in (tmp_path / 'elsewhere/tulip').iterdir()] == ['0.png']


# --- whole or absent ------------------------------------------------------------------------------------------------


def nothing_left(folder):
    return sorted(path.name for path in folder.iterdir()) == ['raw']


def test_an_empty_folder_is_no_obstacle_and_ordinary_photos_are_copies(raw, out):
    out.mkdir()
    report = run(raw, out)
    assert report.plan.file_counts()['copied'] == 15 and report.converted == ()


def test_a_used_folder_is_refused_before_anything_is_read(raw, out, monkeypatch):
    out.mkdir()
    (out / 'thesis.txt').write_text('my only copy')
    monkeypatch.setattr(prepare_module, 'read_raw_folder', lambda *_: pytest.fail('photos were read'))
    with pytest.raises(ConfigError, match='--overwrite'):
        run(raw, out)
    assert tree(out) == {'thesis.txt': b'my only copy'}


def test_overwrite_moves_the_old_folder_aside_and_says_so(raw, out):
    run(raw, out)
    before = tree(out)
    report = run(raw, out, seed=1, overwrite=True)
    assert report.backup.parent == out.parent and report.backup.name.startswith('out.bak-2')
    assert tree(report.backup) == before and tree(out) != before
    assert str(report.backup) in report.summary()
    assert run(raw, out, overwrite=True).backup != report.backup


def test_missing_parents_are_made_and_removed_again_on_failure(raw, tmp_path):
    (raw / 'tulip').mkdir()
    with pytest.raises(DataError):
        run(raw, tmp_path / 'some/where/out')
    assert nothing_left(tmp_path)
    (raw / 'tulip').rmdir()
    run(raw, tmp_path / 'some/where/out')
    assert (tmp_path / 'some/where/out/train.txt').is_file()


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize(
    'step',
    ['read_raw_folder', 'scan_photos', 'copy_photos', 'write_lists', 'draw_overview', '_check_layout', 'publish'],
)
def test_whatever_interrupts_leaves_nothing_behind(raw, out, tmp_path, monkeypatch, step, error):
    def fail(*_, **__):
        raise error

    before = tree(raw)
    monkeypatch.setattr(prepare_module, step, fail)
    with pytest.raises(error):
        run(raw, out)
    assert nothing_left(tmp_path) and tree(raw) == before


def test_a_failed_overwrite_leaves_the_old_folder_in_place(raw, out, monkeypatch):
    run(raw, out)
    before, real = tree(out), Path.rename

    def fail(self, target):
        if '.preparing-' in self.name:
            raise PermissionError(13, 'Permission denied')
        return real(self, target)

    monkeypatch.setattr(Path, 'rename', fail)
    with pytest.raises(DiskError):
        run(raw, out, overwrite=True, seed=1)
    assert tree(out) == before and sorted(path.name for path in out.parent.iterdir()) == ['out', 'raw']


def test_a_file_that_changes_between_reading_and_copying_is_an_error(raw, out, tmp_path, monkeypatch):
    real = prepare_module.make_plan

    def change_one(*args, **options):
        textured(99).save(raw / 'daisy/3.jpg')
        return real(*args, **options)

    monkeypatch.setattr(prepare_module, 'make_plan', change_one)
    with pytest.raises(DataError, match='3.jpg: changed between'):
        run(raw, out)
    assert nothing_left(tmp_path)


def test_too_little_space_is_noticed_before_copying(raw, out, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=1000))
    with pytest.raises(DiskError, match='0 MiB are free'):
        run(raw, out)
    assert nothing_left(tmp_path)


def test_a_place_that_may_not_be_written_is_noticed_before_reading(raw, out, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'mkdir', refuse)
    monkeypatch.setattr(prepare_module, 'read_raw_folder', lambda *_: pytest.fail('photos were read'))
    with pytest.raises(DiskError, match='may not be written'):
        run(raw, out)


def test_a_place_inside_a_file_is_refused(raw, tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(DiskError, match='cannot be made'):
        run(raw, tmp_path / 'file' / 'out')
    (tmp_path / 'file').unlink()
    assert nothing_left(tmp_path)


@pytest.mark.skipif(os.name != 'posix', reason='locks as on POSIX')
def test_what_became_of_a_killed_run_is_in_the_summary(raw, out, tmp_path):
    left = tmp_path / '.out.preparing-1'
    left.mkdir()
    (left / '.preparing').touch()
    assert run(raw, out, dry_run=True).leftovers == () and left.is_dir()
    assert f'{left}: left by a killed run; removed' in run(raw, out).summary()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out', 'raw']


def test_a_dry_run_says_the_same_and_writes_nothing(raw, out, tmp_path):
    report = run(raw, tmp_path / 'deep/out', dry_run=True)
    assert nothing_left(tmp_path)
    assert 'dry run: nothing was written' in report.summary()
    assert report.counts == run(raw, out).counts


# --- options and places ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'val_ratio': 0}, '--val-ratio 0'),
        ({'val_ratio': 20}, '--val-ratio 20'),
        ({'val_ratio': float('nan')}, '--val-ratio nan'),
        ({'test_ratio': -0.1}, '--test-ratio -0.1'),
        ({'val_ratio': 0.6, 'test_ratio': 0.4}, 'nothing to train on'),
        ({'folds': 1}, '--folds 1'),
        ({'folds': 6}, 'folds=6.*rose has 5'),
        ({'workers': -1}, '--workers -1'),
        ({'seed': -1, 'folds': 2}, '--seed -1'),
        ({'seed': 2**32}, '--seed 4294967296'),
        ({'split': 'maybe'}, '--split maybe: expected auto, keep'),
        ({'leaks': 'ignore'}, '--leaks ignore: expected error, drop'),
    ],
)
def test_impossible_options_are_refused(raw, out, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        run(raw, out, **options)
    assert nothing_left(tmp_path)


def test_all_impossible_options_are_named_at_once(raw, out):
    with pytest.raises(ConfigError, match='--val-ratio 2.*--folds 0.*--workers -3'):
        run(raw, out, val_ratio=2, folds=0, workers=-3)


@pytest.mark.parametrize('place', ['.', 'rose', 'rose/new', '..', 'link/new'])
def test_source_and_result_may_not_lie_within_each_other(raw, tmp_path, place):
    (tmp_path / 'link').symlink_to(raw, target_is_directory=True)
    before = tree(raw)
    with pytest.raises(ConfigError, match='within each other'):
        run(raw, (tmp_path if place.startswith('link') else raw) / place)
    assert tree(raw) == before


def test_too_long_a_name_is_refused(raw, tmp_path):
    for name in ('x' * 300, 'x' * 5000):
        with pytest.raises(ConfigError, match='too long a name'):
            run(raw, tmp_path / name)


def test_places_that_cannot_be_reached_are_named(raw, out, tmp_path):
    (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
    for place in (tmp_path / 'loop', tmp_path / ('d/' * 3000)):
        # From Python 3.13 on, a link to itself does not exist until it is in the way.
        with pytest.raises((DiskError, ConfigError), match='(cannot be (reached|made)|is there already).*Fix'):
            run(raw, place)
        with pytest.raises(DataError, match='cannot be reached|does not exist'):
            run(place, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['loop', 'raw']


@pytest.mark.parametrize('place', ['.', '', '{out}', '..'])
def test_a_folder_around_the_shell_is_refused(raw, out, monkeypatch, place):
    (out / 'deeper').mkdir(parents=True)
    monkeypatch.chdir(out / 'deeper' if place == '..' else out)
    with pytest.raises(ConfigError, match='current folder'):
        run(raw, place.format(out=out), overwrite=True)


def test_a_current_folder_that_was_deleted_is_no_crash(raw, out, tmp_path, monkeypatch):
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    with pytest.raises(DiskError, match='cannot be reached'):
        run(raw, out)


@pytest.mark.skipif(os.name != 'posix', reason='devices as on POSIX')
def test_what_is_no_folder_is_refused(raw, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(ConfigError, match='is a file'):
        run(raw, tmp_path / 'pipe')


def test_through_a_link_the_backup_is_named_where_it_is(raw, out, tmp_path):
    (tmp_path / 'disk').mkdir()
    out.symlink_to(tmp_path / 'disk/flower', target_is_directory=True)
    run(raw, out)
    backup = run(raw, out, overwrite=True).backup
    assert backup.parent == tmp_path / 'disk' and (backup / 'train.txt').is_file() and (out / 'train.txt').is_file()


def test_a_missing_source_leaves_no_trace(tmp_path, out):
    with pytest.raises(DataError, match='does not exist'):
        run(tmp_path / 'nowhere', out)
    assert not any(tmp_path.iterdir())


def test_basedt_is_asked_quietly_and_its_refusal_is_ours(raw, out, tmp_path, monkeypatch, capsys):
    import BaseDT.dataset

    run(raw, out)
    assert capsys.readouterr().out == ''
    assert 'open' not in vars(BaseDT.dataset)

    def forget_list(plan, staging, real=prepare_module.write_lists):
        real(plan, staging)
        (staging / 'val.txt').unlink()

    monkeypatch.setattr(prepare_module, 'write_lists', forget_list)
    with pytest.raises(DataError, match='BaseDT does not accept'):
        run(raw, tmp_path / 'second')
    assert not (tmp_path / 'second').exists()


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic', ['HEIC', 'pillow-heif', 'pip install "flowercls[heic]"']),
        (b'\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42', ['video', 'MP4', 'frames']),
        (b'II*\x00\x10\x00\x00\x00CR\x02\x00' + bytes(100), ['camera raw', 'Canon', 'JPEG']),
        (bytes(128) + b'DICM' + bytes(100), ['DICOM', 'PNG']),
        (bomb(24_000), ['too large', '24000x12000', '250 megapixels']),
        (encoded(Image.new('RGB', (4, 4))), ['too small', '4x4', 'larger']),
        (b'water on Mondays', ['not an image', 'a text: "water on Mondays', 'remove it']),
        (b'', ['empty file', 'copy or download it again']),
    ],
    ids=['heic', 'video', 'raw', 'dicom', 'large', 'small', 'text', 'empty'],
)
def test_where_all_files_of_a_class_fail_the_reason_and_the_fix_are_shown(raw, out, content, words, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    (raw / 'tulip').mkdir()
    for number in range(5):
        (raw / 'tulip' / f'{number}.HEIC').write_bytes(content)
    with pytest.raises(DataError, match='tulip: 0 usable photos') as caught:
        run(raw, out)
    line = next(line for line in str(caught.value).splitlines() if 'left out' in line)
    assert all(word in line for word in ['(5): tulip/0.HEIC', 'tulip/2.HEIC', 'and 2 more. Fix: ', *words])
    shutil.rmtree(raw / 'daisy')  # in a set that can be prepared, the summary shows them as well
    shutil.move(raw / 'tulip', raw / 'rose' / 'sub')
    for number in range(20, 24):
        (raw / 'daisy').mkdir(exist_ok=True)
        textured(number).save(raw / 'daisy' / f'{number}.png')
    summary = run(raw, out).summary()
    assert f'{words[0]} (5). Fix: ' in summary and words[-1] in summary


# --- tables and groups ----------------------------------------------------------------------------------------------


@pytest.fixture
def flat(tmp_path):
    """40 photos in one folder, 8 plants with 5 photos each, and a table that says what they are."""
    (tmp_path / 'flat').mkdir()
    rows = ['photo,species,plant']
    for number in range(40):
        textured(number).save(tmp_path / 'flat' / f'{number:03}.jpg')
        rows.append(f'{number:03},{"rose" if number % 10 < 5 else "wild daisy"},plant {number // 5}')
    (tmp_path / 'labels.csv').write_text('\r\n'.join(rows))
    return tmp_path / 'flat'


def sets_of_groups(out):
    found = {}
    for image in manifest_of(out)['images']:
        found.setdefault(image['group'], set()).add(image['set'])
    return found


def test_labels_and_groups_of_a_table_make_a_prepared_folder(flat, out):
    report = run(flat, out, labels=flat.parent / 'labels.csv', folds=2)
    assert (out / 'classes.txt').read_text() == 'rose\nwild daisy\n'
    assert {sum(of.values()) for of in report.counts.values()} == {10, 30}
    groups = sets_of_groups(out)
    assert sorted(groups) == [f'plant {number}' for number in range(8)] and all(len(of) == 1 for of in groups.values())
    assert entry(out, '007.jpg')['group'] == 'plant 1' and entry(out, '007.jpg')['class'] == 'wild daisy'
    assert "labels from 'species', groups from 'plant'" in report.summary()
    group_of = {image['file']: image['group'] for image in manifest_of(out)['images']}
    for fold in range(2):
        sides = [(out / 'folds' / f'fold_{fold}_{side}.txt').read_text().splitlines() for side in ('train', 'val')]
        train, val = ({group_of[line.rsplit(' ', 1)[0]] for line in lines} for lines in sides)
        assert len(train) == len(val) == 4 and not train & val


def test_of_many_files_of_one_reason_twenty_are_named(flat, out):
    table = flat.parent / 'labels.csv'
    table.write_text('\n'.join(table.read_text().splitlines()[:19]))
    report = run(flat, out, labels=table)
    assert len(report.skipped) == len(manifest_of(out)['skipped']) == 22
    summary = report.summary()
    assert 'no row in the table (22)' in summary and '037.jpg' in summary and 'and 2 more' in summary
    assert '038.jpg' not in summary


def test_what_compares_runs_takes_a_group_for_one_photo(flat, out):
    run(flat, out, labels=flat.parent / 'labels.csv')
    numbers = photo_groups(out, manifest_hash(out))
    assert len(numbers) == 40 and len(set(numbers.values())) == 8


def test_a_manifest_without_groups_of_the_user_has_no_such_key(raw, out):
    run(raw, out)
    assert not any('group' in image for image in manifest_of(out)['images'])


def test_a_class_of_one_group_is_refused_with_its_name(flat, out):
    with pytest.raises(
        DataError, match="(?s)rose: 20 photos, but all are in one group \\('rose'\\).*correct its groups"
    ):
        run(flat, out, labels=flat.parent / 'labels.csv', label_column='species', group_column='species')
    with pytest.raises(DataError, match='no class has two different'):
        run(
            flat,
            out,
            labels=flat.parent / 'labels.csv',
            label_column='species',
            group_column='species',
            allow_tiny_classes=True,
        )


def test_shares_that_groups_make_inexact_are_told(flat, out):
    options = dict(labels=flat.parent / 'labels.csv', dry_run=True)
    assert 'validation set has not 20 % of each class: rose 25.0 %' in run(flat, out, **options).summary()
    assert 'has not' not in run(flat, out, group_column='none', **options).summary()


def test_leaks_of_groups_in_a_given_split_are_refused_or_dropped(flat, out):
    table = flat.parent / 'labels.csv'
    rows = table.read_text().splitlines()
    sets = ['split', *('train' if number < 32 else 'val' for number in range(40))]
    table.write_text('\n'.join(f'{row},{name}' for row, name in zip(rows, sets, strict=True)))
    with pytest.raises(DataError, match=r'(?s)one group \(2\).*030.jpg and 032.jpg.*--leaks drop'):
        run(flat, out, labels=table)
    counts = run(flat, out, labels=table, leaks='drop').plan.file_counts()
    assert counts == {'scanned': 40, 'copied': 38, 'converted': 0, 'skipped': 2, 'duplicates': 0}


def test_copies_by_name_are_offered_and_kept_in_one_set(tmp_path, out):
    for number in range(24):
        photo, name = textured(number, (96, 72)), f'{"rose" if number % 2 else "daisy"}/p{number}'
        (tmp_path / 'raw' / name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / 'raw' / f'{name}.png')
        photo.rotate(12).save(tmp_path / 'raw' / f'{name}_rot12.png')
        photo.crop((20, 10, 96, 60)).save(tmp_path / 'raw' / f'{name}_crop.png')
    offer = run(tmp_path / 'raw', out, dry_run=True).summary()
    assert '72 photos look like copies of 24' in offer and '--group-copies' in offer
    run(tmp_path / 'raw', out, group_copies=True)
    groups = sets_of_groups(out)
    assert len(groups) == 24 and all(len(of) == 1 for of in groups.values()) and 'rose/p1' in groups


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(label_column='x'), '--label-column x: no table'),
        (dict(group_column='x'), '--group-column x: no table'),
        (dict(groups='g.csv', set_column='x'), '--set-column x: no table'),
        (dict(groups='g.csv', group_by='x'), '--groups and --group-by'),
        (dict(labels='l.csv', group_column='x', group_by='y'), '--group-by and --group-column'),
    ],
)
def test_flags_of_tables_that_contradict_each_other_are_refused(raw, out, options, message):
    with pytest.raises(ConfigError, match=message):
        run(raw, out, **options)
