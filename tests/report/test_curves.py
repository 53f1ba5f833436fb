import json

import pytest

from flowercls.core.errors import DiskError
from flowercls.evaluate.plan import Question, make_plan
from flowercls.report.curves import plot_curves, plot_powers

LINES = [
    {'epoch': 1, 'train_loss': 1.5, 'train_top1': 40.0, 'lr': 0.1, 'step': 1},
    {'accuracy/top1': 50.0, 'nll': 1.2, 'step': 1},
    {'epoch': 2, 'train_loss': 0.5, 'train_top1': 80.0, 'lr': 0.1, 'step': 2},
    {'accuracy/top1': 70.0, 'nll': 0.7, 'step': 2},
]


def write(folder):
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, LINES)))


def test_curves_are_drawn_into_the_run_folder(tmp_path):
    write(tmp_path)
    path = plot_curves(tmp_path, best_epoch=2)
    assert path.read_bytes().startswith(b'\x89PNG') and path.name == 'curves.png'
    assert not list(tmp_path.glob('.*'))


def test_the_name_of_a_run_folder_is_no_formula(tmp_path, texts):
    folder = tmp_path / 'd$x^$1'
    folder.mkdir()
    write(folder)
    assert plot_curves(folder).is_file() and 'd$x^$1' in texts


def test_no_picture_without_a_finished_epoch(tmp_path):
    assert plot_curves(tmp_path) is None


def no_space(*args, **kwargs):
    raise OSError(28, 'No space left on device')


def test_a_full_disk_is_named_when_curves_are_written(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr('matplotlib.figure.Figure.savefig', no_space)
    with pytest.raises(DiskError, match=r'curves.png: the disk is full'):
        plot_curves(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['scalars.json']


def test_powers_have_a_curve_for_models_and_for_each_number_of_seeds(tmp_path, texts, saved_figures):
    plan = make_plan(Question(photos=100, seeds=4, difference=5.0, settings=3, accuracy=90.0, seed_scatter=0.5))
    plot_powers(tmp_path / 'plan.png', plan)
    assert (tmp_path / 'plan.png').is_file()
    assert {'1 run, compared as models', '1 run, seeds assumed', '4 seeds', '12 seeds'} <= set(texts)
    assert any('100 photos' in text and '0.5 points' in text for text in texts)
    worse, ruled_out = saved_figures[0].axes
    curves = {line.get_label(): line for line in worse.lines}
    asked = next(findings for findings in plan.curves if findings[0].seeds == 4)
    assert list(curves['4 seeds'].get_ydata()) == [100 * finding.found_worse for finding in asked]
    assert len(ruled_out.lines) == len(worse.lines) - 1  # models are not ruled out
