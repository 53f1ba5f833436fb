"""Where a prepared folder grows: cleared up after a kill, and published without taking anyone's place."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowercls.core.errors import ConfigError
from flowercls.data.prepare import staging

posix = pytest.mark.skipif(os.name != 'posix', reason='locks as on POSIX')


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


@pytest.fixture
def killed(out):
    """The staging folder of a process that was killed while it copied photos."""
    script = (
        'import os, pathlib, sys\n'
        'from flowercls.data.prepare.staging import staging_folder\n'
        'with staging_folder(pathlib.Path(sys.argv[1])) as folder:\n'
        '    (folder / "training_set/rose").mkdir(parents=True)\n'
        '    (folder / ".classes.txt.7.tmp").write_text("ro")\n'
        '    os.kill(os.getpid(), 9)\n'
    )
    assert subprocess.run([sys.executable, '-c', script, out]).returncode == -signal.SIGKILL
    (folder,) = out.parent.glob('.out.preparing-*')
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@posix
def test_what_a_killed_run_left_is_removed_and_named(out, killed):
    (said,) = staging.clear_leftovers(out)
    assert said == f'{killed}: left by a killed run; removed'
    assert names(out.parent) == []


@posix
def test_the_folder_of_a_living_run_is_left_alone(out):
    with staging.staging_folder(out) as folder:
        (said,) = staging.clear_leftovers(out)
        assert folder.is_dir() and said.startswith(f'{folder}: in use by another run')


@posix
@pytest.mark.parametrize('name', ['thesis.txt', '.git', 'training_set.old'])
def test_a_folder_that_holds_anything_else_is_left_alone(out, killed, name):
    (killed / name).write_text('my only copy')
    (said,) = staging.clear_leftovers(out)
    assert 'left alone' in said and (killed / name).is_file() and (killed / 'training_set/rose').is_dir()


@posix
def test_only_folders_of_exactly_this_name_are_looked_at(out, killed):
    for name in ('.out.preparing-1x', '.out.preparing-', 'out.preparing-1', '.outer.preparing-1', '.oXt.preparing-1'):
        killed.with_name(name).mkdir()
        (killed.with_name(name) / staging.MARKER).touch()
    killed.with_name('.out.preparing-2').symlink_to(killed, target_is_directory=True)
    before = set(names(out.parent))
    assert len(staging.clear_leftovers(out)) == 1
    assert before - set(names(out.parent)) == {killed.name}


def test_a_folder_without_a_marker_is_left_alone(out):
    out.with_name('.out.preparing-1').mkdir()
    (said,) = staging.clear_leftovers(out)
    assert 'left alone' in said and names(out.parent) == ['.out.preparing-1']


def staged(folder, manifest):
    folder.mkdir()
    (folder / 'manifest.json').write_text(manifest)
    return folder


def test_a_folder_that_appeared_meanwhile_is_not_moved_aside(out, tmp_path):
    new = staged(tmp_path / 'new', 'mine')
    staged(out, 'of someone else')
    with pytest.raises(ConfigError, match='is there already'):
        staging.publish(new, out, overwrite=False)
    assert (out / 'manifest.json').read_text() == 'of someone else' and names(tmp_path) == ['new', 'out']


def test_the_same_folder_that_appeared_meanwhile_is_taken(out, tmp_path):
    new = staged(tmp_path / 'new', 'the same')
    inode = staged(out, 'the same').stat().st_ino
    assert staging.publish(new, out, overwrite=False) is None
    assert names(tmp_path) == ['out'] and out.stat().st_ino == inode


def test_an_interrupt_between_the_two_renames_brings_the_old_folder_back(out, tmp_path, monkeypatch):
    new, real = staged(tmp_path / 'new', 'new'), Path.rename
    staged(out, 'old')

    def rename(self, target):
        real(self, target)
        if '.bak-' in Path(target).name:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'rename', rename)
    with pytest.raises(KeyboardInterrupt):
        staging.publish(new, out, overwrite=True)
    assert (out / 'manifest.json').read_text() == 'old' and names(tmp_path) == ['new', 'out']
