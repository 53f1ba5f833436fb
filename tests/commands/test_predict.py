"""The command ``predict`` as a user meets it: the run's own scores, what it leaves, how a mistake is answered."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from flowercls.commands.predict import describe
from flowercls.use.predict import Summary
from flowercls.use.row_file import partial_of

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def run(trained_run):
    return trained_run[1]


@pytest.fixture
def val_set(drawn_root):
    return drawn_root / 'val_set'


@pytest.fixture
def inbox(val_set, tmp_path):
    """Five photos in no class folder, one of them cut off."""
    folder = tmp_path / 'inbox'
    folder.mkdir()
    for number, path in enumerate(sorted(val_set.rglob('*.jpg'))[:5]):
        shutil.copy(path, folder / f'{number}.jpg')
    (folder / '1.jpg').write_bytes((folder / '1.jpg').read_bytes()[:300])
    return folder


def test_the_validation_photos_give_the_runs_own_file(run, val_set, tool, tmp_path, said):
    out = tmp_path / 'new/val.csv'
    assert tool('predict', run, val_set, '--out', out) == 0
    assert out.read_bytes() == (run / 'predictions_val.csv').read_bytes()
    text, metrics = said(), json.loads((run / 'metrics.json').read_text())
    assert f'top-1 {metrics["top1"]:.2f} % (' in text and 'of 15, 95 % interval' in text
    assert str(out) in text and 'photos/s' in text


def test_one_file_sent_to_a_colleague_is_enough(run, inbox, tool, tmp_path, monkeypatch, said):
    """Neither the data, nor the config, nor the folder of the run is there."""
    (tmp_path / 'away').mkdir()
    (best,) = run.glob('best_*.pth')
    shutil.copy(best, tmp_path / 'away/model.pth')
    monkeypatch.chdir(tmp_path / 'away')
    assert tool('predict', 'model.pth', inbox / '0.jpg', '--topk', 2, '--precision', 'fp32', '--batch-size', 1) == 0
    head, row, *_ = said().splitlines()
    assert head.split() == ['image', 'pred', 'score', 'then']
    assert row.count('%') == 2 and row.startswith(str(inbox)[:10])


def test_a_broken_photo_costs_only_itself(run, inbox, tool, tmp_path, said):
    assert tool('predict', run, inbox, '--out', tmp_path / 'x.csv') == 3
    text = said()
    assert '1 of 5 photos cannot be read' in text and '1.jpg: truncated' in text and str(tmp_path / 'x.csv') in text
    assert 'Fix, truncated: copy or download it again' in text
    with (tmp_path / 'x.csv').open(newline='') as file:
        assert [row['image'] for row in csv.DictReader(file)] == ['0.jpg', '2.jpg', '3.jpg', '4.jpg']


def test_where_all_photos_are_broken_nothing_is_written(run, inbox, tool, tmp_path, said):
    options = ('--out', tmp_path / 'x.csv', '--sheet', tmp_path / 'x.png')
    assert tool('predict', run, inbox / '1.jpg', *options) == 3
    assert 'nothing is written' in said() and [path.name for path in tmp_path.iterdir()] == ['inbox']


def test_a_contact_sheet_shows_photos_with_their_answers(run, val_set, tool, tmp_path, said):
    assert tool('predict', run, val_set, '--sheet', tmp_path / 'new/x.png') == 0
    with Image.open(tmp_path / 'new/x.png') as sheet:
        assert sheet.width > 1000 and sheet.height > 800
    assert 'x.png' in said()


def test_a_list_on_standard_input(run, inbox, tool, tmp_path, said, monkeypatch):
    paths = f'{inbox / "0.jpg"}\r\n{inbox / "gone.jpg"}\r\n'.encode()
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(paths)))
    assert tool('predict', run, '-', '--out', tmp_path / 'x.json') == 3
    (row,) = json.loads((tmp_path / 'x.json').read_text())
    assert row['image'] == str(inbox / '0.jpg') and 'gone.jpg: missing file' in said()


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (('gone', 'inbox'), 4, 'gone: no such'),
        (('inbox', 'inbox'), 4, 'inbox: holds no checkpoint'),
        (('inbox/0.jpg', 'inbox'), 4, 'is no model'),
        (('run', 'gone'), 3, 'gone: No such file'),
        (('run', 'empty'), 3, 'empty: no photos'),
        (('run', 'inbox', '--out', 'x.txt'), 2, '.csv or .json'),
        (('run', 'inbox', '--out', ''), 2, '.csv or .json'),
        (('run', 'inbox', '--out', 'inbox/0.jpg/x.csv'), 2, 'is not a folder'),
        (('run', 'inbox', '--out', 'here.csv'), 2, 'exists already'),
        (('run', 'inbox', '--out', 'here.csv', '--resume'), 2, 'nothing to resume'),
        (('run', 'inbox', '--resume'), 2, 'add --out'),
        (('run', 'inbox', '--sheet', 'x.jpg'), 2, 'ends in .png'),
        (('run', 'inbox', '--sheet', 'here.png'), 2, 'exists already'),
    ],
)
def test_mistakes_are_answered_in_one_message(run, inbox, tool, tmp_path, monkeypatch, said, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    for name in ('here.csv', 'here.png'):
        (tmp_path / name).write_text('mine')
    before = sorted(tmp_path.rglob('*'))
    model, *rest = arguments
    assert tool('predict', run if model == 'run' else model, *rest) == code
    error = said()
    assert words in error and 'Fix: ' in error
    assert sorted(tmp_path.rglob('*')) == before and (tmp_path / 'here.csv').read_text() == 'mine'


def test_a_file_is_replaced_on_request(run, inbox, tool, tmp_path):
    (tmp_path / 'x.csv').write_text('old')
    assert tool('predict', run, inbox / '0.jpg', '--out', tmp_path / 'x.csv', '--overwrite') == 0
    assert (tmp_path / 'x.csv').read_text().startswith('image,pred,')


@pytest.mark.parametrize(('flag', 'value'), [('--topk', '0'), ('--batch-size', '-1'), ('--precision', 'fp16')])
def test_impossible_values_are_refused(run, inbox, tool, flag, value, said):
    with pytest.raises(SystemExit) as end:
        tool('predict', run, inbox, flag, value)
    assert end.value.code == 2 and value in said()


@pytest.mark.slow  # three processes with torch
def test_a_killed_command_is_gone_on_with(run, val_set, tmp_path):
    out, photos = tmp_path / 'x.csv', tmp_path / 'photos'
    for number in range(40):
        shutil.copytree(val_set, photos / str(number))
    command = [sys.executable, REPOSITORY / 'tools/predict.py', run, photos, '--batch-size', '1', '--out']
    options = {'env': {**os.environ, 'PYTHONPATH': str(REPOSITORY)}, 'capture_output': True, 'text': True}
    assert subprocess.run([*command, tmp_path / 'whole.csv'], **options).returncode == 0
    for number in (signal.SIGINT, signal.SIGKILL):
        extra = ['--resume'] if partial_of(out).exists() else []
        process = subprocess.Popen([*command, out, *extra], env=options['env'], stderr=subprocess.PIPE, text=True)
        size = partial_of(out).stat().st_size if extra else 0
        while not (partial_of(out).exists() and partial_of(out).stat().st_size > size + 2000):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
        assert process.returncode in (130, -signal.SIGKILL) and not out.exists()
        assert number == signal.SIGKILL or '--resume' in error
    done = subprocess.run([*command, out, '--resume'], **options)
    assert done.returncode == 0 and out.read_bytes() == (tmp_path / 'whole.csv').read_bytes()


def summary_of(names, counts, scores=(0.7, 0.2), labels=None, hits=0):
    shown = [
        {'number': i, 'cells': {'image': name, **({'label': labels[i]} if labels else {}), 'pred': 'rose'},
         'figures': {}, 'top': [('rose', scores[0]), ('tulip', scores[1])]}
        for i, name in enumerate(names)
    ]  # fmt: skip
    return Summary(photos=sum(counts.values()), counts=counts, shown=shown, hits=hits, photos_per_s=12.34)


def test_the_table_is_aligned_whatever_is_in_a_name():
    names = ['a.jpg', '郁金香.jpg', 'x' * 100 + 'end.jpg', 'a\x1b[31m\nb.jpg']
    lines = describe(summary_of(names, {'rose': 4}), has_labels=False).splitlines()[:5]
    starts = {cell_len(line[: line.index(word)]) for line, word in zip(lines, ['pred'] + ['rose'] * 4, strict=True)}
    assert len(starts) == 1
    assert '…' in lines[3] and lines[3].split()[0].endswith('end.jpg')
    assert r'a\x1b[31m\nb.jpg' in lines[4] and '70.0 %  tulip 20.0 %' in lines[1]


def test_of_many_photos_the_first_are_shown_and_the_rest_counted():
    counts = {f'class {number}': 100 - number for number in range(12)}
    summary = summary_of([f'{number}.jpg' for number in range(40)], counts)
    text = describe(summary, has_labels=False, others=['val/other'], written=[Path('x.csv')])
    assert 'and 1,114 more in x.csv' in text and '19.jpg' in text and '20.jpg' not in text
    assert 'class 0 100, class 1 99' in text and '2 more classes' in text
    assert 'no classes of the model: val/other' in text and '12.3 photos/s' in text
    assert '--out FILE' in describe(summary, has_labels=False)
    # None of the first photos could be read.
    assert 'and 1,134 more' in describe(summary_of([], counts), has_labels=False)


def test_accuracy_is_told_where_folders_are_classes():
    text = describe(summary_of(['a.jpg'], {'rose': 10}, labels=['tulip'], hits=8), has_labels=True)
    assert 'top-1 80.00 % (8 of 10, 95 % interval 49.0-94.3)' in text


def test_other_precision_differs_by_little(run, val_set, tool, tmp_path):
    scores = []
    for precision, size in (('fp32', 8), ('fp32', 3)):
        out = tmp_path / f'{size}.csv'
        assert tool('predict', run, val_set, '--out', out, '--precision', precision, '--batch-size', size) == 0
        with out.open(newline='') as file:
            scores.append([[float(value) for value in list(row.values())[3:]] for row in csv.DictReader(file)])
    assert np.abs(np.subtract(*scores)).max() < 1e-4


# --- heat maps --------------------------------------------------------------------------------------------------------


def test_each_photo_is_drawn_beside_its_heat_map(run, inbox, tool, tmp_path, said):
    (inbox / 'deep').mkdir()
    shutil.move(inbox / '4.jpg', inbox / 'deep' / '4.jpg')
    maps = tmp_path / 'new' / 'maps'
    assert tool('predict', run, inbox, '--heatmap', maps) == 3  # one photo is broken
    assert sorted(path.relative_to(maps).as_posix() for path in maps.rglob('*.*')) == [
        '0.jpg.png', '2.jpg.png', '3.jpg.png', 'deep/4.jpg.png',
    ]  # fmt: skip
    photo, drawn = (np.asarray(Image.open(path).convert('RGB'), int) for path in (inbox / '0.jpg', maps / '0.jpg.png'))
    left, right = drawn[:, : photo.shape[1]], drawn[:, photo.shape[1] :]
    assert np.array_equal(left, photo) and right.shape == photo.shape
    assert (np.ptp(right, axis=2) > 30).any() and (np.ptp(right[0], axis=1) == 0).all()  # colour; a grey edge
    assert str(maps) in said()


def test_one_photo_may_have_one_file_for_its_heat_map(run, inbox, tool, tmp_path, said):
    one = tmp_path / 'map.PNG'
    assert tool('predict', run, inbox, '--heatmap', one) == 2 and 'Fix: name a folder' in said()
    assert tool('predict', run, inbox / '0.jpg', '--heatmap', one) == 0 and Image.open(one).format == 'PNG'
    assert tool('predict', run, inbox / '0.jpg', '--heatmap', one) == 2 and 'exists already' in said()
    assert tool('predict', run, inbox / '0.jpg', '--heatmap', one, '--overwrite') == 0


def test_photos_outside_of_the_folder_have_their_maps_inside(run, inbox, tool, tmp_path, monkeypatch):
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    long = inbox / f'{"x" * 230}.jpg'
    shutil.copy(inbox / '0.jpg', long)
    assert tool('predict', run, '../inbox/0.jpg', inbox / '2.jpg', long, '--heatmap', 'maps') == 0
    assert sorted(path.name for path in Path('maps').iterdir()) == [
        '000000_0.jpg.png',
        '000001_2.jpg.png',
        '000002_photo.png',
    ]


def test_heat_maps_that_cannot_be_drawn_are_refused_first(run, inbox, tool, tmp_path, said):
    (tmp_path / 'file').write_text('')
    for target, words in ((inbox, 'exists already'), (tmp_path / 'file', 'no folder'), (tmp_path / 'file/a', 'file')):
        assert tool('predict', run, inbox / '0.jpg', '--heatmap', target) == 2
        assert words in said()
