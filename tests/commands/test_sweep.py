"""The sweep tool as a user meets it; and a sweep that is killed again and again."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flowercls.data.prepare.preparation import prepare
from flowercls.evaluate.predictions import Predictions, image_name
from flowercls.sweep.ledger import FINISHED, STARTED, Entry, Ledger
from flowercls.sweep.spec import read_spec
from flowercls.sweep.trials import make_trials
from flowercls.train.run_dir import lock_folder
from helpers.processes import started

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def write_sweep(write_config, tmp_path):
    def write(stages="[0, 'all']"):
        path = tmp_path / 'my_sweep.py'
        path.write_text(f"base = '{write_config(tmp_path)}'\ngrid = {{'model.frozen_stages': {stages}}}\nseeds = [0]\n")
        return path

    return write


def states(folder):
    lines = (folder / 'ledger.jsonl').read_text().splitlines()
    return [(entry['setting'], entry['state']) for entry in map(json.loads, lines)]


def test_a_dry_run_lists_the_trials_and_writes_nothing(tool, write_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert tool('sweep', write_sweep(), '--dry-run') == 0
    out = capsys.readouterr().out
    assert 'frozen_stages=0_seed0' in out and 'frozen_stages=all_seed0' in out and '2 trials' in out
    assert not (tmp_path / 'work_dirs').exists()


def test_mistakes_are_answered_before_anything_is_written(tool, write_sweep, tmp_path, capsys):
    for code, options in (
        (2, ['--jobs', '0']),
        (2, ['--cfg-options', 'a.b=1']),
        (4, ['--cfg-options', 'load_from=x.pth']),
    ):
        assert tool('sweep', write_sweep(), '--work-dir', tmp_path / 'sweep', *options) == code
        assert 'Traceback' not in capsys.readouterr().err
    assert not (tmp_path / 'sweep').exists()


def test_a_second_sweep_in_the_folder_is_refused(tool, write_sweep, tmp_path, capsys):
    folder = tmp_path / 'sweep'
    folder.mkdir()
    script = 'import fcntl, os, sys, time; file = open(sys.argv[1], "w"); fcntl.lockf(file, fcntl.LOCK_EX); '
    script += 'print("process", os.getpid(), file=file, flush=True); print("held", flush=True); time.sleep(600)'
    other = subprocess.Popen([sys.executable, '-c', script, str(folder / '.lock')], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == 'held\n'
        assert tool('sweep', write_sweep(), '--work-dir', folder) == 8
        assert f'process {other.pid}' in capsys.readouterr().err
        assert not (folder / 'ledger.jsonl').exists()
    finally:
        other.kill()
        other.wait()
    with lock_folder(folder):
        pass  # free again


@pytest.mark.slow  # three trainings in processes
def test_a_trial_that_fails_costs_only_itself_and_values_can_be_added(tool, write_sweep, tmp_path, capsys):
    folder = tmp_path / 'sweep'
    assert tool('sweep', write_sweep('[0]'), '--work-dir', folder) == 0
    run = folder / 'trials' / 'frozen_stages=0_seed0'
    top1 = json.loads((run / 'metrics.json').read_text())['top1']
    assert (run / 'predictions_val.csv').is_file() and f'{top1:.2f}' in capsys.readouterr().out
    assert not (run / 'curves.png').exists() and (run / 'console.txt').is_file()
    sweep = [sys.executable, str(REPOSITORY / 'tools' / 'sweep.py'), str(write_sweep('[0, 1, 2]')), '--work-dir']
    process = subprocess.Popen([*sweep, str(folder)])
    kill_trial(folder / 'trials' / 'frozen_stages=1_seed0')
    assert process.wait() == 9
    assert states(folder)[2:] == [
        ('frozen_stages=1', 'started'),
        ('frozen_stages=1', 'failed'),
        ('frozen_stages=2', 'started'),
        ('frozen_stages=2', 'finished'),
    ]
    assert tool('sweep', write_sweep('[0, 1, 2]'), '--work-dir', folder) == 9
    assert 'failed: frozen_stages=1_seed0: ended by SIGKILL' in capsys.readouterr().out and len(states(folder)) == 6
    assert tool('sweep', write_sweep('[0, 1, 2]'), '--work-dir', folder, '--retry-failed', '--jobs', '2') == 0
    assert states(folder)[6:] == [('frozen_stages=1', 'started'), ('frozen_stages=1', 'finished')]


def kill_trial(run):
    """Kill the process of a trial as soon as it says its number."""
    number = ''
    while not number:
        time.sleep(0.01)
        number = (run / '.lock').read_text().removeprefix('process ').strip() if (run / '.lock').exists() else ''
    os.kill(int(number), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != 'linux', reason='elsewhere trials outlive a killed sweep and are waited for')
@pytest.mark.parametrize(
    'goal', [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.exhaustive)]
)
def test_a_sweep_killed_at_random_moments_ends_as_one_left_alone(write_sweep, tmp_path, goal):
    command = [sys.executable, str(REPOSITORY / 'tools' / 'sweep.py'), str(write_sweep()), '--work-dir']
    alone, chance, kills, number = tmp_path / 'alone', random.Random(0), 0, 0
    began = time.monotonic()
    subprocess.run([*command, str(alone)], check=True)
    duration, interrupted = time.monotonic() - began, set()
    while kills < goal or not interrupted:
        number += 1
        folder, code = tmp_path / f'killed{number}', -signal.SIGKILL
        while code != 0:
            # The first kill is no chance: it falls into the second epoch, unless this machine sleeps just then.
            at_once = not interrupted
            seconds = chance.uniform(0, duration) if kills < goal and not at_once else None
            code = run_for([*command, str(folder)], seconds, folder if at_once else None)
            kills += code != 0
            interrupted |= under_way(folder) if code != 0 else set()
        check_same(alone, folder)
    assert all('(resumed from epoch_' in (run / 'console.txt').read_text() for run in interrupted)


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_sweep_asked_to_end_lets_its_trials_save(write_sweep, tmp_path, number):
    folder, command = tmp_path / 'sweep', [sys.executable, str(REPOSITORY / 'tools' / 'sweep.py'), str(write_sweep())]
    options = ['--work-dir', str(folder), '--cfg-options', 'train_cfg.max_epochs=500']
    with started([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        while not under_way(folder):
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait() == 128 + number
        assert 'the same command resumes' in process.stderr.read()
    console = next((folder / 'trials').iterdir()) / 'console.txt'
    assert 'is saved; add --resume' in console.read_text()


def under_way(folder):
    """Runs that have a checkpoint, and of which the ledger does not know the end: they have to go on from there."""
    ledger = Ledger(folder / 'ledger.jsonl')
    begun = [folder / entry.run for entry in ledger.latest().values() if entry.state == STARTED]
    return {run for run in begun if any(run.glob('epoch_*.pth'))}


def run_for(command, seconds, first_epoch_in=None):
    """Run a sweep and kill it after some seconds, or after the first epoch in a folder; None lets it end."""
    process = subprocess.Popen(command)
    end = time.monotonic() + (math.inf if seconds is None else seconds)
    while process.poll() is None:
        if time.monotonic() >= end or (first_epoch_in and under_way(first_epoch_in)):
            process.kill()
        time.sleep(0.01)
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode


def check_same(alone, folder):
    assert sorted(path.name for path in (folder / 'trials').iterdir()) == sorted(
        path.name for path in (alone / 'trials').iterdir()
    )
    lines = [line for line in (folder / 'ledger.jsonl').read_text().splitlines() if line.endswith('}')]
    finished = Counter(entry['key'] for entry in map(json.loads, lines) if entry['state'] == 'finished')
    assert list(finished.values()) == [1, 1]
    assert not any('"failed"' in line for line in lines)
    for run in (alone / 'trials').iterdir():
        for name in ('predictions_val.csv', 'metrics.json'):
            assert (folder / 'trials' / run.name / name).read_bytes() == (run / name).read_bytes()


FOLDS_SWEEP = """
base = '{config}'
grid = {{'fold': {{k: {{'val_dataloader.dataset.ann_file': f'folds/fold_{{k}}_val.txt'}} for k in range(2)}}}}
seeds = [0]
"""


@pytest.fixture
def folds_run(write_config, drawn_root, tmp_path):
    """A sweep of two folds that are run already, by a model that takes the first photo of each fold for a class 0.

    Returns:
        The sweep file, the sweep's folder, the prepared folder, and the files of the photos in question.
    """
    root, folder = tmp_path / 'flower', tmp_path / 'sweep'
    prepare(drawn_root.parent / 'raw', root, val_ratio=0.25, folds=2, workers=0)
    path = tmp_path / 'my_folds.py'
    path.write_text(FOLDS_SWEEP.format(config=write_config(tmp_path, data_root=root)))
    ledger, wrong = Ledger(folder / 'ledger.jsonl'), []
    for trial in make_trials(read_spec(path))[0]:
        run = folder / 'trials' / trial.name
        run.mkdir(parents=True)
        lines = (root / trial.overrides['val_dataloader.dataset.ann_file']).read_text().splitlines()
        files, labels = zip(*(line.rsplit(' ', 1) for line in lines), strict=True)
        labels = np.array([int(label) for label in labels])
        scores = np.eye(5, dtype=np.float32)[labels]
        first = int(np.flatnonzero(labels != 0)[0])
        scores[first] = [1, 0, 0, 0, 0]
        wrong.append(root / files[first])
        names = (root / 'classes.txt').read_text().split()
        found = Predictions([image_name(file) for file in files], labels, scores, names)
        found.write_csv(run / 'predictions_val.csv')
        (run / 'metrics.json').write_text(json.dumps(found.metrics()))
        (run / 'config.py').write_text(
            f'val_dataloader = dict(dataset=dict(ann_file="folds/fold_{trial.name[5]}_val.txt"))'
        )
        ledger.append(Entry(trial.key, trial.setting.name, 0, FINISHED, f'trials/{trial.name}', top1=99.0))
    return path, folder, root, wrong


def test_a_sweep_over_folds_ends_with_the_labels_to_review(folds_run, tool, capsys):
    path, folder, root, wrong = folds_run
    before = sorted(file for file in root.rglob('*') if file.is_file())
    assert tool('sweep', path, '--work-dir', folder) == 0
    assert f'labels to review: 2 of 60 photos, {folder}/doubtful_labels.csv, .png' in capsys.readouterr().out
    listed = (folder / 'doubtful_labels.csv').read_text().splitlines()
    assert [line.split(',')[1] for line in listed[1:]] == sorted(image_name(file) for file in wrong)
    assert sorted(file for file in root.rglob('*') if file.is_file()) == before
    picture = (folder / 'doubtful_labels.png').read_bytes()
    wrong[0].unlink()  # a photo that is gone costs its tile only
    assert tool('sweep', path, '--work-dir', folder) == 0
    assert (folder / 'doubtful_labels.png').read_bytes() != picture
    assert (folder / 'doubtful_labels.csv').read_text().splitlines() == listed
