"""What BaseDT's own preparation does to people's files, and that ours does not: nothing lost, no success of yesterday.

BaseDT deletes what lies where it writes, loses photos to rounding, cannot be repeated, and calls old results good. Of
all it has, only the check of a finished folder is used here.
"""

import collections
import contextlib
import hashlib
import io
import os
import random
import subprocess
import sys
from pathlib import Path

import BaseDT.dataset
import numpy as np
import pytest
from PIL import Image

TOOL = Path(__file__).parents[2] / 'tools' / 'prepare_data.py'
FILES = {f'{name}/{number}.png' for name in ('daisy', 'rose') for number in range(5)}


def write_photo(path, number):
    blocks = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks).resize((32, 24), Image.Resampling.BILINEAR).save(path, 'PNG')


def snapshot(folder):
    files = [path for path in folder.rglob('*') if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lines_of(out):
    """Every line of the lists of photos."""
    return {name: (out / name).read_text(encoding='utf-8').splitlines() for name in ('train.txt', 'val.txt')}


@pytest.fixture
def source(tmp_path):
    """The layout BaseDT wants: ``images/<class>/`` and ``classes.txt``."""
    for number, name in enumerate(sorted(FILES)):
        write_photo(tmp_path / 'source/images' / name, number)
    (tmp_path / 'source/classes.txt').write_text('daisy\nrose\n')
    return tmp_path / 'source'


@pytest.fixture
def raw(source):
    return source / 'images'


@pytest.fixture(autouse=True)
def only_its_check(monkeypatch):
    """BaseDT can do nothing but check a finished folder: what else of it is called ends the test."""
    methods = [name for name, value in vars(BaseDT.dataset.DataSet).items() if callable(value)]
    for name in set(methods) - {'__init__', 'check_cls'}:
        monkeypatch.setattr(BaseDT.dataset.DataSet, name, lambda *_, name=name, **__: pytest.fail(f'BaseDT {name}'))


@pytest.fixture
def prepare(tool, tmp_path, capsys, source):
    """Prepare; returns the exit code and what was said. What was there before is there after, byte for byte."""

    def run(raw, out, *arguments):
        before = snapshot(tmp_path)
        code = tool('prepare', raw, out, '--workers', '0', *arguments)
        after = snapshot(tmp_path)
        assert before.items() <= after.items(), 'files were lost or changed'
        captured = capsys.readouterr()
        assert 'Traceback' not in captured.err and (code == 0 or captured.out == '')
        assert code == 0 or before == after, 'something was left behind'
        return code, captured.out + captured.err

    return run


@pytest.fixture
def good(prepare, raw, tmp_path):
    """A prepared folder of an earlier run."""
    assert prepare(raw, tmp_path / 'out')[0] == 0
    return tmp_path / 'out'


def test_basedt_itself_does_delete_what_is_in_its_way(source, tmp_path, monkeypatch):
    monkeypatch.undo()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/thesis.txt').write_text('my only copy')
    with contextlib.redirect_stdout(io.StringIO()):
        BaseDT.dataset.DataSet(str(tmp_path / 'out')).make_dataset(str(source), 'IMAGENET', 0.8, 0.0, 0.2)
    assert not (tmp_path / 'out/thesis.txt').exists()


def test_a_folder_that_holds_something_is_refused(prepare, raw, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/thesis.txt').write_text('my only copy')
    code, said = prepare(raw, tmp_path / 'out')
    assert code == 2 and '--overwrite' in said


def test_overwriting_keeps_what_was_there_under_another_name(tool, raw, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/thesis.txt').write_text('my only copy')
    assert tool('prepare', raw, tmp_path / 'out', '--workers', '0', '--overwrite') == 0
    (backup,) = tmp_path.glob('out.bak-*')
    assert (backup / 'thesis.txt').read_text() == 'my only copy' and (tmp_path / 'out/val.txt').is_file()


@pytest.mark.parametrize('place', ['..', '.', '../..', 'daisy', 'new'])
def test_source_and_result_within_each_other_are_refused(prepare, raw, place):
    assert prepare(raw, raw / place)[0] == 2


def test_the_current_folder_is_not_the_default(prepare, raw, tmp_path, monkeypatch):
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home/thesis.txt').write_text('my only copy')
    monkeypatch.chdir(tmp_path / 'home')
    assert prepare(raw, '.')[0] == 2
    assert prepare(raw, '')[0] == 2


def test_a_bad_source_after_a_good_run_is_no_success(prepare, good, tmp_path):
    before = snapshot(good)
    (tmp_path / 'bad/images').mkdir(parents=True)
    for arguments in ((), ('--overwrite',)):
        assert prepare(tmp_path / 'bad', good, *arguments)[0] in (2, 3)
        assert snapshot(good) == before


def test_the_layout_of_basedt_itself_is_recognised(prepare, source, tmp_path):
    code, said = prepare(source, tmp_path / 'out')
    assert code == 3 and f'Did you mean {source / "images"}?' in said


@pytest.mark.parametrize('name', ['.DS_Store', 'daisy/.DS_Store', 'rose/Thumbs.db', 'daisy/._0.png', 'notes.txt'])
def test_stray_files_are_reported_and_cost_nothing(prepare, raw, tmp_path, name):
    (raw / name).write_bytes(b'x')
    assert prepare(raw, tmp_path / 'out')[0] == 0
    assert sum(map(len, lines_of(tmp_path / 'out').values())) == 10


def test_photos_in_deeper_folders_come_along(prepare, raw, tmp_path):
    write_photo(raw / 'daisy/last year/june/0.png', 50)
    assert prepare(raw, tmp_path / 'out')[0] == 0
    assert sum(map(len, lines_of(tmp_path / 'out').values())) == 11


@pytest.mark.parametrize('content', ['daisy\n', '\ufeffdaisy\nrose\n', 'tulip\nrose\ndaisy\n', ''])
def test_a_list_of_classes_beside_the_photos_is_not_believed(prepare, raw, tmp_path, content):
    for place in (raw.parent, raw):
        (place / 'classes.txt').write_text(content, encoding='utf-8')
    assert prepare(raw, tmp_path / 'out')[0] == 0
    assert (tmp_path / 'out/classes.txt').read_bytes() == b'daisy\nrose\n'


@pytest.mark.parametrize('sizes', [(2, 3, 4, 5), (5, 5), (2, 2), (7, 13, 99)])
def test_rounding_loses_nothing_and_every_class_is_validated(prepare, tmp_path, sizes):
    for number, size in enumerate(sizes):
        for photo in range(size):
            write_photo(tmp_path / f'raw/class {number}' / f'{photo}.png', 1000 * number + photo)
    assert prepare(tmp_path / 'raw', tmp_path / 'out')[0] == 0
    lists = lines_of(tmp_path / 'out')
    counts = {name: collections.Counter(line.split('/')[0] for line in lines) for name, lines in lists.items()}
    for number, size in enumerate(sizes):
        validated = max(1, int(0.2 * size + 0.5))  # rounded half up
        assert counts['val.txt'][f'class {number}'] == validated
        assert counts['train.txt'][f'class {number}'] == size - validated
    assert not (tmp_path / 'out/test_set').exists()


def test_a_class_of_one_photo_is_refused_not_dropped(prepare, raw, tmp_path):
    write_photo(raw / 'tulip/0.png', 50)
    assert prepare(raw, tmp_path / 'out')[0] == 3
    assert prepare(raw, tmp_path / 'out', '--allow-tiny-classes')[0] == 0
    assert [line for line in lines_of(tmp_path / 'out')['train.txt'] if line.startswith('tulip/')] == ['tulip/0.png 2']


def test_the_state_of_random_numbers_and_the_order_of_files_change_nothing(prepare, raw, good, tmp_path, monkeypatch):
    real, state = os.scandir, random.Random(3)

    class Shuffled:
        """What a file system may give."""

        def __init__(self, folder='.'):
            with real(folder) as entries:
                self.entries = list(entries)
            state.shuffle(self.entries)

        def __iter__(self):
            return self

        def __next__(self):
            if not self.entries:
                raise StopIteration
            return self.entries.pop()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        monkeypatch.setattr(os, 'scandir', Shuffled)
        assert prepare(raw, tmp_path / f'again{seed}')[0] == 0
        monkeypatch.setattr(os, 'scandir', real)
        assert snapshot(tmp_path / f'again{seed}') == snapshot(good)


@pytest.mark.parametrize('name', ['one.PNG', 'one.JPG', 'one.Jpeg', 'one'])
def test_photos_count_whatever_their_ending(prepare, raw, tmp_path, name):
    write_photo(raw / 'daisy' / name, 50)
    assert prepare(raw, tmp_path / 'out')[0] == 0
    listed = [line for lines in lines_of(tmp_path / 'out').values() for line in lines]
    assert len(listed) == 11 and all(line.split(' ')[0].endswith('.png') for line in listed)  # what they really are


@pytest.mark.parametrize('content', [b'', b'no photo', b'\x89PNG\r\n\x1a\n' + bytes(50)])
def test_what_is_no_photo_is_left_out_and_said(prepare, raw, tmp_path, content):
    (raw / 'daisy/bad.png').write_bytes(content)
    code, said = prepare(raw, tmp_path / 'out')
    assert code == 0 and '1 skipped' in said
    assert not any('bad' in line for lines in lines_of(tmp_path / 'out').values() for line in lines)


def test_a_missing_folder_is_not_made(prepare, tmp_path):
    assert prepare(tmp_path / 'nowhere', tmp_path / 'out')[0] == 3
    assert not (tmp_path / 'nowhere').exists() and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('line', ['daisy/gone.png 0', 'daisy/gone.png 99'])
def test_a_list_that_names_what_is_not_there_is_refused_before_training(good, write_config, tool, tmp_path, line):
    with (good / 'val.txt').open('a') as file:
        file.write(f'{line}\n')
    config = write_config(tmp_path, data_root=good)
    assert tool('train', config, '--dry-run') == 3


@pytest.fixture
def in_locale(raw, tmp_path):
    """Prepare in a process of its own that writes another encoding; returns the process and the folder."""

    def run(**environment):
        environment = {**os.environ, 'PYTHONPATH': str(TOOL.parents[1]), **environment}
        words = [sys.executable, str(TOOL), str(raw), str(tmp_path / 'out'), '--workers', '0']
        done = subprocess.run(words, env=environment, capture_output=True, timeout=120)
        assert b'Traceback' not in done.stderr
        return done, tmp_path / 'out'

    return run


OLD_LOCALE = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}


@pytest.mark.parametrize('environment', [{}, OLD_LOCALE], ids=['UTF-8', 'ASCII'])
@pytest.mark.parametrize('encoding', ['ascii', 'cp1252'])
def test_a_terminal_that_knows_few_letters_changes_nothing(in_locale, raw, environment, encoding):
    (raw / 'rose').rename(raw / '猫')
    done, out = in_locale(PYTHONIOENCODING=encoding, **environment)
    assert done.returncode == 0, done.stderr
    assert (out / 'classes.txt').read_bytes() == 'daisy\n猫\n'.encode()
    assert sum(map(len, lines_of(out).values())) == 10
