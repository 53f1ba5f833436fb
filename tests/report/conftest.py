"""A run folder and a sweep's folder of hand-written files, and a reader of pages."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from flowercls.evaluate.predictions import Predictions

ODD = '<b>&'  # a class name that would be markup
PICTURES = ('curves', 'confusion', 'reliability', 'mistakes', 'mistakes_heatmaps')
CONFIG = """
data_root = {root!r}
data_manifest = {manifest!r}
model = dict(precision='bf16', channels_last=True)
train_cfg = dict(max_epochs=3)
"""
METRICS = {
    'top1': 83.3333, 'top1_interval': [43.61, 96.99], 'n': 6, 'nll': 0.51234, 'ece': 12.345,
    'per_class': {
        ODD: {'precision': 100.0, 'recall': 75.0, 'f1': 85.714, 'support': 4},
        'rose': {'precision': 66.667, 'recall': 100.0, 'f1': 80.0, 'support': 2},
    },
    'confusion': [[3, 1], [0, 2]], 'epoch': 2, 'checkpoint': 'best_2.pth', 'split': 'val', 'seed': 7,
}  # fmt: skip
MANIFEST = {
    'classes': [ODD, 'rose'], 'seed': 5, 'val_ratio': 0.2, 'test_ratio': 0.0, 'folds': None,
    'counts': {
        'scanned': 1234, 'copied': 1225, 'converted': 2, 'skipped': 3, 'duplicates': 4,
        'sets': {'training_set': {ODD: 1000, 'rose': 21}, 'val_set': {ODD: 4, 'rose': 2}},
    },
    'images': [{'duplicate_group': group} for group in (0, 0, 1, 1, 1, None)],
    'skipped': [{'reason': 'label conflict'}, {'reason': 'label conflict'}, {'reason': 'unreadable'}],
}  # fmt: skip
LOG = """2026/11/21 15:19:45 - mmengine - INFO -
System environment:
    sys.platform: linux
    Python: 3.11.7 (main)
    GPU 0: Great <Card>
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3
    PyTorch: 2.15.0
Runtime environment:
    MMEngine: not read any more
"""
VOID = {'meta', 'img', 'link', 'br', 'input', 'hr'}


class Page(HTMLParser):
    """What is in a page: headings' ids, pictures' addresses and alternative texts, links, visible text, all tags."""

    def __init__(self, path):
        super().__init__()
        self.open, self.ids, self.pictures, self.links, self.tags, self.pieces = [], [], [], [], [], []
        self.feed(path.read_text(encoding='utf-8'))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if 'id' in attributes:
            self.ids.append(attributes['id'])
        if tag == 'img':
            self.pictures.append((attributes['alt'], attributes['src']))
        if tag == 'a':
            self.links.append(attributes['href'])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f'</{tag}> closes something else, line {self.getpos()[0]}'

    def handle_data(self, data):
        if 'style' not in self.open:
            self.pieces.append(data)

    @property
    def text(self):
        return ' '.join(' '.join(self.pieces).split())


@pytest.fixture
def read_page():
    return Page


def draw(path, size=(30, 20), colour='red'):
    Image.new('RGB', size, colour).save(path)


@pytest.fixture
def run_folder(tmp_path):
    """A finished run: config, log, figures, pictures, mistakes; and the manifest of what it was trained on."""
    root, folder = tmp_path / 'flower', tmp_path / 'work dirs' / 'a_run'
    for path in (root, folder):
        path.mkdir(parents=True)
    (root / 'manifest.json').write_text(json.dumps(MANIFEST))
    (folder / 'config.py').write_text(CONFIG.format(root=str(root), manifest='0' * 64))
    (folder / 'metrics.json').write_text(json.dumps(METRICS))
    (folder / '20261121_151945.log').write_text(LOG)
    epochs = [{'epoch': 1, 'train_loss': 1.23456, 'train_top1': 60.0, 'lr': 0.003, 'step': 1}]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, [*epochs, {'accuracy/top1': 81.726, 'step': 1}])))
    (folder / 'mistakes.csv').write_text(f'image,label,pred,score\n{ODD}/1.jpg,{ODD},rose,0.98765\n')
    (folder / 'best_2.pth.json').write_text('{"sha256": "abcdef"}')
    for name in PICTURES:
        draw(folder / f'{name}.png')
    return folder


@pytest.fixture
def sweep_folder(tmp_path, run_folder):
    """A sweep with a finished trial that has a report, one that failed, and one under way; without a comparison."""
    folder = tmp_path / 'sweep'
    (folder / 'trials').mkdir(parents=True)
    finished = run_folder.rename(folder / 'trials' / 'lr=0.1 #_seed0')
    (finished / 'report.html').write_text('')
    entries = [
        {'key': 'a', 'run': f'trials/{finished.name}', 'state': 'finished', 'top1': 83.3333, 'time_s': 3725.4},
        {'key': 'b', 'run': 'trials/lr=9_seed0', 'state': 'failed', 'error': f'exit code 6: {ODD} diverged'},
        {'key': 'c', 'run': 'trials/lr=1_seed0', 'state': 'started'},
    ]
    (folder / 'ledger.jsonl').write_text('\n'.join(map(json.dumps, entries)))
    return folder


@pytest.fixture
def saved_figures(monkeypatch):
    """The figures saved during the test."""
    figures, save = [], Figure.savefig

    def record(figure, *args, **kwargs):
        save(figure, *args, **kwargs)
        figures.append(figure)

    monkeypatch.setattr(Figure, 'savefig', record)
    return figures


class Texts:
    """Every text in the saved figures."""

    def __init__(self, figures):
        self.figures = figures

    def __iter__(self):
        texts = (text for figure in self.figures for text in figure.findobj(Text) if text.get_visible())
        return (text.get_text() for text in texts if text.get_text())


@pytest.fixture
def texts(saved_figures):
    return Texts(saved_figures)


@pytest.fixture
def predictions():
    """Five photos of two classes, two of them mistakes; one class name would be a formula in matplotlib."""
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.45, 0.55]], np.float32)
    names = [f'a/{number}.jpg' for number in range(5)]
    return Predictions(names, np.array([0, 1, 1, 0, 1]), scores, ['oak', 'a$_b$'])


@pytest.fixture
def metrics(predictions):
    return {**predictions.metrics(), 'split': 'val', 'checkpoint': 'epoch_2.pth'}
