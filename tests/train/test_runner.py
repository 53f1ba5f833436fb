"""The Runner: mistakes of a config are named, photos are read from the cache, threads are counted."""

import gc
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from flowercls.config.diff import check_unchanged
from flowercls.core import workers
from flowercls.core.errors import ConfigError
from flowercls.core.terminal import as_size
from flowercls.data.array_store import ArrayStore
from flowercls.evaluate import metrics
from flowercls.models.classifier import StagedClassifier
from flowercls.train import runner as runner_module
from flowercls.train.resume import RandomInit
from flowercls.train.run_dir import write_config
from flowercls.train.runner import config_error_for, use_photo_cache


def test_what_another_library_refuses_names_the_section_and_the_remedy():
    with (
        pytest.raises(ConfigError, match=r'model.head: cannot be built .* Fix: other channels\.'),
        config_error_for('model.head', fix='other channels'),
    ):
        nn.Conv2d(3, 4, 1, groups=2)


def test_only_named_errors_are_refusals():
    with pytest.raises(RuntimeError, match='shapes'), config_error_for('model'):
        raise RuntimeError('shapes')


def test_an_error_in_a_line_of_ours_is_a_bug():
    with pytest.raises(AttributeError), config_error_for('model'):
        metrics.expected_calibration_error(None, None)


@pytest.fixture
def start(build, tmp_path):
    """Build a runner with a cache of its own."""
    return lambda extra='', **options: build(f"cache_dir = '{tmp_path / 'cache'}'\n{extra}", **options)


@pytest.fixture(scope='module')
def pixels(drawn_root):
    """Bytes of the folder's photos, decoded."""
    images = json.loads((drawn_root / 'manifest.json').read_text(encoding='utf-8'))['images']
    return sum(3 * image['size'][0] * image['size'][1] for image in images)


def stores(tmp_path):
    return [path.name for path in (tmp_path / 'cache').glob('photos-*') if path.is_dir()]


def test_a_run_makes_the_cache_and_the_next_one_takes_it(start, pixels, tmp_path, capsys):
    runner = start()
    use_photo_cache(runner)
    (name,) = stores(tmp_path)
    assert name.startswith('photos-256px-')
    assert 'photos-256px' not in runner.cfg.pretty_text  # it is not written down
    said = capsys.readouterr().out.splitlines()
    size = as_size(ArrayStore(tmp_path / 'cache').size_of(name))
    assert said == [
        f'photo cache: decoding 60 photos once, to {as_size(pixels)}',
        f'photo cache: 60 photos, {size}, {tmp_path}/cache/{name}',
    ]
    given = dict(folder=f'{tmp_path}/cache', key=name)
    for loader in (runner.train_dataloader, runner.val_dataloader, runner.test_dataloader):
        assert (loader.dataset._cached.folder, loader.dataset._cached.key) == tuple(given.values())
        assert loader.dataset[0]['inputs'].shape == (3, 64, 64)
        assert len(loader.dataset._cached._arrays['pixels']) == pixels

    use_photo_cache(start())
    assert capsys.readouterr().out == f'photo cache: 60 photos, {size}, {tmp_path}/cache/{name}, decoded before\n'


@pytest.mark.parametrize(
    ('cores', 'on_gpu', 'extra', 'expected'),
    [
        (3, False, '', (1, 1)),
        (12, False, '', (3, 1)),
        (12, True, '', (8, 1)),
        (12, False, "photo_cache = dict(budget='0.1MB')", (8, 1)),
        (12, False, 'photo_cache = None', (8, 1)),
    ],
    ids=['never none', 'one for four cores', 'a GPU computes', 'files are decoded in every epoch', 'and by choice'],
)
def test_workers_that_draw_from_the_cache_leave_a_cpu_to_the_network(
    cores, on_gpu, extra, expected, start, monkeypatch
):
    for module in ('train.runner', 'config.resolve'):
        monkeypatch.setattr(f'flowercls.{module}.usable_cpus', lambda: cores)
    runner = start(f'train_dataloader = dict(num_workers=8)\nval_dataloader = dict(num_workers=1)\n{extra}\n')
    monkeypatch.setattr('torch.cuda.is_available', lambda: on_gpu)
    use_photo_cache(runner)
    monkeypatch.undo()
    assert (runner.train_dataloader.num_workers, runner.val_dataloader.num_workers) == expected
    assert runner.cfg.train_dataloader.num_workers == min(8, cores)  # as the config says it


@pytest.mark.parametrize(
    ('extra', 'said'),
    [
        (
            "photo_cache = dict(budget='0.1MB')",
            'above photo_cache.budget (0.10 MB)',
        ),
        ('photo_cache = None', ''),
        (
            "train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage'), dict(type='TorchvisionTransforms', "
            "transforms=[dict(type='RandomCrop', size=32)]), dict(type='PackInputs')]))",
            'before it crops',
        ),
    ],
    ids=['above the budget', 'switched off', 'no resizing'],
)
def test_photos_are_read_from_files_where_there_is_no_cache(start, tmp_path, capsys, extra, said):
    runner = start(extra)
    use_photo_cache(runner)
    out = capsys.readouterr().out
    assert said in out if said else out == ''
    assert stores(tmp_path) == []
    dataset = runner.train_dataloader.dataset
    assert dataset[0]['inputs'].shape[0] == 3
    # How much room there is changes no pixel: what the store would have is made of the file.
    assert (dataset._cached.size if dataset._cached else None) == (256 if 'budget' in extra else None)


