"""What BaseDT's own preparation does to people's files, and that ours does not: nothing lost, no success of yesterday.

BaseDT deletes what lies where it writes, cannot be repeated, and calls old results good. Of all it has, only the check
of a finished folder is used here. `tests/data/test_prepare.py` and `test_bad_trees.py` have the rest: places that are
refused, rounding, odd names, files that are no photos.
"""

import contextlib
import hashlib
import io
import random

import BaseDT.dataset
import numpy as np
import pytest

from helpers.odd_photos import textured

FILES = sorted(f'{name}/{number}.png' for name in ('daisy', 'rose') for number in range(5))


def snapshot(folder):
    files = [path for path in folder.rglob('*') if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def source(tmp_path):
    """The layout BaseDT wants: ``images/<class>/`` and ``classes.txt``."""
    for number, name in enumerate(FILES):
        path = tmp_path / 'source/images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        textured(number).save(path)
    (tmp_path / 'source/classes.txt').write_text('daisy\nrose\n')
    return tmp_path / 'source'


@pytest.fixture(autouse=True)
def only_its_check(monkeypatch):
    """BaseDT can do nothing but check a finished folder: what else of it is called ends the test."""
    methods = [name for name, value in vars(BaseDT.dataset.DataSet).items() if callable(value)]
    for name in set(methods) - {'__init__', 'check_cls'}:
        monkeypatch.setattr(BaseDT.dataset.DataSet, name, lambda *_, name=name, **__: pytest.fail(f'BaseDT {name}'))


@pytest.fixture
def prepare(tool, tmp_path, capsys):
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


def test_basedt_itself_does_delete_what_is_in_its_way(source, tmp_path, monkeypatch):
    monkeypatch.undo()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/thesis.txt').write_text('my only copy')
    with contextlib.redirect_stdout(io.StringIO()):
        BaseDT.dataset.DataSet(str(tmp_path / 'out')).make_dataset(str(source), 'IMAGENET', 0.8, 0.0, 0.2)
    assert not (tmp_path / 'out/thesis.txt').exists()


def test_a_bad_source_after_a_good_run_is_no_success(prepare, source, tmp_path):
    assert prepare(source / 'images', tmp_path / 'out')[0] == 0
    (tmp_path / 'bad/images').mkdir(parents=True)
    for arguments in ((), ('--overwrite',)):
        assert prepare(tmp_path / 'bad', tmp_path / 'out', *arguments)[0] in (2, 3)


def test_the_layout_of_basedt_itself_is_recognised(prepare, source, tmp_path):
    code, said = prepare(source, tmp_path / 'out')
    assert code == 3 and f'{source / "images"}' in said


@pytest.mark.parametrize('content', ['daisy\n', '\ufeffdaisy\nrose\n', 'tulip\nrose\ndaisy\n', ''])
def test_a_list_of_classes_beside_the_photos_is_not_believed(prepare, source, tmp_path, content):
    for place in (source, source / 'images'):
        (place / 'classes.txt').write_text(content, encoding='utf-8')
    assert prepare(source / 'images', tmp_path / 'out')[0] == 0
    assert (tmp_path / 'out/classes.txt').read_bytes() == b'daisy\nrose\n'


def test_the_state_of_random_numbers_changes_nothing(prepare, source, tmp_path):
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        assert prepare(source / 'images', tmp_path / f'out{seed}')[0] == 0
    assert snapshot(tmp_path / 'out1') == snapshot(tmp_path / 'out2')
