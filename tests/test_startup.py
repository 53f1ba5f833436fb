"""A misspelt key is answered before anything heavy is imported, whichever tool reads it and wherever it stands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / 'tools'
HEAVY = {'torch', 'torchvision', 'mmcv', 'mmpretrain', 'matplotlib', 'sklearn', 'scipy', 'cv2'}
SCRIPT = """
import json, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit as end:
    print('\\n' + json.dumps([end.code, sorted(sys.modules)]))
"""
SWEEP = 'base = {base!r}\ngrid = {grid}\nseeds = [0, 1]\n'


def run_alone(tool, *arguments):
    """Run a tool in a process of its own: (exit code, the heavy modules that it imported, what it complained about)."""
    command = [sys.executable, '-c', SCRIPT, TOOLS / f'{tool}.py', *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, HEAVY & set(modules), done.stderr


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_in_an_option(tool, write_config, tmp_path):
    (tmp_path / 'a.pth').touch()
    arguments = [write_config(tmp_path)] + [tmp_path / 'a.pth'] * (tool == 'test')
    code, heavy, error = run_alone(tool, *arguments, '--cfg-options', 'optim_wrapper.optimiser.lr=1')
    assert (code, heavy) == (2, set())
    assert "'optimiser' in optim_wrapper (did you mean 'optimizer'?)" in error


def test_in_a_config_file(write_config, tmp_path):
    code, heavy, error = run_alone('train', write_config(tmp_path, 'param_schedular = []\n'))
    assert (code, heavy) == (2, set())
    assert "'param_schedular' (did you mean 'param_scheduler'?)" in error


@pytest.mark.parametrize(
    ('grid', 'options', 'near'),
    [
        ("{'optim_wrapper.optimiser.lr': [0.1]}", (), 'optimizer'),
        ("{'x': {'a': {'train_cfg.max_epochs': 1}, 'b': {'train_cfg.max_epoch': 1}}}", (), 'max_epochs'),
        ("{'train_cfg.max_epochs': [1]}\nsead = [0]", (), 'seeds'),
        ("{'train_cfg.max_epochs': [1]}", ('--cfg-options', 'model.frozen_stage=1'), 'frozen_stages'),
    ],
    ids=['for all settings', 'in the second of two settings', 'of the sweep file', 'in an option'],
)
def test_in_a_sweep(grid, options, near, write_config, tmp_path):
    (tmp_path / 'sweep.py').write_text(SWEEP.format(base=str(write_config(tmp_path)), grid=grid))
    code, heavy, error = run_alone('sweep', tmp_path / 'sweep.py', '--work-dir', tmp_path / 'out', *options)
    assert (code, heavy) == (2, set())
    assert f"(did you mean '{near}'?)" in error and not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('arguments', 'code'),
    [
        (('gone', 'a.jpg'), 4),
        (('a.pth', 'gone.jpg'), 3),
        (('a.pth', 'a.jpg', '--out', 'x.txt'), 2),
        (('a.pth', 'a.jpg', '--presicion', 'fp32'), 2),
    ],
    ids=['model', 'photo', 'output', 'flag'],
)
def test_a_wrong_path_or_flag_of_predict(arguments, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('a.pth', 'a.jpg'):
        (tmp_path / name).touch()
    found, heavy, _ = run_alone('predict', *arguments)
    assert (found, heavy) == (code, set())


@pytest.mark.slow
def test_the_heavy_modules_are_called_so(write_config, tmp_path):
    # Else the tests above could not fail. What is misspelt here is the name of a class: that needs the classes.
    config = write_config(tmp_path, "model = dict(backbone=dict(type='ResNett'))\n")
    code, heavy, error = run_alone('train', config)
    assert code == 2 and "'ResNett'" in error
    assert {'torch', 'mmpretrain'} <= heavy