def test_a_folder_by_hand_has_no_cache_and_nothing_is_said(start, drawn_root, tmp_path, capsys):
    by_hand = shutil.copytree(drawn_root, tmp_path / 'by_hand')
    (by_hand / 'manifest.json').unlink()
    use_photo_cache(start(data_root=by_hand))
    assert capsys.readouterr().out == '' and stores(tmp_path) == []


def test_a_cache_that_cannot_be_written_ends_no_run(start, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda path: shutil._ntuple_diskusage(10, 10, 0))
    runner = start()
    use_photo_cache(runner)
    out = capsys.readouterr().out
    assert 'the disk is full' in out and 'photos are read from their files' in out
    assert stores(tmp_path) == []
    runner.train_dataloader.dataset[0]


def test_where_the_cache_lies_and_how_large_it_may_be_do_not_hinder_a_resume(start, tmp_path):
    before = start().cfg
    run = tmp_path / 'before'
    run.mkdir()
    write_config(run, before, tmp_path / 'tiny_flower.py')
    check_unchanged(run, start("cache_dir = 'elsewhere'\nphoto_cache = dict(budget=5)").cfg)
    with pytest.raises(ConfigError, match='photo_cache'):
        check_unchanged(run, start('photo_cache = None').cfg)


@pytest.mark.slow  # two trainings and a test
def test_a_training_draws_from_the_cache_and_a_dry_run_leaves_none(tool, write_config, tmp_path, capsys):
    config = write_config(tmp_path, f"cache_dir = '{tmp_path / 'cache'}'\ntrain_cfg = dict(max_epochs=1)\n")
    assert tool('train', config, '--dry-run') == 0
    assert not (tmp_path / 'cache').exists()
    assert tool('train', config, '--work-dir', tmp_path / 'stored') == 0
    checkpoint = tmp_path / 'stored' / 'best_accuracy_top1_epoch_1.pth'
    assert tool('test', config, checkpoint) == 0
    out = capsys.readouterr().out
    assert out.count('photo cache: decoding') == 1 and out.count('decoded before') == 1
    assert 'photos-256px' not in (tmp_path / 'stored' / 'config.py').read_text()

    # The flowers are smaller than the store's size, so the same run without it has the same figures.
    assert tool('train', config, '--work-dir', tmp_path / 'files', '--cfg-options', 'photo_cache=None') == 0
    assert 'photo cache' not in capsys.readouterr().out
    files = [Path(tmp_path, run, 'metrics.json').read_text(encoding='utf-8') for run in ('stored', 'files')]
    stored, from_files = map(json.loads, files)
    assert stored == from_files


def test_a_training_loop_of_the_user_extends_ours(write_config, tmp_path, tool, monkeypatch, capsys):
    (tmp_path / 'my_loops.py').write_text(
        'from mmpretrain.registry import LOOPS\n'
        'from flowercls.train.loop import ResumableTrainLoop\n\n\n'
        '@LOOPS.register_module()\n'
        'class MyLoop(ResumableTrainLoop):\n'
        '    def __init__(self, word, **kwargs):\n'
        '        super().__init__(**kwargs)\n'
        '        print(word)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "train_cfg = dict(_delete_=True, type='MyLoop', max_epochs=1, word='mine')\n"
    config = write_config(tmp_path, f"{text}custom_imports = dict(imports=['my_loops'])\n")
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 0
    assert 'mine' in capsys.readouterr().out and (tmp_path / 'run' / 'metrics.json').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'type': 'IterBasedTrainLoop'}, "'IterBasedTrainLoop'.*ResumableTrainLoop"),
        ({'dynamic_intervals': 'x'}, 'train_cfg: cannot be built'),
    ],
)
def test_a_training_loop_that_does_not_fit_is_refused(build, options, message):
    runner = build()
    runner._train_loop.update(options)
    with pytest.raises(ConfigError, match=message):
        runner.prepare(RandomInit())


def test_an_epoch_without_a_batch_is_refused(build):
    runner = build(overrides=['train_dataloader.batch_size=46', 'train_dataloader.drop_last=True'])
    with pytest.raises(ConfigError, match='45 photos do not fill a batch of 46'):
        runner.prepare(RandomInit())


def test_models_of_earlier_runs_are_freed(write_config, tool, tmp_path):
    config = write_config(tmp_path, 'train_cfg.update(max_epochs=1)\n')
    models = []
    for number in range(4):
        trained = ['--dry-run'] if number % 3 else ['--work-dir', tmp_path / f'run{number}']
        assert tool('train', config, *trained) == 0
        models.append(sum(type(thing) is StagedClassifier for thing in gc.get_objects()))
    assert models[3] <= models[1]


@pytest.mark.parametrize(
    ('variable', 'world_size', 'expected'),
    [(None, 1, 6), ('2', 1, 2), ('1', 1, 1), ('1', 2, 3), ('2', 2, 2), ('4,2', 1, 4), ('many', 1, 6)],
)
def test_the_user_chooses_the_threads_else_processes_share_the_cores(monkeypatch, variable, world_size, expected):
    numbers = []
    monkeypatch.setattr(torch, 'set_num_threads', numbers.append)
    monkeypatch.setattr(workers, 'usable_cpus', lambda: 6)
    monkeypatch.setattr(runner_module, 'get_world_size', lambda: world_size)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if variable is not None:
        monkeypatch.setenv('OMP_NUM_THREADS', variable)
    runner_module.set_num_threads()
    assert numbers == [expected]
