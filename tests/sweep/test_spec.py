"""A sweep file: what it may say, and what a mistake in it is answered with."""

import ast
import re
from pathlib import Path

import pytest

from flowercls.config.overrides import as_options
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


def test_factors_keep_their_order_and_have_readable_names(read):
    sweep = read(GOOD.replace('}', ", 'optim_wrapper.optimizer.lr': [0.01, 1e-4]}"))
    assert [[level.name for level in levels] for levels in sweep.factors] == [
        ['frozen_stages=0', 'frozen_stages=all'],
        ['lr=0.01', 'lr=0.0001'],
    ]
    assert sweep.factors[1][1].overrides == {'optim_wrapper.optimizer.lr': 1e-4}
    assert (sweep.base, sweep.seeds, sweep.overrides) == ('a.py', (0, 1), {})


def test_keys_with_one_ending_get_longer_names(read):
    text = "base = 'a.py'\ngrid = {'train_dataloader.batch_size': [1], 'val_dataloader.batch_size': [2]}\nseeds = [0]\n"
    names = [levels[0].name for levels in read(text).factors]
    assert names == ['train_dataloader.batch_size=1', 'val_dataloader.batch_size=2']


def test_named_settings_move_several_keys_as_one_factor(read):
    sweep = read(
        GOOD.replace("{'model.frozen_stages': [0, 'all']}", "{'fold': {k: {'a.b': k, 'c': -k} for k in (1, 2)}}")
    )
    (levels,) = sweep.factors
    assert [level.name for level in levels] == ['fold=1', 'fold=2']
    assert levels[1].overrides == {'a.b': 2, 'c': -2}


def test_whole_configs_are_a_factor_and_take_the_place_of_base(read):
    sweep = read("grid = {'config': ['x/a.py', 'y/b.py']}\nseeds = [3]\n")
    assert [(level.name, level.config) for level in sweep.factors[0]] == [('a', 'x/a.py'), ('b', 'y/b.py')]
    assert sweep.base is None


def test_names_are_fit_for_any_file_system(read):
    sweep = read(GOOD.replace("[0, 'all']", "['a/b:c*', (0.1, 1), None]"))
    assert [c.name for c in sweep.factors[0]] == ['frozen_stages=a-b-c', 'frozen_stages=0.1-1', 'frozen_stages=None']


def level_names(read, values, key='a'):
    return [
        level.name
        for level in read(GOOD.replace("{'model.frozen_stages': [0, 'all']}", f"{{'{key}': {values}}}")).factors[0]
    ]


def test_a_sign_belongs_to_the_value(read):
    assert level_names(read, '[-1, 1, (-1, 1), [2, -3]]') == ['a=-1', 'a=1', 'a=-1-1', 'a=2--3']


@pytest.mark.parametrize(
    'values', ["['向日葵', '郁金香']", "['a/b', 'a:b']", "['net', 'Net']", "{1: {'a.b': 1}, '/1': {'a.b': 2}}"]
)
def test_different_values_have_different_names_on_any_file_system(read, values):
    names = level_names(read, values)
    assert len({name.casefold() for name in names}) == 2
    assert all(re.fullmatch(r'a=(none|a-b|net|Net|1)~[0-9a-f]{6}', name) for name in names)


def test_the_name_of_a_value_does_not_hang_on_its_place(read):
    assert level_names(read, "['a/b', 'a:b', 'c']") == level_names(read, "['c', 'a:b', 'a/b']")[::-1]


def test_configs_of_one_name_are_told_apart_by_their_folders(read):
    text = "grid = {'config': ['x/net.py', 'y/net.py', 'z/other.py', 'v/x/net.py']}\nseeds = [0]\n"
    names = [level.name for level in read(text).factors[0]]
    assert names[1:3] == ['y-net', 'other'] and len(set(names)) == 4
    assert names[0].startswith('x-net~') and names[3].startswith('x-net~')


def test_a_sweep_may_inherit_another(read, tmp_path):
    (tmp_path / 'first.py').write_text(GOOD)
    sweep = read("_base_ = ['first.py']\nseeds = [7]\noverrides = {'train_cfg.max_epochs': 3}\n")
    assert (sweep.base, sweep.seeds, sweep.overrides) == ('a.py', (7,), {'train_cfg.max_epochs': 3})


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


def test_options_come_back_as_they_were():
    from flowercls.config import parse_overrides

    values = {'a.b': [0.08, (1, 2)], 'a.c': None, 'a.d': True, 'a.e': 1e-5, 'data_root': 'my photos/x', 'a.f': 'all'}
    assert parse_overrides(as_options(values)) == values


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.name)
def test_a_shipped_sweep_says_command_and_expectation(path):
    header = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    assert f'python tools/sweep.py configs/sweeps/{path.name}' in header and 'Expect:' in header
    assert read_spec(path).seeds


def test_a_config_is_not_taken_for_a_sweep_file_with_many_mistakes(read):
    with pytest.raises(ConfigError, match='is a config, not a sweep file') as caught:
        read("model = dict(type='A')\ntrain_cfg = dict(max_epochs=1)\n")
    assert 'is not known' not in str(caught.value)
