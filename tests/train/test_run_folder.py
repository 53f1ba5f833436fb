import os
from pathlib import Path

import pytest
from mmengine.config import Config

from flowercls.config import diff
from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.train import run_dir
from flowercls.train.checkpoint import write_checkpoint


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


def test_resume_takes_the_newest_run_and_its_newest_checkpoint():
    make_run('net', 'epoch_9.pth', age=50)
    make_run('net-2', 'epoch_2.pth', 'epoch_10.pth', 'best_accuracy_top1_epoch_2.pth', age=10)
    make_run('net-other', 'epoch_30.pth', age=0)
    plan = run_dir.plan_run('net', None, 'auto')
    assert (plan.folder, plan.checkpoint) == (Path('work_dirs/net-2'), Path('work_dirs/net-2/epoch_10.pth'))


def test_resume_with_nothing_there_says_so_and_starts():
    plan = run_dir.plan_run('net', None, 'auto')
    assert (plan.folder, plan.checkpoint) == (Path('work_dirs/net'), None)
    assert 'no run to resume' in plan.announcement


def test_resume_of_a_run_that_finished_no_epoch_begins_it_again():
    folder = make_run('net')
    plan = run_dir.plan_run('net', None, 'auto')
    assert (plan.folder, plan.checkpoint) == (folder, None) and 'from the beginning' in plan.announcement


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


def test_checkpoints_without_their_config_cannot_be_compared():
    Path('some').mkdir()
    with pytest.raises(ConfigError, match='config.py is missing.*--allow-config-change'):
        diff.check_unchanged(Path('some'), Config(dict(lr=1)))


def test_written_config_names_no_folder_and_keeps_its_source():
    Path('net.py').write_text('# why\nlr = 1\n')
    Path('run').mkdir()
    cfg = Config(dict(lr=1, work_dir='somewhere', launcher='none', experiment_name='x_1'))
    run_dir.write_config(Path('run'), cfg, 'net.py')
    assert Config.fromfile('run/config.py').to_dict() == {'lr': 1}
    assert Path('run/source_net.py').read_text() == '# why\nlr = 1\n'


def test_a_changed_config_is_named_key_by_key():
    (folder := Path('run')).mkdir()
    before = Config(dict(optim=dict(lr=0.1), train_dataloader=dict(num_workers=2), steps=[1, 2]))
    Path('net.py').touch()
    run_dir.write_config(folder, before, 'net.py')
    diff.check_unchanged(folder, before)
    harmless = Config(dict(optim=dict(lr=0.1), train_dataloader=dict(num_workers=8), steps=[1, 2], work_dir='x'))
    diff.check_unchanged(folder, harmless)
    now = Config(dict(optim=dict(lr=0.2), train_dataloader=dict(num_workers=2), steps=[1], new=True))
    with pytest.raises(ConfigError) as caught:
        diff.check_unchanged(folder, now)
    said = str(caught.value)
    assert 'optim.lr: 0.1 -> 0.2' in said and 'steps: [1, 2] -> [1]' in said and 'new: not set -> True' in said
    assert 'num_workers' not in said


def test_photos_may_lie_elsewhere_if_they_are_the_same():
    def config(root, manifest):
        return Config(dict(data_root=root, data_manifest=manifest, val_dataloader=dict(dataset=dict(data_root=root))))

    (folder := Path('run')).mkdir()
    Path('net.py').touch()
    run_dir.write_config(folder, config('data/flower', 'abc'), 'net.py')
    diff.check_unchanged(folder, config('/moved/flower', 'abc'))
    for manifest in ('other', None):
        with pytest.raises(ConfigError) as caught:
            diff.check_unchanged(folder, config('/moved/flower', manifest))
        assert "  data_root: 'data/flower' -> '/moved/flower'" in str(caught.value)
        assert 'val_dataloader.dataset.data_root' in str(caught.value) and 'data_manifest' in str(caught.value)
    run_dir.write_config(folder, config('data/flower', None), 'net.py')  # a folder without a manifest: who knows
    with pytest.raises(ConfigError, match='data_root'):
        diff.check_unchanged(folder, config('/moved/flower', None))


def test_signs_that_stand_for_other_letters_elsewhere_are_letters_here():
    for age, name in enumerate(('net1-3', 'net[1]-2', 'net[1]')):
        make_run(name, age=age)
    assert run_dir.run_to_resume('net[1]') == Path('work_dirs/net[1]-2')
