"""Each room imports only from the rooms below it, and each heavy dependency has one door."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'flowercls'
LEAVES = {'encoding', 'errors', 'files', 'interruption'}
BELOW = {
    'encoding': set(),
    'errors': set(),
    'interruption': set(),
    'files': {'errors'},
    'config': LEAVES,
    'cache': LEAVES,
    'datasets': LEAVES | {'cache'},
    'models': LEAVES,
    'evaluation': LEAVES,
    'visualization': LEAVES | {'evaluation'},
    'engine': LEAVES | {'config', 'datasets', 'models', 'evaluation', 'cache'},
    'registration': {'datasets', 'models', 'evaluation', 'engine'},
    'sweep': LEAVES | {'config', 'evaluation', 'engine'},
    'comparison': LEAVES | {'config', 'evaluation', 'engine', 'sweep'},  # sweep for its ledger
    # sweep for its ledger, engine by neither: a report is made of files.
    'report': LEAVES | {'config', 'evaluation', 'sweep', 'comparison', 'visualization'},
    'benchmark': LEAVES | {'config', 'datasets', 'models', 'engine'},
    'apis': LEAVES
    | {
        'benchmark',
        'config',
        'datasets',
        'models',
        'evaluation',
        'cache',
        'engine',
        'sweep',
        'comparison',
        'visualization',
        'report',
        'registration',
    },
}
DOORS = {'BaseDT': 'datasets/prepare', 'matplotlib': 'visualization', 'jinja2': 'report/page'}


def imported_names(path):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path.name}: write absolute imports'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('path', sorted(PACKAGE.rglob('*.py')), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_downwards(path):
    inside = path.relative_to(PACKAGE).as_posix()
    room = inside.split('/')[0].removesuffix('.py')
    for name in imported_names(path):
        top, *rest = name.split('.')
        if top == 'flowercls' and rest and rest[0] not in (room, '__version__'):
            assert rest[0] in BELOW[room], f'{inside}: {room} may not import {name}'
        if top in DOORS:
            assert inside.startswith(DOORS[top]), f'{inside}: import {top} only in {DOORS[top]}'


def test_only_one_file_reads_and_writes_checkpoints():
    callers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob('*.py')
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ('torch.load', 'torch.save')
    }
    assert callers == {'engine/checkpoint.py'}


def test_no_code_is_run_or_unpickled_from_files():
    forbidden = {'eval', 'exec', 'pickle.load', 'pickle.loads', 'Config.fromstring'}
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in forbidden, f'{path.name}:{node.lineno}'
