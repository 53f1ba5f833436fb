"""Preparing that is killed leaves a whole folder or none, never touches the source, and runs again."""

import fcntl
import hashlib
import os
import random
import shutil
import signal
import time

import pytest
from PIL import Image

from flowercls.data.prepare.preparation import prepare
from flowercls.data.prepare.staging import clear_leftovers
from helpers import faults

SEED = 0


def digests(folder):
    found = {path.relative_to(folder): path for path in folder.rglob('*') if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


@pytest.fixture(scope='session')
def raw(drawn_root, tmp_path_factory):
    """60 photos, a copy of one, one that is skipped and one that is converted."""
    raw = tmp_path_factory.mktemp('to_prepare') / 'raw'
    shutil.copytree(drawn_root.parent / 'raw', raw)
    first, second, third = sorted((raw / 'daisy').iterdir())[:3]
    (raw / 'daisy' / 'copy.jpg').write_bytes(first.read_bytes())
    (raw / 'daisy' / 'broken.jpg').write_bytes(second.read_bytes()[:50])
    Image.open(third).convert('RGBA').transpose(Image.Transpose.ROTATE_90).save(raw / 'daisy' / 'converted.png')
    return raw


@pytest.fixture(scope='session')
def whole(raw, tmp_path_factory):
    """Digests of the raw folder, and of what an undisturbed preparation makes of it."""
    out = tmp_path_factory.mktemp('prepared') / 'flower'
    prepare(raw, out, workers=0, folds=3)
    return digests(raw), digests(out)


@pytest.fixture
def check(raw, whole):
    """What must hold after a kill; then preparing again makes the folder, and leaves nothing else."""

    def after_kill(out):
        before, expected = whole
        for marker in out.parent.glob('.flower.preparing-*/.preparing'):
            with marker.open('rb+') as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # until the workers of the killed process are dead, too
        if out.exists():
            assert digests(out) == expected
        else:
            prepare(raw, out, workers=0, folds=3)
            assert digests(out) == expected
        assert digests(raw) == before
        for folder in out.parent.glob('.flower.preparing-*'):  # killed where it had no marker
            assert not (folder / '.preparing').exists()
            os.utime(folder, (0, 0))
            assert [line for line in clear_leftovers(out) if line.endswith('removed')]
        assert [path.name for path in out.parent.iterdir()] == ['flower'], 'something is left beside it'

    return after_kill


@pytest.mark.parametrize('step', [pytest.param(30), pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_crash_at_an_operation_on_files(in_child, raw, check, tmp_path, step):
    def count():
        counting = faults.Faults(tmp_path / 'counted')
        counting.install()
        prepare(raw, tmp_path / 'counted' / 'flower', workers=0, folds=3)
        (tmp_path / 'count').write_text(str(counting.count))

    assert in_child(count) == 0
    num_operations = int((tmp_path / 'count').read_text())
    assert num_operations > 100
    for number in range(1, num_operations + 1, step):

        def crash(number=number):
            faults.Faults(tmp_path / f'at{number}', number, faults.die).install()
            prepare(raw, tmp_path / f'at{number}' / 'flower', workers=0, folds=3)

        assert in_child(crash) == 137
        (tmp_path / f'at{number}').mkdir(exist_ok=True)
        check(tmp_path / f'at{number}' / 'flower')
    print(f'every {step}. of {num_operations} crash points: the folder is whole or not there')


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])  # 2: each starts Python afresh
@pytest.mark.parametrize('goal', [pytest.param(3), pytest.param(50, marks=pytest.mark.exhaustive)])
def test_random_kills(in_child, raw, check, tmp_path, workers, goal):
    begin = time.monotonic()
    assert in_child(lambda: prepare(raw, tmp_path / 'clock' / 'flower', workers=workers, folds=3) and 0) == 0
    length, moments, kills, number = time.monotonic() - begin, random.Random(SEED), 0, 0
    while kills < goal:
        out, number = tmp_path / str(number) / 'flower', number + 1
        out.parent.mkdir()
        kill = (signal.SIGKILL, moments.uniform(0, length))
        code = in_child(lambda out=out: prepare(raw, out, workers=workers, folds=3) and 0, kill)
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        check(out)
    print(f'{kills} kills, the others of {number} came too late: the folder is whole or not there')
