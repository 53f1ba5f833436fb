"""Every config of the project: loads, has a header, is not deep, and is the same after it was written down."""

import ast
import copy
from pathlib import Path

import pytest

from flowercls.config import check_components, derive_config, load_config, resolve_config

CONFIGS = Path(__file__).parent.parent / 'configs'
CLASSES = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']


def is_experiment(path):
    return path.parent == CONFIGS


def bases_of(path):
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            found = ast.literal_eval(node.value)
            return [path.parent / base for base in ([found] if isinstance(found, str) else found)]
    return []


def depth_of(path):
    return max((1 + depth_of(base) for base in bases_of(path)), default=0)


ALL = [path for path in sorted(CONFIGS.rglob('*.py')) if path.parent.name != 'sweeps']
EXPERIMENTS = [path for path in ALL if is_experiment(path)]


def named(path):
    return path.relative_to(CONFIGS).as_posix()


@pytest.fixture
def data_root(tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    (folder / 'classes.txt').write_text('\n'.join(CLASSES) + '\n', encoding='utf-8')
    for name in ('train.txt', 'val.txt', 'test.txt'):
        (folder / name).touch()
    return str(folder)


def test_there_are_experiments():
    assert len(EXPERIMENTS) >= 5


@pytest.mark.parametrize('path', ALL, ids=named)
def test_a_config_loads_and_says_what_it_is_for(path):
    load_config(path)
    assert ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))


@pytest.mark.parametrize('path', ALL, ids=named)
def test_a_config_is_at_most_two_deep(path):
    assert depth_of(path) <= 2


@pytest.mark.parametrize('path', EXPERIMENTS, ids=named)
def test_an_experiment_says_command_expectation_and_difference(path):
    header = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    assert f'python tools/train.py configs/{path.name}' in header
    assert 'Expect:' in header and 'Differs:' in header


@pytest.mark.parametrize('path', EXPERIMENTS, ids=named)
def test_an_experiment_is_complete_and_stays_the_same_when_written_down(path, data_root, tmp_path):
    cfg, notes = resolve_config(path, {'data_root': data_root})
    never_fires = [note for note in notes if 'is left out' in note] if 'report_b' in path.name else []
    assert notes == never_fires  # nothing in our own configs has to be put right; B's schedule was longer than its runs
    assert (
        cfg.data_preprocessor.num_classes == (cfg.model.head.get('num_classes') or cfg.model.backbone.num_classes) == 5
    )
    assert cfg.test_dataloader.dataset.ann_file == 'test.txt' != cfg.val_dataloader.dataset.ann_file
    again = copy.deepcopy(cfg)
    assert derive_config(again) == [] and again.to_dict() == cfg.to_dict()
    check_components(cfg)
    cfg.dump(tmp_path / 'config.py')
    assert load_config(tmp_path / 'config.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('max_epochs', [1, 2, 50])
@pytest.mark.parametrize('path', EXPERIMENTS, ids=named)
def test_an_experiment_of_any_length_has_a_schedule_of_that_length(path, data_root, max_epochs):
    cfg, _ = resolve_config(path, {'data_root': data_root, 'train_cfg.max_epochs': max_epochs})
    assert max(scheduler['end'] for scheduler in cfg.param_scheduler) == max_epochs
    assert all(scheduler.get('begin', 0) < scheduler['end'] for scheduler in cfg.param_scheduler)
