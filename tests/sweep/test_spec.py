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
    """Read a grid; a grid of whole configs has no ``base``."""
    return lambda grid: (
        read(f'{"" if "config" in grid else GOOD.partition("grid")[0]}grid = {grid}\nseeds = [0]').factors
    )


@pytest.fixture
def names(factors):
    """Read a grid, and return the names of the levels of each factor."""
    return lambda grid: [[level.name for level in levels] for levels in factors(grid)]


def test_what_a_sweep_file_says_is_kept(read, factors):
    spec = read(GOOD.replace('}', ", 'optim_wrapper.optimizer.lr': [0.01, 1e-4]}"))
    assert spec.factors[1][1].overrides == {'optim_wrapper.optimizer.lr': 1e-4}
    assert (spec.base, spec.seeds, spec.overrides) == ('a.py', (0, 1), {})
    assert factors("{'fold': {k: {'a.b': k, 'c': -k} for k in (1, 2)}}")[0][1].overrides == {'a.b': 2, 'c': -2}
    assert [level.config for level in factors("{'config': ['x/a.py', 'y/b.py']}")[0]] == ['x/a.py', 'y/b.py']


@pytest.mark.parametrize(
    ('grid', 'expected'),
    [
        ("{'x.frozen': [0, 'all'], 'y.lr': [0.01, 1e-4]}", [['frozen=0', 'frozen=all'], ['lr=0.01', 'lr=0.0001']]),
        ("{'train.size': [1], 'val.size': [2]}", [['train.size=1'], ['val.size=2']]),  # keys with one ending
        ("{'fold': {k: {'a.b': k, 'c': -k} for k in (1, 2)}}", [['fold=1', 'fold=2']]),
        ("{'config': ['x/a.py', 'y/b.py']}", [['a', 'b']]),
        # Fit for any file system, and with the signs of numbers.
        ("{'a': ['a/b:c*', (0.1, 1), None]}", [['a=a-b-c', 'a=0.1-1', 'a=None']]),
        ("{'a': [-1, 1, (-1, 1), [2, -3]]}", [['a=-1', 'a=1', 'a=-1-1', 'a=2--3']]),
    ],
)
def test_names_are_readable_and_in_order(names, grid, expected):
    assert names(grid) == expected


@pytest.mark.parametrize(
    'values', ["['向日葵', '郁金香']", "['a/b', 'a:b']", "['net', 'Net']", "{1: {'a.b': 1}, '/1': {'a.b': 2}}"]
)
def test_different_values_have_different_names_on_any_file_system(names, values):
    (levels,) = names(f"{{'a': {values}}}")
    assert len({name.casefold() for name in levels}) == 2
    assert all(re.fullmatch(r'a=(none|a-b|net|Net|1)~[0-9a-f]{6}', name) for name in levels)


def test_the_name_of_a_value_does_not_depend_on_its_position(names):
    assert names("{'a': ['a/b', 'a:b', 'c']}")[0] == names("{'a': ['c', 'a:b', 'a/b']}")[0][::-1]


def test_configs_of_one_name_get_the_names_of_their_folders(names):
    (levels,) = names("{'config': ['x/net.py', 'y/net.py', 'z/other.py', 'v/x/net.py']}")
    assert levels[1:3] == ['y-net', 'other'] and len(set(levels)) == 4
    assert levels[0].startswith('x-net~') and levels[3].startswith('x-net~')


def test_a_sweep_may_inherit_another(read, tmp_path):
    (tmp_path / 'first.py').write_text(GOOD)
    spec = read("_base_ = ['first.py']\nseeds = [7]\noverrides = {'train_cfg.max_epochs': 3}\n")
    assert (spec.base, spec.seeds, spec.overrides) == ('a.py', (7,), {'train_cfg.max_epochs': 3})


def test_looks_are_numbers_of_seeds(read):
    assert read(GOOD).looks == ()
    assert read(f'{GOOD}looks = [2, 5, 8]\n').looks == (2, 5, 8)


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
        (GOOD + 'overrides = {1: 2}\n', ['overrides', 'the name of a key']),
        (GOOD.replace('model.frozen_stages', ''), ["grid['']", 'the name of a key']),
        *(
            (f'{GOOD}looks = {looks}\n', ['looks: ', 'ascending', 'Fix: looks = ['])
            for looks in ('3', '[]', '[1, 3]', '[3, 3]', '[5, 3]', '[3.0]', '[True, 3]', "'35'", 'list(range(2, 23))')
        ),
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
    with pytest.raises(ConfigError, match='is a config, not a sweep file.* Fix: .*train') as caught:
        read("model = dict(type='A')\ntrain_cfg = dict(max_epochs=1)\n")
    assert 'is not known' not in str(caught.value)
