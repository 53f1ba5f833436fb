"""Rooms import only what DESIGN's table allows, stay small, and no two modules are called the same."""

import ast
import tomllib
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'flowercls'
# DESIGN's table: a room imports only from these.
MAY_IMPORT = {
    'core': set(),
    'config': {'core'},
    'data': {'core'},
    'models': {'core'},
    'features': {'core', 'data', 'models'},
    'evaluate': {'core'},
    'train': {'core', 'config', 'data', 'models', 'features', 'evaluate'},
    'use': {'core', 'config', 'data', 'models', 'evaluate', 'registration'},
    'sweep': {'core', 'config', 'evaluate', 'train'},
    'compare': {'core', 'config', 'evaluate', 'sweep.ledger'},
    'report': {'core', 'config', 'evaluate', 'sweep.ledger', 'compare'},
}
MAY_IMPORT |= dict.fromkeys(('commands', 'registration'), {*MAY_IMPORT, 'registration'})
MAY_IMPORT['__init__'] = {'use'}  # lazily, `load`
DOORS = {'BaseDT': 'data/prepare/', 'matplotlib': 'report/', 'jinja2': 'report/page'}


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path.name}: write absolute imports'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('path', sorted(PACKAGE.rglob('*.py')), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_what_the_table_allows(path):
    inside = path.relative_to(PACKAGE).as_posix()
    room = inside.split('/')[0].removesuffix('.py')
    for name in imported_names(path):
        top, *rest = name.split('.')
        if top == 'flowercls' and rest and rest[0] not in (room, '__version__'):
            allowed = {rest[0], '.'.join(rest[:2])} & MAY_IMPORT[room]
            assert allowed, f'{inside}: {room} may not import {name}'
        if top in DOORS:
            assert inside.startswith(DOORS[top]), f'{inside}: import {top} only in {DOORS[top]}'


MAX_ENTRIES = 12
MAX_COMMANDS = 16  # the list of files is the command's help
TOO_LARGE = set()  # rooms above the limit for now; to be empty


def entries_of(folder):
    """The .py files and sub-packages of a folder."""
    return [path for path in folder.iterdir() if path.suffix == '.py' or (path / '__init__.py').is_file()]


def test_a_room_has_few_entries():
    sizes = {path.parent.relative_to(PACKAGE).as_posix(): len(entries_of(path.parent))
             for path in PACKAGE.rglob('*/__init__.py')}  # fmt: skip
    large = {room for room, size in sizes.items() if size > (MAX_COMMANDS if room == 'commands' else MAX_ENTRIES)}
    assert large == TOO_LARGE, 'split or merge files; a room that is small now leaves the list TOO_LARGE'


def test_no_two_modules_have_the_same_last_name():
    """Except a verb, ``commands/<verb>.py``, and the file or room that does its work."""
    modules = [path.parent if path.name == '__init__.py' else path for path in PACKAGE.rglob('*.py')]
    assert [name for name, n in Counter(path.stem for path in modules if path.parent.name != 'commands').items()
            if n > 1] == []  # fmt: skip


def test_a_wheel_holds_every_room():
    project = tomllib.loads((PACKAGE.parent / 'pyproject.toml').read_text(encoding='utf-8'))
    rooms = {'.'.join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob('__init__.py')}
    assert set(project['tool']['setuptools']['packages']) == rooms | {'flowercls.configs'}


def test_one_file_reads_checkpoints_and_one_writes_them():
    callers = {'torch.load': set(), 'torch.save': set()}
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in callers:
                callers[ast.unparse(node.func)].add(path.relative_to(PACKAGE).as_posix())
    assert callers == {'torch.load': {'models/checkpoint_reader.py'}, 'torch.save': {'models/checkpoint_writer.py'}}


# Calls that run code from a file, or follow what it says out of a folder.
FORBIDDEN = {
    *('eval', 'exec', 'compile', 'os.system', 'os.popen', 'shutil.unpack_archive', 'Config.fromstring', 'yaml.load'),
    *('mmengine.load', 'fileio.load', 'joblib.load', 'load_state_dict_from_url', 'load_url'),
}
FORBIDDEN_METHODS = ('.extractall', '.extract', '.unsafe_load', '.full_load')
PICKLES = ('pickle', 'cloudpickle', 'dill', 'shelve', 'marshal')
MUST_NOT_BE_TRUE = ('allow_pickle', 'shell')


def dangers_in(text):
    """Every call in a module that may run code of somebody else."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {pair.arg: pair.value for pair in node.keywords}
        for key in MUST_NOT_BE_TRUE:
            if key in given and not (isinstance(given[key], ast.Constant) and given[key].value is False):
                yield f'{name}({key}=...)'
        if name == 'torch.load' and ast.unparse(given.get('weights_only', ast.Name('nothing'))) != 'True':
            yield 'torch.load without weights_only=True'
        if name == 'Config.fromfile' and 'import_custom_modules' not in given:
            yield name
        if name in FORBIDDEN or name.endswith(FORBIDDEN_METHODS) or name.partition('.')[0] in PICKLES:
            yield name


@pytest.mark.parametrize(
    'code',
    [
        *('eval(x)', 'os.system(x)', 'pickle.load(f)', 'torch.load(f)', 'torch.load(f, weights_only=flag)'),
        *('tar.extractall(x)', 'np.load(f, allow_pickle=True)', 'run(x, shell=True)', 'yaml.load(f)', 'exec(x)'),
        *('mmengine.load(f)', 'Config.fromstring(x)', 'torch.load(f, weights_only=False)'),
    ],
)
def test_a_danger_is_seen(code):
    assert list(dangers_in(code))


def test_no_code_is_run_or_unpickled_from_files():
    paths = [*PACKAGE.rglob('*.py'), *(PACKAGE.parent / 'tools').glob('*.py')]
    found = {(path.name, danger) for path in paths for danger in dangers_in(path.read_text(encoding='utf-8'))}
    # Behind `--trust-checkpoint` alone.
    assert found == {('checkpoint_reader.py', 'torch.load without weights_only=True')}


def test_a_checkpoint_is_trusted_in_one_place_and_on_request():
    tree = ast.parse((PACKAGE / 'models/checkpoint_reader.py').read_text(encoding='utf-8'))
    calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert sum('weights_only=False' in call for call in calls if call.startswith('torch.load')) == 1
    assert [default.value for node in ast.walk(tree) if getattr(node, 'name', '') == 'read_checkpoint'
            for default in node.args.kw_defaults] == [False]  # fmt: skip
