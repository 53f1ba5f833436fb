"""One seed, one split: on every file system, in every locale, in every Python, whatever order the files came in."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
# Of train.txt, val.txt and the lists of folds below. It is a constant so that another Python, another release of a
# library and another machine must come to it, too.
EXPECTED = 'c48def6d83bbb4f5b3c45ed5a004aeaa31c8eca74ca960b046049b4be9a8d162'
CLASSES = {'rose': 13, 'Löwenzahn': 9, '向日葵': 11, 'a b': 7}
MEMORY = Path('/dev/shm')


def write_raw(raw, order):
    """Photos as plain pixels, so that no encoder's release matters; every fifth is a near copy."""
    files = [(name, number) for name, count in CLASSES.items() for number in range(count)]
    random.Random(order).shuffle(files)
    for name, number in files:
        base = number - 1 if number % 5 == 4 else number
        seed = [sorted(CLASSES).index(name), base]
        pixels = np.random.default_rng(seed).integers(20, 200, (6, 8, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        path = raw / name / f'{"é" * (number % 3)}{number}.bmp'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels + 3 * (base != number)).save(path)


def digest(prepared):
    lists = sorted(path for path in prepared.rglob('*.txt') if path.name != 'classes.txt')
    return hashlib.sha256(b''.join(path.read_bytes() for path in lists)).hexdigest()


def prepared_in(folder, order=0, **environment):
    write_raw(folder / 'raw', order)
    command = [sys.executable, REPOSITORY / 'tools' / 'prepare_data.py', folder / 'raw', folder / 'out', '--folds', '3']
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY), **environment}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stderr.decode('utf-8', 'replace')[-2000:]
    return folder / 'out'


@pytest.fixture
def in_memory():
    if not MEMORY.is_dir():
        pytest.skip('no file system in memory here')
    folder = MEMORY / f'flowercls-test-{os.getpid()}'
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_on_this_machine(tmp_path):
    assert digest(prepared_in(tmp_path)) == EXPECTED


@pytest.mark.parametrize('order', [1, 2])
def test_files_that_came_in_another_order_and_another_order_of_sets_in_python(tmp_path, order):
    assert digest(prepared_in(tmp_path, order, PYTHONHASHSEED=str(order))) == EXPECTED


def test_another_file_system(in_memory):
    assert digest(prepared_in(in_memory)) == EXPECTED


LOCALES = {
    'C': dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0'),
    'POSIX, as usual': dict(LC_ALL='POSIX'),
    'C.UTF-8': dict(LC_ALL='C.UTF-8', PYTHONUTF8='0'),
    'a terminal of few letters': dict(PYTHONIOENCODING='cp1252'),
    'a terminal of few letters in C': dict(
        LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0', PYTHONIOENCODING='ascii'
    ),
}


@pytest.mark.parametrize('locale', LOCALES)
def test_another_locale(tmp_path, locale):
    out = prepared_in(tmp_path, **LOCALES[locale])
    assert digest(out) == EXPECTED
    names = {path.name for path in (out / 'training_set').iterdir()}
    assert names == set(CLASSES)
