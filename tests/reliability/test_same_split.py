"""One seed, one split: on every file system, in every locale, in every Python, whatever order the files came in."""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
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
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode('utf-8', 'replace')[-2000:]
    return folder / 'out'


C = dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
# The order in which files come, and variables.
SURROUNDINGS = {
    'nothing': (0, {}),
    'another order of files and of sets in Python, a terminal of few letters in C': (
        1,
        {**C, 'PYTHONHASHSEED': '1', 'PYTHONIOENCODING': 'ascii'},
    ),
    'a third order': (2, dict(PYTHONHASHSEED='2')),
    'C': (0, C),
    'POSIX, as usual': (0, dict(LC_ALL='POSIX')),
    'C.UTF-8': (0, dict(LC_ALL='C.UTF-8', PYTHONUTF8='0')),
    'a terminal of few letters': (0, dict(PYTHONIOENCODING='cp1252')),
    'a terminal of few letters in C': (0, {**C, 'PYTHONIOENCODING': 'ascii'}),
}


def test_this_process(tmp_path, tool):
    write_raw(tmp_path / 'raw', 0)
    assert tool('prepare', tmp_path / 'raw', tmp_path / 'out', '--folds', 3) == 0
    assert digest(tmp_path / 'out') == EXPECTED


@pytest.mark.slow  # a start of the tool each
@pytest.mark.parametrize('name', SURROUNDINGS)
def test_other_surroundings(tmp_path, name):
    order, variables = SURROUNDINGS[name]
    out = prepared_in(tmp_path, order, **variables)
    assert digest(out) == EXPECTED
    assert {path.name for path in (out / 'training_set').iterdir()} == set(CLASSES)


@pytest.mark.slow  # a start of the tool
@pytest.mark.skipif(not MEMORY.is_dir(), reason='no file system in memory here')
def test_another_file_system():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        assert digest(prepared_in(Path(folder))) == EXPECTED
