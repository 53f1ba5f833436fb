"""The sweep file: its levels and their names, and the answers to mistakes."""

import ast
import re
from pathlib import Path

import pytest

from flowercls.core.errors import ConfigError
from flowercls.sweep.spec import read_spec

SHIPPED = sorted((Path(__file__).parents[2] / 'configs' / 'sweeps').glob('*.py'))
GOOD = "base = 'a.py'\ngrid = {'model.frozen_stages': [0, 'all']}\nseeds = [0, 1]\n"


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        (tmp_path / 'my.py').write_text(text, encoding='utf-8')
        return read_spec(tmp_path / 'my.py')

    return read_text


@pytest.fixture
def factors(read):
    """Read a grid; with ``base``, unless there are whole configs."""
    return lambda grid, base="base = 'a.py'": read(f'{base}\ngrid = {grid}\nseeds = [0]\n').factors


@pytest.fixture
def names(factors):
    """Read the levels of a factor ``a``, and return their names."""
    return lambda values: [level.name for level in factors(f"{{'a': {values}}}")[0]]


def test_factors_keep_their_order_and_have_readable_names(read):
    spec = read(GOOD.replace('}', ", 'optim_wrapper.optimizer.lr': [0.01, 1e-4]}"))
    assert [[level.name for level in levels] for levels in spec.factors] == [
        ['frozen_stages=0', 'frozen_stages=all'],
        ['lr=0.01', 'lr=0.0001'],
    ]
    assert spec.factors[1][1].overrides == {'optim_wrapper.optimizer.lr': 1e-4}
    assert (spec.base, spec.seeds, spec.overrides) == ('a.py', (0, 1), {})


def test_keys_with_one_ending_get_longer_names(factors):
    first, second = factors("{'train_dataloader.batch_size': [1], 'val_dataloader.batch_size': [2]}")
    assert first[0].name == 'train_dataloader.batch_size=1' and second[0].name == 'val_dataloader.batch_size=2'


def test_named_settings_move_several_keys_as_one_factor(factors):
    (levels,) = factors("{'fold': {k: {'a.b': k, 'c': -k} for k in (1, 2)}}")
    assert [level.name for level in levels] == ['fold=1', 'fold=2']
    assert levels[1].overrides == {'a.b': 2, 'c': -2}


def test_whole_configs_are_a_factor_and_take_the_place_of_base(factors):
    (levels,) = factors("{'config': ['x/a.py', 'y/b.py']}", base='')
    assert [(level.name, level.config) for level in levels] == [('a', 'x/a.py'), ('b', 'y/b.py')]


def test_names_are_fit_for_any_file_system_and_keep_signs(names):
    assert names("['a/b:c*', (0.1, 1), None]") == ['a=a-b-c', 'a=0.1-1', 'a=None']
    assert names('[-1, 1, (-1, 1), [2, -3]]') == ['a=-1', 'a=1', 'a=-1-1', 'a=2--3']


@pytest.mark.parametrize(
    'values', ["['向日葵', '郁金香']", "['a/b', 'a:b']", "['net', 'Net']", "{1: {'a.b': 1}, '/1': {'a.b': 2}}"]
)
def test_different_values_have_different_names_on_any_file_system(names, values):
    assert len({name.casefold() for name in names(values)}) == 2
    assert all(re.fullmatch(r'a=(none|a-b|net|Net|1)~[0-9a-f]{6}', name) for name in names(values))


def test_the_name_of_a_value_does_not_depend_on_its_position(names):
    assert names("['a/b', 'a:b', 'c']") == names("['c', 'a:b', 'a/b']")[::-1]


def test_configs_of_one_name_get_the_names_of_their_folders(factors):
    (levels,) = factors("{'config': ['x/net.py', 'y/net.py', 'z/other.py', 'v/x/net.py']}", base='')
    names = [level.name for level in levels]
    assert names[1:3] == ['y-net', 'other'] and len(set(names)) == 4
    assert names[0].startswith('x-net~') and names[3].startswith('x-net~')


