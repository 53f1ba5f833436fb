"""The story of predict with a model that needs no network, whose answers depend on what is in its batch."""

import csv
import functools
import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from flowercls.core import signals
from flowercls.core.errors import CheckpointError, ConfigError, OutOfMemoryError
from flowercls.evaluate.predictions import Predictions
from flowercls.use import predict as story
from flowercls.use import row_file
from flowercls.use.model import Model
from flowercls.use.photos import find_photos
from flowercls.use.row_file import partial_of, record_of
from flowercls.use.unknown.doubts import Doubts

CLASSES = ['rose', 'tulip', '=lily']
predict = functools.partial(story.predict, topk=3)


class FakeModel(Model):
    """Likes red, green or blue, and a little of what else is in the batch, as real networks do in their last bits."""

    def __init__(self, source, before_batch=lambda number: None):
        self.source, self.class_names, self.batch_size, self.facts = source, CLASSES, 4, {}
        self.before_batch, self.batches = before_batch, []

    def prepare(self, rgb):
        return rgb.reshape(-1, 3).mean(axis=0)

    def classify(self, prepared):
        self.before_batch(len(self.batches))
        self.batches.append(len(prepared))
        values = np.exp((np.stack(prepared) + 0.01 * np.mean(prepared)) / 100)
        return (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def source(tmp_path):
    (tmp_path / 'model.pth').write_bytes(b'weights')
    return tmp_path / 'model.pth'


@pytest.fixture
def model(source):
    return FakeModel(source)


@pytest.fixture
def photos(tmp_path):
    """18 photos in two class folders; photos 1, 6 and 17 cannot be read, nor any of batch 2."""
    broken = {1, 6, 8, 9, 10, 11, 17}
    for number in range(18):
        path = tmp_path / 'set' / CLASSES[number // 9] / f'{number:02}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.random.default_rng(number).integers(0, 255, 3).tolist()
        Image.new('RGB', (9, 8), tuple(colour)).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[:50])
    return find_photos([tmp_path / 'set'])


def test_rows_are_those_of_a_predictions_file(model, photos, tmp_path):
    summary = predict(model, photos, out=tmp_path / 'x.csv', to_show=frozenset({0, 1, 13}))
    found = Predictions.read_csv(tmp_path / 'x.csv')
    assert found.images == [photos.images[i] for i in (0, 2, 3, 4, 5, 7, 12, 13, 14, 15, 16)]
    assert [CLASSES[label] for label in found.labels] == [image.partition('/')[0] for image in found.images]
    assert model.batches == [3, 3, 4, 1]  # none where no photo can be read
    assert summary.hits == found.hits.sum() and sum(summary.counts.values()) == summary.answered == 11
    assert [row['number'] for row in summary.shown] == [0, 13]
    assert [image for image, _ in summary.broken] == [photos.images[i] for i in (1, 6, 8, 9, 10, 11, 17)]
    assert all('truncated' in reason or 'damaged' in reason for _, reason in summary.broken)
    assert not partial_of(tmp_path / 'x.csv').exists() and not record_of(tmp_path / 'x.csv').exists()


def test_json_has_an_object_a_line_with_the_same_figures(model, photos, tmp_path):
    predict(model, photos, out=tmp_path / 'x.json', topk=2)
    predict(model, photos, out=tmp_path / 'x.csv')
    lines = (tmp_path / 'x.json').read_text().splitlines()
    objects = [json.loads(line.rstrip(',')) for line in lines[1:-1]]
    assert json.loads('\n'.join(lines)) == objects
    with (tmp_path / 'x.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    for row, found in zip(rows, objects, strict=True):
        assert list(found) == ['image', 'label', 'pred', 'topk', 'scores']
        assert found['image'] == row['image'] and found['pred'] == row['pred'].removeprefix("'")
        assert found['scores'] == {name: float(row[f'score_{name}']) for name in CLASSES}
        best = sorted(found['scores'].items(), key=lambda item: -item[1])[:2]
        assert [(top['class'], top['score']) for top in found['topk']] == best


def test_without_class_folders_there_is_no_label(model, photos, tmp_path):
    photos.folders[0] = ('inbox',)
    summary = predict(model, photos, out=tmp_path / 'x.csv')
    assert (tmp_path / 'x.csv').read_text().startswith('image,pred,score_rose,') and summary.hits == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize('suffix', ['.csv', '.json'])
@pytest.mark.parametrize(
    ('how', 'batch'), [('stopped', 1), ('stopped', 3), ('killed', 0), ('killed', 1), ('killed', 3)]
)
def test_a_resumed_file_has_the_bytes_of_an_undisturbed_one(source, photos, tmp_path, monkeypatch, suffix, how, batch):
    monkeypatch.setattr(row_file, 'SAVED_EVERY_S', -1)  # at every batch
    whole, out = tmp_path / f'whole{suffix}', tmp_path / f'x{suffix}'
    undisturbed = predict(FakeModel(source), photos, out=whole, to_show=frozenset(range(5)))

    def end(number):
        if number == batch:
            for path in (partial_of(out), record_of(out)):
                shutil.copy(path, f'{path}.copy')
            raise Killed

    with pytest.raises(Killed):
        predict(FakeModel(source, end), photos, out=out, to_show=frozenset(range(5)))
    assert not out.exists()
    if how == 'killed':  # nothing was tidied up, and half a row was written
        for path in (partial_of(out), record_of(out)):
            shutil.move(f'{path}.copy', path)
        with partial_of(out).open('a') as file:
            file.write('half a r')
    model = FakeModel(source)
    summary = predict(model, photos, out=out, to_show=frozenset(range(5)), resume=True)
    assert out.read_bytes() == whole.read_bytes() and model.batches == [3, 3, 4, 1][batch:]
    rows = [[(row['number'], row['cells']) for row in each.shown] for each in (summary, undisturbed)]
    assert rows[0] == rows[1]
    for key in ('photos', 'counts', 'hits'):
        assert getattr(summary, key) == getattr(undisturbed, key)
    assert list(map(tuple, summary.broken)) == undisturbed.broken


def interrupt(source, photos, out):
    def stop(number):
        if number == 1:
            raise Killed

    with pytest.raises(Killed):
        predict(FakeModel(source, stop), photos, out=out)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ('touched', 'the photos changed'),
        ('removed', 'the photos changed'),
        ('model', 'the model changed'),
        ('batch', '--batch-size was 4, is 5'),
        ('topk', '--topk was 3, is 1'),
        ('option', '--precision was None, is fp32'),
        ('doubts', '--min-confidence was None, is 0.8'),
    ],
)
def test_what_changed_since_is_named(source, photos, tmp_path, change, words):
    interrupt(source, photos, out := tmp_path / 'x.csv')
    options = {}
    if change == 'touched':
        photos.paths[3].write_bytes(photos.paths[3].read_bytes() + b'\0')
    elif change == 'removed':
        photos.paths[17].unlink()
        photos = find_photos([tmp_path / 'set'])
    elif change == 'model':
        source.write_bytes(b'other weights')
    elif change == 'option':
        options = {'options': {'--precision': 'fp32'}}
    else:
        options = {'batch': {'batch_size': 5}, 'topk': {'topk': 1}, 'doubts': {'doubts': Doubts(1.0, 0.8)}}[change]
    before = partial_of(out).read_bytes()
    with pytest.raises(ConfigError, match=words):
        predict(FakeModel(source), photos, out=out, resume=True, **options)
    assert partial_of(out).read_bytes() == before


