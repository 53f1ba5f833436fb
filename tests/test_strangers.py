"""A stranger's tools accept what we leave: mmpretrain's own scripts and inferencer, and scikit-learn."""

import csv
import json
import pickle
import runpy
import sys
from pathlib import Path

import mmpretrain
import numpy as np
import pytest
import torch
from mmpretrain import ImageClassificationInferencer
from sklearn.metrics import accuracy_score

import flowercls.registration  # noqa: F401

pytestmark = pytest.mark.slow
THEIR_TOOLS = Path(mmpretrain.__file__).parent / '.mim' / 'tools'


@pytest.fixture
def run_theirs(monkeypatch, tmp_path):
    """Run a script out of mmpretrain's wheel with a command line, in this process."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        runpy.run_path(str(THEIR_TOOLS / script), run_name='__main__')

    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def best(trained_run):
    _, folder = trained_run
    return next(folder.glob('best_*.pth'))


def our_scores(folder):
    with (folder / 'predictions_val.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    names = [key.removeprefix('score_') for key in rows[0] if key.startswith('score_')]
    scores = np.array([[float(row[f'score_{name}']) for name in names] for row in rows], np.float32)
    return rows, names, scores


def test_scikit_learn_finds_the_reported_accuracy_in_the_predictions(trained_run):
    rows, _, _ = our_scores(trained_run[1])
    top1 = 100 * accuracy_score([row['label'] for row in rows], [row['pred'] for row in rows])
    assert top1 == pytest.approx(json.loads((trained_run[1] / 'metrics.json').read_text())['top1'])


def test_their_test_script_gives_our_scores(trained_run, best, run_theirs, tmp_path):
    folder = trained_run[1]
    run_theirs('test.py', folder / 'config.py', best, '--work-dir', tmp_path / 'test', '--out', tmp_path / 'out.pkl')
    theirs = pickle.loads((tmp_path / 'out.pkl').read_bytes())
    rows, names, scores = our_scores(folder)
    assert [int(entry['gt_label']) for entry in theirs] == [names.index(row['label']) for row in rows]
    assert np.array_equal(np.stack([entry['pred_score'].numpy() for entry in theirs]), scores)


def test_their_train_script_trains_our_resolved_config(trained_run, run_theirs, tmp_path):
    folder = trained_run[1]
    run_theirs('train.py', folder / 'config.py', '--work-dir', tmp_path / 'theirs')
    ours = torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict']
    theirs = torch.load(tmp_path / 'theirs' / 'epoch_2.pth', weights_only=True)['state_dict']
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    for name in ('predictions_val.csv', 'predictions_val_last.csv'):
        assert (tmp_path / 'theirs' / name).read_text() == (folder / name).read_text()


def test_their_inferencer_agrees_photo_by_photo(trained_run, best, drawn_root):
    folder = trained_run[1]
    rows, names, scores = our_scores(folder)
    inferencer = ImageClassificationInferencer(str(folder / 'config.py'), pretrained=str(best), device='cpu')
    photos = [str(drawn_root / 'val_set' / row['image']) for row in rows]
    results = inferencer(photos, batch_size=8)
    assert [result['pred_class'] for result in results] == [row['pred'] for row in rows]
    # They decode with OpenCV, we with Pillow: the same pixels but for rounding.
    assert np.allclose([result['pred_scores'] for result in results], scores, atol=0.02)


def test_our_test_tool_gives_the_metrics_of_training(trained_run, best, tool, tmp_path, capsys):
    config, folder = trained_run
    out = tmp_path / 'deep' / 'scores.csv'
    assert tool('test', config, best, '--work-dir', tmp_path, '--out', out) == 0
    assert out.read_bytes() == (folder / 'predictions_val.csv').read_bytes()
    assert 'precision  recall     f1  photos' in capsys.readouterr().out
    assert (tmp_path / f'test_{best.stem}' / 'metrics.json').is_file()