def test_a_sweep_may_inherit_another(read, tmp_path):
    (tmp_path / 'first.py').write_text(GOOD)
    spec = read("_base_ = ['first.py']\nseeds = [7]\noverrides = {'train_cfg.max_epochs': 3}\n")
    assert (spec.base, spec.seeds, spec.overrides) == ('a.py', (7,), {'train_cfg.max_epochs': 3})


def test_a_helper_variable_is_legal(read):
    assert len(read('stages = [0, 1]\n' + GOOD.replace("[0, 'all']", 'stages')).factors[0]) == 2


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (GOOD.replace('seeds', 'seed'), ["'seed'", "'seeds'"]),
        (GOOD.replace("{'model.frozen_stages': [0, 'all']}", '{}'), ['grid', 'lists of values']),
        (GOOD.replace("[0, 'all']", '[]'), ["grid['model.frozen_stages']", 'at least one']),
        (GOOD.replace("[0, 'all']", '3'), ["grid['model.frozen_stages']: 3"]),
        (GOOD.replace("[0, 'all']", '[0, 0]'), ['frozen_stages=0 is listed twice']),
        (GOOD.replace("[0, 'all']", '[-1, -1]'), ['frozen_stages=-1 is listed twice']),
        (GOOD.replace("'model.frozen_stages'", '1'), ['grid[1]', 'as text']),
        (GOOD.replace("0, 'all'", "'1', 'all'"), ["'1' is text", 'drop the quotes']),
        (GOOD.replace("0, 'all'", 'lambda: 0'), ['function; expected text, a number']),
        ('import torch\n' + GOOD, ["only Python's own modules", 'type=']),
        ("grid = {'config': ['x/a.py', 'y/../x/a.py']}\nseeds = [0]\n", ['a is listed twice']),
        (GOOD.replace("[0, 'all']", "{'a': 1}"), ['named settings']),
        (GOOD.replace("[0, 'all']", "['a b']"), ["'a b'", "grid['config']"]),
        (GOOD.replace("[0, 'all']", "[{'type': 'x'}]"), ["grid['config']"]),
        (GOOD.replace('[0, 1]', '[0, 0]'), ['a seed twice']),
        (GOOD.replace('[0, 1]', '[True]'), ['seeds', 'whole numbers']),
        (GOOD.replace('[0, 1]', '[2**32]'), ['seeds', '4294967295']),
        (GOOD.replace("base = 'a.py'\n", ''), ['either base or']),
        (GOOD.replace('model.frozen_stages', 'config'), ['remove base']),
        (GOOD.replace('model.frozen_stages', 'randomness.seed'), ["'randomness.seed'", '`seeds`']),
        (GOOD + "overrides = {'model.frozen_stages': 3}\n", ['is set in overrides and in']),
        (GOOD + 'overrides = [1]\n', ['overrides', 'keys with values']),
    ],
)
def test_a_mistake_is_named(read, text, words):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert all(word in str(caught.value) for word in words), caught.value


def test_all_mistakes_are_reported_at_once(read):
    with pytest.raises(ConfigError) as caught:
        read('grid = 1\nseed = [0]\n')
    assert all(word in str(caught.value) for word in ("'seed'", 'grid:', 'seeds:', 'base'))


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.name)
def test_a_shipped_sweep_says_command_and_expectation(path):
    header = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    assert f'python tools/sweep.py configs/sweeps/{path.name}' in header and 'Expect:' in header
    assert read_spec(path).seeds


def test_a_config_is_not_taken_for_a_sweep_file_with_many_mistakes(read):
    with pytest.raises(ConfigError, match='is a config, not a sweep file') as caught:
        read("model = dict(type='A')\ntrain_cfg = dict(max_epochs=1)\n")
    assert 'is not known' not in str(caught.value)