def test_a_signal_lets_the_batch_at_work_be_written(source, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(signals, '_received', None)

    def ask(number):
        if number == 1:
            signals._on_signal(signals.signal.SIGTERM, None)

    with pytest.raises(signals.Interrupted):
        predict(FakeModel(source, ask), photos, out=tmp_path / 'x.csv')
    assert len(partial_of(tmp_path / 'x.csv').read_text().splitlines()) == 1 + 6


def test_where_no_photo_can_be_read_nothing_is_written(model, photos, tmp_path):
    for path in photos.paths:
        path.write_text('no photo')
    summary = predict(model, photos, out=tmp_path / 'x.csv')
    assert summary.answered == 0 and len(summary.broken) == 18 and model.batches == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith('x')] == []


def test_a_model_that_gives_nan_is_refused(model, photos, tmp_path):
    model.classify = lambda prepared: np.full((len(prepared), 3), np.nan, np.float32)
    with pytest.raises(CheckpointError, match='NaN'):
        predict(model, photos, out=tmp_path / 'x.csv')
    assert not partial_of(tmp_path / 'x.csv').exists()


def test_a_batch_that_needs_too_much_memory_is_told(source, photos, tmp_path):
    def fail(number):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    model = FakeModel(source, fail)
    with pytest.raises(OutOfMemoryError, match='4 photos at once.*--batch-size 2 --overwrite'):
        predict(model, photos, out=tmp_path / 'x.csv')
    with pytest.raises(RuntimeError, match='enforce'):
        predict(model, photos, batch_size=1)


