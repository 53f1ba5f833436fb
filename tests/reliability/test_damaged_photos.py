"""Photos that are damaged after they were prepared end a training or a test with their names, never with a guess."""

import gc
import itertools
import multiprocessing
import os
import shutil

import pytest

DAMAGES = {
    'cut': (lambda path: os.truncate(path, path.stat().st_size // 2), 'truncated'),
    'zeroed': (lambda path: path.write_bytes(bytes(path.stat().st_size)), 'not an image'),
    'emptied': (lambda path: path.write_bytes(b''), 'empty file'),
    'text': (lambda path: path.write_text('water on Mondays'), 'not an image'),
    'deleted': (lambda path: path.unlink(), 'photos are missing'),
    'locked': (lambda path: path.chmod(0), 'unreadable file'),
}
FILES = 'photo_cache = None\n'
WORKERS = 'train_dataloader = dict(num_workers=2)\nval_dataloader = dict(num_workers=1)\n'
SETTINGS = {'store': '', 'files': FILES, 'files and workers': FILES + WORKERS, 'store and workers': WORKERS}
AS_ROOT = hasattr(os, 'geteuid') and os.geteuid() == 0


def cases():
    """Every damage with every setting; in the quick part every damage once, and one with every setting."""
    for (number, damage), setting in itertools.product(enumerate(DAMAGES), SETTINGS):
        marks = [pytest.mark.skipif(damage == 'locked' and AS_ROOT, reason='root may read every file')]
        is_quick = damage == 'cut' or list(SETTINGS).index(setting) == number % 2
        yield pytest.param(damage, setting, marks=marks if is_quick else [*marks, pytest.mark.slow])


every_case = pytest.mark.parametrize(('damage', 'setting'), list(cases()))


@pytest.fixture
def damaged(drawn_root, write_config, trained_run, tmp_path):
    """Copy the folder that `trained_run` made a store of, and damage a photo; returns a config for it and the photo."""

    def make(damage, setting, set_name, place=0):
        root = shutil.copytree(drawn_root, tmp_path / 'flower')
        photo = sorted((root / set_name).rglob('*.*'))[place]
        DAMAGES[damage][0](photo)
        return write_config(tmp_path, SETTINGS[setting], data_root=root), photo

    return make


# Workers are slow to start; a test below reads the same set with workers.
TO_VALIDATE = ['store', *(pytest.param(setting, marks=pytest.mark.slow) for setting in ('files', 'files and workers'))]


def shorten(list_file):
    """One batch an epoch: a photo to validate is read after it."""
    list_file.write_text(''.join(list_file.read_text().splitlines(keepends=True)[:8]))


def check_answer(capfd, photo, damage):
    error = capfd.readouterr().err
    assert error.startswith('DataError: ') and 'Traceback' not in error
    assert str(photo) in error and DAMAGES[damage][1] in error
    assert 'Fix: ' in error and 'prepare' in error
    gc.collect()  # a loader's workers go with it
    assert multiprocessing.active_children() == []


@every_case
def test_training_stops_at_a_damaged_photo_and_names_it(damaged, tool, tmp_path, capfd, damage, setting):
    config, photo = damaged(damage, setting, 'training_set')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 3
    check_answer(capfd, photo, damage)
    assert not list(tmp_path.rglob('*.pth'))


@pytest.mark.parametrize('setting', TO_VALIDATE)
def test_training_stops_at_a_damaged_photo_to_validate(damaged, tool, tmp_path, capfd, setting):
    config, photo = damaged('cut', setting, 'val_set', place=-1)
    shorten(photo.parents[2] / 'train.txt')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 3
    check_answer(capfd, photo, 'cut')


@every_case
def test_a_test_stops_at_a_damaged_photo_and_names_it(damaged, trained_run, tool, tmp_path, capfd, damage, setting):
    config, photo = damaged(damage, setting, 'val_set')
    assert tool('test', config, trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path / 'run') == 3
    check_answer(capfd, photo, damage)
    assert not list(tmp_path.rglob('metrics.json'))


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='has no pipes in folders')
@pytest.mark.parametrize('setting', ['store', 'files'])
def test_what_is_no_file_is_not_waited_for(damaged, tool, tmp_path, capfd, setting):
    config, photo = damaged('emptied', setting, 'training_set')
    photo.unlink()
    photo.symlink_to('/dev/zero')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 3
    photo.unlink()
    os.mkfifo(photo)
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 3
    assert 'Traceback' not in capfd.readouterr().err


def overwrite_block(path):
    """64 bytes among the pixels of a JPEG, which still decodes."""
    with path.open('r+b') as file:
        file.seek(path.stat().st_size * 2 // 3)
        file.write(bytes(64))


@pytest.mark.slow
@pytest.mark.parametrize('setting', ['store', 'files'])
def test_damage_that_still_decodes_is_told_at_every_start(
    drawn_root, write_config, trained_run, tool, tmp_path, capfd, setting
):
    root = shutil.copytree(drawn_root, tmp_path / 'flower')
    photo = sorted((root / 'val_set').rglob('*.jpg'))[0]
    overwrite_block(photo)
    config = write_config(tmp_path, SETTINGS[setting], data_root=root)
    told = f'1 of 60 photos is not as prepared, first {photo.relative_to(root).as_posix()}: replaced, or damaged. Fix: '
    for _ in range(2):
        assert tool('test', config, trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path / 'run') == 0
        assert told in capfd.readouterr().out
    photo.write_bytes((drawn_root / photo.relative_to(root)).read_bytes())
    assert tool('test', config, trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path / 'run') == 0
    assert 'not as prepared' not in capfd.readouterr().out
