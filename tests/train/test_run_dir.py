"""Where a run goes, what it resumes, and one living process per folder."""

import os
import pathlib
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from flowercls.core.errors import CheckpointError, ConfigError, DiskError, RunInUseError
from flowercls.models.checkpoint_writer import write_checkpoint
from flowercls.train import run_dir
from flowercls.train.resume import FromCheckpoint
from flowercls.train.run_dir import claim_run_dir


@pytest.fixture(autouse=True)
def in_an_empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make_run(name, *files, age=0):
    folder = Path('work_dirs') / name
    folder.mkdir(parents=True)
    (folder / 'config.py').write_text('lr = 1\n')
    for file in files:
        epoch = int(Path(file).stem.rpartition('_')[2])
        content = dict(optimizer={}, param_schedulers=[], message_hub={}, meta=dict(epoch=epoch, iter=9 * epoch))
        write_checkpoint(folder / file, content)
    os.utime(folder / 'config.py', (1000 - age, 1000 - age))
    return folder


def test_results_of_a_test_are_not_written_over(tmp_path):
    checkpoint = tmp_path / 'epoch_3.pth'
    for _ in range(2):  # the second time there is nothing in it yet
        with run_dir.results_folder(tmp_path, checkpoint) as folder:
            assert folder == tmp_path / 'test_epoch_3' and folder.is_dir()
    (tmp_path / 'test_epoch_3' / 'metrics.json').touch()
    with run_dir.results_folder(tmp_path, checkpoint) as folder:
        assert folder == tmp_path / 'test_epoch_3-2' and folder.is_dir()


@pytest.mark.parametrize(('wrote', 'stays'), [('run.log', False), ('predictions.csv', True)])
def test_a_test_that_fails_leaves_no_folder_with_nothing_but_its_log(tmp_path, wrote, stays):
    (tmp_path / 'test_mine').mkdir()
    for name, is_there in (('new', stays), ('mine', True)):  # one that was there before stays, whatever is in it
        with pytest.raises(ValueError), run_dir.results_folder(tmp_path, tmp_path / f'{name}.pth') as folder:
            (folder / wrote).touch()
            raise ValueError
        assert folder.is_dir() is is_there


def test_a_new_run_never_goes_where_one_is():
    assert run_dir.plan_run('net', None, None).folder == Path('work_dirs/net')
    make_run('net')
    assert run_dir.plan_run('net', None, None).folder == Path('work_dirs/net-2')
    make_run('net-2')
    plan = run_dir.plan_run('net', None, None)
    assert plan.folder == Path('work_dirs/net-3') and 'net-3' in plan.announcement
    Path('work_dirs/net-3').mkdir()  # nothing in it yet: another start has just taken it
    assert run_dir.plan_run('net', None, None).folder == Path('work_dirs/net-4')


def test_an_explicit_folder_that_holds_a_run_is_refused():
    folder = make_run('mine')
    with pytest.raises(ConfigError, match='holds a run'):
        run_dir.plan_run('net', folder, None)
    assert run_dir.plan_run('net', 'free', None).folder == Path('free')


@pytest.mark.parametrize(
    ('runs', 'folder', 'checkpoint', 'words'),
    [
        ({}, 'net', None, 'no run to resume'),
        ({'net': []}, 'net', None, 'from the beginning'),  # it finished no epoch
        ({'net': ['epoch_9.pth'], 'net-2': ['epoch_2.pth', 'epoch_10.pth', 'best_accuracy_top1_epoch_2.pth']},
         'net-2', 'epoch_10.pth', 'resumed from epoch_10.pth'),
        ({'net': ['epoch_1.pth'], 'net-other': ['epoch_30.pth']}, 'net', 'epoch_1.pth', 'resumed from epoch_1.pth'),
    ],
)  # fmt: skip
def test_resume_takes_the_newest_run_and_its_newest_checkpoint(runs, folder, checkpoint, words):
    for age, name in enumerate(reversed(runs)):
        make_run(name, *runs[name], age=age)
    plan = run_dir.plan_run('net', None, 'auto')
    assert plan.folder == Path('work_dirs') / folder and words in plan.announcement
    assert plan.checkpoint == (plan.folder / checkpoint if checkpoint else None)