def test_a_strip_that_would_be_scaled_to_gigabytes_is_refused(model, tmp_path):
    Image.new('RGB', (1, 20_000)).save(tmp_path / 'strip.png')
    summary = predict(model, find_photos([tmp_path / 'strip.png']))
    assert summary.broken == [(str(tmp_path / 'strip.png'), 'too narrow (1 by 20000 pixels)')]


def test_an_error_of_ours_is_no_broken_photo(model, photos):
    def fail(rgb):
        raise ZeroDivisionError

    model.prepare = fail
    with pytest.raises(ZeroDivisionError):
        predict(model, photos)


@pytest.mark.parametrize(
    'name', ['two\nlines.png', 'a\rb.png', '=cmd().png', 'a"b,c.png', 'caf\udce9.png', '\x1b[31m.png']
)
def test_hostile_names_break_no_file(model, tmp_path, name):
    folder = tmp_path / 'inbox'
    folder.mkdir()
    for path in (folder / name, folder / 'z.png'):
        Image.new('RGB', (9, 8)).save(path)
    for suffix in ('.csv', '.json'):
        predict(model, find_photos([folder]), out=tmp_path / f'x{suffix}')
    shown = name.replace('\udce9', '\\udce9')
    with (tmp_path / 'x.csv').open(encoding='utf-8', newline='') as file:
        cells = [row['image'] for row in csv.DictReader(file)]
    assert sorted(cells) == sorted([f"'{shown}" if name.startswith('=') else shown, 'z.png'])
    found = json.loads((tmp_path / 'x.json').read_text(encoding='utf-8'))
    assert sorted(row['image'] for row in found) == sorted([name, 'z.png'])


def test_photos_are_read_ahead_but_not_all_at_once():
    read = []
    results = story._in_threads(lambda item: read.append(item) or item, range(1000), ahead=8)
    assert next(results) == 0
    time.sleep(0.05)
    assert 8 <= len(read) <= 8 + 1 + 2 * story.usable_cpus()
    assert list(results) == list(range(1, 1000))


@pytest.mark.parametrize('is_terminal', [False, True])
def test_progress_tells_pace_and_time_left(model, photos, monkeypatch, capsys, is_terminal):
    monkeypatch.setattr(story, 'LINE_EVERY_S', 0)
    monkeypatch.setattr(story.sys.stderr, 'isatty', lambda: is_terminal, raising=False)
    monkeypatch.setenv('COLUMNS', '100')
    predict(model, photos)
    assert 'photos/s' in capsys.readouterr().err


def test_a_missing_photo_of_a_list_costs_only_itself(model, photos):
    photos.paths[2].unlink()
    summary = predict(model, photos)
    assert (photos.images[2], 'missing file (no such file)') in summary.broken and summary.answered == 10
