"""Answers of "unknown" and "none of these": in files, on the terminal, and where a calibration does not give them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flowercls.core.errors import CheckpointError, ConfigError, DataError
from flowercls.core.layout import CALIBRATION_FILE
from flowercls.evaluate.calibration import confidences
from flowercls.evaluate.predictions import Predictions
from flowercls.use.load import load
from flowercls.use.model import Model
from flowercls.use.unknown import calibrate as calibration_module
from flowercls.use.unknown.doubts import Doubts, doubts_of

SCORES = np.float32([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9]])


class Stub(Model):
    source, class_names, calibration = Path('run/best.pth'), ['a', 'b', 'c'], None

    def classify(self, prepared):
        return SCORES

    def classify_with_distances(self, prepared):
        return SCORES, np.float32([1.0, 1.5, 2.5])


@pytest.fixture
def calibrated_run(trained_run, tmp_path, monkeypatch):
    """A copy of the finished run with a whole calibration, whose threshold is made up."""
    monkeypatch.setattr('flowercls.evaluate.calibration.FALSE_ALARMS', 0.2)
    monkeypatch.setattr('flowercls.evaluate.calibration.MIN_GROUPS', 10)
    monkeypatch.setattr(calibration_module, 'FOREIGN_PHOTOS', 5)
    monkeypatch.setattr(calibration_module, 'USEFUL', 0)
    folder = shutil.copytree(trained_run[1], tmp_path / 'run')
    content = calibration_module.calibrate(folder, report=lambda line: None)
    content['threshold'] = {'precision': 0.99, 'confidence': 0.3, 'right': 1.0, 'right_interval': [0.9, 1.0]}
    (folder / CALIBRATION_FILE).write_text(json.dumps(content))
    return folder


def test_without_doubts_every_photo_is_answered():
    scores, names, figures = Doubts().answers(Stub(), [])
    assert names == ['a', 'b', 'c'] and figures == [{}, {}, {}] and scores is SCORES


def test_below_the_confidence_it_is_unknown_and_beyond_the_limit_none_of_these():
    scores, names, figures = Doubts(2.0, 0.5, 2.0).answers(Stub(), [])
    expected = SCORES.max(axis=1) ** 0.5 / (SCORES**0.5).sum(axis=1)
    assert [row['confidence'] for row in figures] == pytest.approx(expected, rel=1e-6)
    assert expected[0] < 0.5 < expected[1] and names == ['unknown', 'b', 'none of these']
    assert [row['distance'] for row in figures] == [1.0, 1.5, 2.5] and scores is SCORES
    assert Doubts(min_confidence=0.65).answers(Stub(), [])[1] == ['unknown', 'b', 'c']  # the scores themselves


@pytest.mark.parametrize(
    ('calibration', 'asked', 'problem'),
    [
        (None, ('auto', False), 'not calibrated.*--calibrate run'),
        ({'threshold_reason': 'too few photos', 'temperature': 1.0}, ('auto', False), 'too few photos.*0.8'),
        (None, (None, True), 'none-of-these: the model is not calibrated'),
        ({'none_of_these_reason': 'finds little'}, (0.5, True), 'finds little'),
    ],
)
def test_what_a_calibration_does_not_give_is_refused(calibration, asked, problem):
    model = Stub()
    model.calibration = calibration
    with pytest.raises(ConfigError, match='(?s)' + problem):
        doubts_of(model, *asked)


@pytest.mark.parametrize(
    ('calibration', 'asked'),
    [
        ({'threshold': 5}, ('auto', False)),
        ({'threshold': {'confidence': 'x'}}, ('auto', False)),
        ({'temperature': -1, 'threshold': {'confidence': 0.5}}, ('auto', False)),
        ({'temperature': 'x'}, (0.5, False)),
        ({'none_of_these': [1]}, (None, True)),
    ],
)
def test_nonsense_in_the_calibration_of_a_stranger_is_a_damaged_model(calibration, asked):
    model = Stub()
    model.calibration = calibration
    with pytest.raises(CheckpointError, match='its calibration is damaged'):
        doubts_of(model, *asked)


def test_a_class_called_unknown_is_not_mistaken():
    model = Stub()
    model.class_names = ['a', 'unknown', 'c']
    assert doubts_of(model, None, False) == Doubts()
    with pytest.raises(ConfigError, match="'unknown'"):
        doubts_of(model, 0.5, False)


def test_rows_have_the_figures_behind_an_answer(calibrated_run, drawn_root, tool, tmp_path, capsys):
    out, plain = tmp_path / 'out.csv', tmp_path / 'plain.csv'
    flags = ('--min-confidence', '0.4', '--none-of-these')
    assert tool('predict', calibrated_run, drawn_root / 'val_set', '--out', out, *flags) == 0
    assert 'confidence  distance' in capsys.readouterr().out
    assert tool('predict', calibrated_run, drawn_root / 'val_set', '--out', plain) == 0
    rows, plain_rows = (list(csv.DictReader(path.open())) for path in (out, plain))
    calibration = json.loads((calibrated_run / CALIBRATION_FILE).read_text())
    for row, expected in zip(rows, plain_rows, strict=True):
        scores = {key: row[key] for key in row if key.startswith('score_')}
        assert scores.items() <= expected.items()  # not calibrated, bit for bit
        confidence = confidences(np.float32([[*scores.values()]]), calibration['temperature'])[0]
        assert float(row['confidence']) == pytest.approx(confidence, rel=1e-6)
        is_far = float(row['distance']) > calibration['none_of_these']['limit'] + 1e-6
        answer = 'none of these' if is_far else 'unknown' if confidence < 0.4 else expected['pred']
        assert row['pred'] == answer
    assert sum(row['pred'] == 'none of these' for row in rows) == 2  # of 15, see test_calibrate.py
    with_auto = tmp_path / 'auto.json'
    assert tool('predict', calibrated_run, drawn_root / 'val_set', '--out', with_auto, '--min-confidence', 'auto') == 0
    for row in json.loads(with_auto.read_text()):
        assert (row['pred'] == 'unknown') == (row['confidence'] < 0.3)


def test_a_damaged_calibration_is_a_damaged_model(calibrated_run):
    content = json.loads((calibrated_run / CALIBRATION_FILE).read_text())
    content['none_of_these']['space']['basis']['base64'] = 'AAAA'
    (calibrated_run / CALIBRATION_FILE).write_text(json.dumps(content))
    model = load(calibrated_run)
    with pytest.raises(CheckpointError, match='--calibrate'):
        model.classify_with_distances([model.prepare(np.zeros((64, 64, 3), np.uint8))])


def test_the_command_calibrates_an_older_run(trained_run, tmp_path, tool, capsys):
    folder = shutil.copytree(trained_run[1], tmp_path / 'run')
    (folder / CALIBRATION_FILE).unlink()
    assert tool('predict', '--calibrate', folder) == 0
    assert 'written' in capsys.readouterr().out and (folder / CALIBRATION_FILE).is_file()


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--calibrate', 'RUN', 'photo.jpg'), 'leave out photos'),
        (('--calibrate', 'RUN', '--out', 'a.csv'), 'leave out --out'),
        (('--calibrate', 'RUN', '--precision', 'bf16', '--topk', '5'), 'leave out --precision, --topk'),
        (('--calibrate', 'nowhere'), 'no run folder'),
        (('RUN',), 'none are named'),
        (('RUN', 'photo.jpg', '--min-confidence', '2'), 'from 0 to 1'),
        (('RUN', 'photo.jpg', '--min-confidence', 'nan'), 'from 0 to 1'),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, trained_run, tool, capsys):
    try:
        code = tool('predict', *(trained_run[1] if each == 'RUN' else each for each in arguments))
    except SystemExit as end:  # of argparse
        code = end.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_such_a_file_is_not_compared(tmp_path):
    file = tmp_path / 'out.csv'
    file.write_text('image,label,pred,confidence,score_a,score_b\na/1.jpg,a,unknown,0.4,0.6,0.4\n')
    with pytest.raises(DataError, match='confidence is no score'):
        Predictions.read_csv(file)