def test_resume_from_a_named_checkpoint_goes_on_in_its_folder():
    folder = make_run('net', 'epoch_1.pth', 'epoch_2.pth', 'best_accuracy_top1_epoch_2.pth')
    for name in ('epoch_2.pth', 'best_accuracy_top1_epoch_2.pth'):
        plan = run_dir.plan_run('other', None, str(folder / name))
        assert (plan.folder, plan.checkpoint) == (folder, folder / name)
    elsewhere = run_dir.plan_run('other', 'new', str(folder / 'epoch_1.pth'))
    assert (elsewhere.folder, elsewhere.checkpoint) == (Path('new'), folder / 'epoch_1.pth')
    with pytest.raises(ConfigError, match='work_dirs/net holds epoch_2.pth; going on from here would write over it'):
        run_dir.plan_run('other', None, str(folder / 'epoch_1.pth'))
    with pytest.raises(CheckpointError, match=r'epoch_3.pth: no such checkpoint; .* has .*epoch_1.pth, epoch_2.pth'):
        run_dir.plan_run('net', None, str(folder / 'epoch_3.pth'))
    with pytest.raises(CheckpointError, match=r'work_dirs/net: is a folder; work_dirs/net has .*epoch_1.pth'):
        run_dir.plan_run('net', None, str(folder))


def test_a_run_folders_own_config_takes_the_folders_name():
    assert run_dir.stem_of('configs/resnet50_flower.py') == 'resnet50_flower'
    assert run_dir.stem_of('work_dirs/resnet50_flower-2/config.py') == 'resnet50_flower-2'


def test_a_folder_that_cannot_be_made_is_a_mistake_of_the_command_line():
    Path('taken').touch()
    with pytest.raises(ConfigError, match='folder taken/run: cannot be made'):
        run_dir.make_folder(Path('taken/run'))


def test_only_who_made_a_folder_is_told_so():
    assert [run_dir.make_folder(Path('a/b')) for _ in range(2)] == [True, False]


def test_written_config_names_no_folder_and_keeps_its_source():
    Path('net.py').write_text('# why\nlr = 1\n')
    Path('run').mkdir()
    cfg = Config(dict(lr=1, work_dir='somewhere', launcher='none', experiment_name='x_1'))
    run_dir.write_config(Path('run'), cfg, 'net.py')
    assert Config.fromfile('run/config.py').to_dict() == {'lr': 1}
    assert Path('run/source_net.py').read_text() == '# why\nlr = 1\n'


def test_signs_that_stand_for_other_letters_elsewhere_are_letters_here():
    for age, name in enumerate(('net1-3', 'net[1]-2', 'net[1]')):
        make_run(name, age=age)
    assert run_dir.run_to_resume('net[1]') == Path('work_dirs/net[1]-2')


HOLDER = """
import fcntl, sys
with open(sys.argv[1], 'a+') as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print('process 77', file=file, flush=True)
    print('ready', flush=True)
    sys.stdin.read()
"""
RESUMABLE = {
    'meta': {'epoch': 2, 'iter': 12},
    'state_dict': {},
    'optimizer': {},
    'param_schedulers': [],
    'message_hub': {},
}


def test_two_starts_of_one_config_take_two_folders():
    with claim_run_dir('net', None, None) as one, claim_run_dir('net', None, None) as two:
        assert [one.folder, two.folder] == [Path('work_dirs/net'), Path('work_dirs/net-2')]


def test_a_folder_that_another_start_takes_meanwhile_is_left_to_it(monkeypatch):
    make_folder = run_dir.make_folder

    def slower(folder):
        if folder.name == 'net':
            folder.mkdir(parents=True)
        return make_folder(folder)

    monkeypatch.setattr(run_dir, 'make_folder', slower)
    with claim_run_dir('net', None, None) as plan:
        assert plan.folder == Path('work_dirs/net-2') and 'net-2' in plan.announcement
    assert Path('work_dirs/net').is_dir()


def test_a_run_in_which_a_process_works_is_refused_until_that_has_ended():
    pytest.importorskip('fcntl')
    folder = make_run('net')
    arguments = [sys.executable, '-c', HOLDER, folder / '.lock']
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b'ready\n'
        with pytest.raises(RunInUseError, match='work_dirs/net: process 77 is working') as caught:
            claim_run_dir('net', None, 'auto').__enter__()
        assert caught.value.exit_code == 8
        holder.kill()  # without a chance to clean up
    with claim_run_dir('net', None, 'auto') as plan:
        assert plan.folder == folder


