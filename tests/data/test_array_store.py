"""A keyed set of arrays is complete or absent, whatever happens while it is made."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from flowercls.core.errors import DiskError
from flowercls.data.array_store import ArrayStore

KEY = 'photos-1a2b'


def make(store, key=KEY, value=7):
    with store.building(key, {'what': 'numbers'}) as building:
        building.array('numbers', (3, 2), np.uint16)[:] = value
        building.array('none', (0, 4), np.uint8)


def start(folder, *lines):
    """A process that makes the set and, in the middle of it, does ``lines``."""
    program = f"""
import os, sys, time
import numpy as np
from flowercls.data.array_store import ArrayStore
store = ArrayStore({str(folder)!r})
with store.building({KEY!r}, {{}}, on_wait=lambda: print('waits', flush=True)) as building:
    if building is not None:
        array = building.array('numbers', (4,), np.int64)
        array[:2] = 5
        print('begun', flush=True)
        sys.stdin.readline()
        array[:] = 5
print(building is None, store.read({KEY!r})['numbers'].tolist(), flush=True)
"""
    return subprocess.Popen(
        [sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def test_what_was_made_is_read_back_and_cannot_be_written(tmp_path):
    store = ArrayStore(tmp_path / 'cache')
    assert store.read(KEY) is None and store.size_of(KEY) == 0
    make(store)

    arrays = ArrayStore(tmp_path / 'cache').read(KEY)
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        'numbers': ((3, 2), np.uint16),
        'none': ((0, 4), np.uint8),
    }
    assert arrays['numbers'].tolist() == [[7, 7]] * 3
    with pytest.raises(ValueError, match='read-only'):
        arrays['numbers'][0] = 1
    about = json.loads((tmp_path / 'cache' / KEY / 'about.json').read_text())
    assert about['what'] == 'numbers' and about['made'] and about['arrays']['numbers']['shape'] == [3, 2]
    assert store.size_of(KEY) == sum(file.stat().st_size for file in (tmp_path / 'cache' / KEY).iterdir()) > 12


def test_a_set_that_is_there_is_not_made_again(tmp_path):
    store = ArrayStore(tmp_path)
    make(store)
    with store.building(KEY, {}) as building:
        assert building is None
    with store.building('another', {}) as building:
        assert building is not None


def test_an_error_leaves_nothing(tmp_path):
    store = ArrayStore(tmp_path)
    with pytest.raises(KeyError), store.building(KEY, {}) as building:
        building.array('numbers', (3,), np.uint8)
        raise KeyError
    assert store.read(KEY) is None
    assert [path.name for path in tmp_path.iterdir()] == [f'{KEY}.lock']


def test_a_killed_maker_leaves_nothing_that_counts_and_the_next_one_clears_up(tmp_path):
    maker = start(tmp_path)
    assert maker.stdout.readline() == 'begun\n'
    os.kill(maker.pid, signal.SIGKILL)
    maker.wait()
    store = ArrayStore(tmp_path)
    assert len(list(tmp_path.glob('.*.unfinished'))) == 1
    assert store.read(KEY) is None
    other = tmp_path / f'.{KEY}.longer.{maker.pid}.unfinished'  # of another key, perhaps still in the making
    other.mkdir()

    make(store)

    assert store.read(KEY)['numbers'].shape == (3, 2)
    assert list(tmp_path.glob('.*.unfinished')) == [other]


def test_a_second_process_waits_and_takes_what_the_first_made(tmp_path):
    first = start(tmp_path)
    assert first.stdout.readline() == 'begun\n'
    second = start(tmp_path)
    assert second.stdout.readline() == 'waits\n'
    said = [first.communicate('go on\n')[0], second.communicate()[0]]
    assert said == ['False [5, 5, 5, 5]\n', 'True [5, 5, 5, 5]\n']


@pytest.mark.parametrize('damage', ['shorter', 'gone', 'another shape', 'about', 'head'])
def test_a_damaged_set_counts_as_absent_and_is_made_anew(tmp_path, damage):
    store = ArrayStore(tmp_path)
    make(store)
    file, about = tmp_path / KEY / 'numbers.npy', tmp_path / KEY / 'about.json'
    if damage == 'shorter':
        os.truncate(file, file.stat().st_size - 1)
    elif damage == 'gone':
        file.unlink()
    elif damage == 'another shape':
        np.save(file, np.zeros((2, 2), np.uint16))
    elif damage == 'head':
        os.truncate(file, 20)
    else:
        about.write_text(about.read_text()[:-5])
    assert store.read(KEY) is None

    make(store, value=8)
    assert store.read(KEY)['numbers'].tolist() == [[8, 8]] * 3


def test_a_set_of_another_format_counts_as_absent(tmp_path):
    store = ArrayStore(tmp_path)
    make(store)
    about = tmp_path / KEY / 'about.json'
    about.write_text(json.dumps({**json.loads(about.read_text()), 'format': 0}))
    assert store.read(KEY) is None


@pytest.mark.parametrize('below', ['', 'cache'])
def test_a_folder_on_a_disk_that_is_not_there_is_told(tmp_path, below):
    (tmp_path / 'scratch').symlink_to(tmp_path / 'not mounted')
    with pytest.raises(DiskError, match='cannot be made .*cache_dir'):
        make(ArrayStore(tmp_path / 'scratch' / below))


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path):
    store = ArrayStore(tmp_path)
    with pytest.raises(DiskError, match='disk is full'), store.building(KEY, {}) as building:
        building.array('numbers', (1 << 60,), np.uint8)
    assert store.read(KEY) is None and not list(tmp_path.glob('.*'))


@pytest.mark.parametrize('key', ['', '.hidden', '../out', 'a/b', 'a b'])
def test_keys_are_plain_names(tmp_path, key):
    with pytest.raises(ValueError, match='expected letters'):
        ArrayStore(tmp_path).read(key)