def test_a_folder_made_for_a_run_that_never_began_goes_again():
    with pytest.raises(ValueError), claim_run_dir('net', None, None) as plan:
        (plan.folder / 'run.log').touch()
        raise ValueError
    assert not plan.folder.exists()
    with pytest.raises(ValueError), claim_run_dir('net', None, None) as plan:
        (plan.folder / 'config.py').touch()
        raise ValueError
    assert plan.folder.is_dir()
    Path('mine').mkdir()
    with pytest.raises(ValueError), claim_run_dir('net', 'mine', None):
        raise ValueError
    assert Path('mine').is_dir()


def test_a_start_that_is_refused_leaves_the_folder_to_the_one_that_works_in_it(monkeypatch):
    pytest.importorskip('fcntl')
    folder, make_folder = Path('mine'), run_dir.make_folder
    arguments = [sys.executable, '-c', HOLDER, folder / '.lock']
    started = []

    def and_another_is_faster(path):
        made = make_folder(path)
        started.append(subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert started[0].stdout.readline() == b'ready\n'
        return made

    monkeypatch.setattr(run_dir, 'make_folder', and_another_is_faster)
    with pytest.raises(RunInUseError):
        claim_run_dir('net', 'mine', None).__enter__()
    assert (folder / '.lock').is_file()
    with started[0] as holder:
        holder.kill()


def test_a_folder_that_may_not_be_written_to_is_an_error_of_the_disk(monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(pathlib.Path, 'open', refuse)
    with pytest.raises(DiskError, match='work_dirs/net: may not be written'):
        claim_run_dir('net', None, None).__enter__()
    assert not Path('work_dirs/net').exists()
    Path('mine').mkdir()
    with pytest.raises(DiskError):
        claim_run_dir('net', 'mine', None).__enter__()
    assert Path('mine').is_dir()


def test_an_error_inside_is_not_taken_for_one_of_the_folder():
    with pytest.raises(PermissionError), claim_run_dir('net', None, None):
        raise PermissionError(13, 'Permission denied', '/photos')


def test_what_a_killed_process_left_of_a_checkpoint_goes():
    pytest.importorskip('fcntl')
    folder = make_run('net')
    left = [
        '.epoch_3.pth.71.tmp',
        '.epoch_3.pth.json.71.tmp',
        '.best_accuracy_top1_epoch_3.pth.71.tmp',
        '.iter_7.pth.71.tmp',
        '.last_checkpoint.71.tmp',
        '.predictions_val.csv.71.tmp',
        '.confusion.png.71.tmp',
        '.source_net.py.71.tmp',
    ]
    kept = ['notes.txt', '.notes.71.tmp', '.epoch_3.pth.tmp']
    for name in left + kept:
        (folder / name).touch()
    with claim_run_dir('net', None, 'auto'):
        assert {path.name for path in folder.iterdir()} == {'config.py', '.lock', *kept}


def test_what_another_process_saves_before_the_lock_is_held_is_seen(monkeypatch):
    folder, make_folder = make_run('net'), run_dir.make_folder

    def lose_time(path):
        write_checkpoint(folder / 'epoch_2.pth', RESUMABLE)
        return make_folder(path)

    monkeypatch.setattr(run_dir, 'make_folder', lose_time)
    with claim_run_dir('net', None, 'auto') as plan:
        assert plan.checkpoint == folder / 'epoch_2.pth'


def test_each_start_adds_its_command_as_typed():
    Path('net.py').touch()
    new = run_dir.RunPlan(run_dir.WORK_DIRS, None, '')
    resumed = run_dir.RunPlan(run_dir.WORK_DIRS, FromCheckpoint(run_dir.WORK_DIRS / 'epoch_1.pth'), '')
    run_dir.WORK_DIRS.mkdir()
    for plan, command in ((new, 'train net.py'), (resumed, "train 'a b.py' --resume"), (resumed, None)):
        run_dir.begin_run(plan, Config(dict(lr=1)), 'net.py', command=command)
    assert (run_dir.WORK_DIRS / 'command.txt').read_text() == "train net.py\ntrain 'a b.py' --resume\n"
