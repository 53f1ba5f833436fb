"""A run folder in, calibration.json out; it is only ever used for the checkpoint that it describes."""

import json
import shutil
import signal

import pytest

from flowercls.core import signals
from flowercls.core.errors import DataError
from flowercls.core.files import sha256_of
from flowercls.core.layout import CALIBRATION_FILE, METRICS_FILE
from flowercls.evaluate.calibration import FeatureSpace, class_distances
from flowercls.use.load import load
from flowercls.use.unknown import calibrate as module
from flowercls.use.unknown.calibrate import calibrate, confidence_text, describe

THRESHOLD = dict(precision=0.99, confidence=0.9546, right=0.993, right_interval=[0.977, 0.9994], answered=0.5641)


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(trained_run[1], tmp_path / 'run')


@pytest.fixture
def few_are_enough(monkeypatch):
    """15 validation photos can be calibrated."""
    monkeypatch.setattr('flowercls.evaluate.calibration.FALSE_ALARMS', 0.2)
    monkeypatch.setattr('flowercls.evaluate.calibration.MIN_GROUPS', 10)
    monkeypatch.setattr(module, 'FOREIGN_PHOTOS', 5)


def test_training_leaves_a_calibration_with_reasons_for_what_is_not_known(trained_run):
    folder = trained_run[1]
    content = json.loads((folder / CALIBRATION_FILE).read_text())
    checkpoint = next(folder.glob('best_*.pth'))
    assert content['checkpoint'] == checkpoint.name and content['sha256'] == sha256_of(checkpoint)
    assert content['n'] == 15 and content['threshold'] is None and content['none_of_these'] is None
    assert '15' in content['threshold_reason'] and '15' in content['none_of_these_reason']


def test_a_whole_calibration(run, few_are_enough, monkeypatch):
    monkeypatch.setattr(module, 'USEFUL', 0)
    said = []
    content = calibrate(run, report=said.append)
    assert content == json.loads((run / CALIBRATION_FILE).read_text())
    assert content['temperature'] > 0 and len(said) == 1
    entry = content['none_of_these']
    assert entry['photos'] == {'train': 45, 'val': 15} and entry['false_alarms'] == pytest.approx(3 / 16)
    model = load(run)
    assert model.calibration == content
    space = FeatureSpace.from_json(entry['space'])
    photos = [module.decode_rgb(path) for path, _ in model.photos_of('val')]
    distances = class_distances(model.features([model.prepare(rgb) for rgb in photos]), space).min(axis=1)
    assert (distances > entry['limit']).sum() == 2  # of 15; the limit is the distance of one of them
    assert set(entry['found']) == set(module.KINDS)


def test_what_finds_too_little_is_off(run, few_are_enough, monkeypatch):
    monkeypatch.setattr(module, 'USEFUL', 1.1)
    content = calibrate(run)
    assert content['none_of_these'] is None and 'of 5 textures' in content['none_of_these_reason']
    assert 'off' in describe(run, content)


def test_without_the_photos_the_threshold_is_still_known(run, few_are_enough, monkeypatch):
    said = []

    def missing(*_):
        raise DataError('/home/me/photo.jpg: no such file. Fix: prepare.')

    with monkeypatch.context() as patched:
        patched.setattr('flowercls.use.torch_model.TorchModel.photos_of', missing)
        content = calibrate(run, report=said.append)
    assert '/home/me' in said[0] and '/home/me' not in json.dumps(content)
    assert 'DataError' in content['none_of_these_reason'] and content['temperature'] > 0
    monkeypatch.setattr(module, 'manifest_hash', lambda folder: 'another one')
    assert 'prepared anew' in calibrate(run)['none_of_these_reason']


def test_distances_are_not_lost_where_the_photos_are_missing(run, few_are_enough, monkeypatch):
    monkeypatch.setattr(module, 'USEFUL', 0.0)
    assert calibrate(run)['none_of_these']
    before = (run / CALIBRATION_FILE).read_bytes()
    monkeypatch.setattr(module, 'manifest_hash', lambda folder: None)
    with pytest.raises(DataError, match='distances .*left as it is. Fix: '):
        calibrate(run)
    assert (run / CALIBRATION_FILE).read_bytes() == before


def test_another_checkpoint_does_not_use_it(run, few_are_enough, capsys):
    content = calibrate(run)
    checkpoint = run / content['checkpoint']
    (run / CALIBRATION_FILE).write_text(json.dumps({**content, 'sha256': 'of an older file'}))
    assert load(run).calibration is None
    assert 'another checkpoint' in capsys.readouterr().err
    other = next(path for path in run.glob('*epoch_*.pth') if path != checkpoint)
    assert load(other).calibration is None and capsys.readouterr().err == ''


def test_predictions_of_another_checkpoint_are_refused(run):
    metrics = json.loads((run / METRICS_FILE).read_text())
    (run / METRICS_FILE).write_text(json.dumps({**metrics, 'checkpoint': 'best_accuracy_top1_epoch_9.pth'}))
    with pytest.raises(DataError, match='put back'):
        calibrate(run)


def test_a_failure_does_not_fail_the_training(write_config, tmp_path, tool, monkeypatch, capsys):
    monkeypatch.setattr(module, 'calibrate', lambda *_, **__: 1 / 0)
    folder = tmp_path / 'run'
    assert tool('train', write_config(tmp_path, 'train_cfg = dict(max_epochs=1)'), '--work-dir', folder) == 0
    assert 'division' in capsys.readouterr().err and not (folder / CALIBRATION_FILE).exists()


def test_none_leaves_it_out(write_config, tmp_path, tool):
    config = write_config(tmp_path, 'train_cfg = dict(max_epochs=1)\ncalibration = None')
    assert tool('train', config, '--work-dir', tmp_path / 'run') == 0
    assert not (tmp_path / 'run' / CALIBRATION_FILE).exists()


def test_the_line_after_a_training():
    text = confidence_text({'threshold': THRESHOLD})
    assert '0.955' in text and '99.3 % (97.7 to 99.9)' in text and '56 %' in text


def test_a_signal_meanwhile_ends_the_run_which_can_be_resumed(trained_run, run, tool, monkeypatch):
    (run / CALIBRATION_FILE).unlink()
    again = ('train', trained_run[0], '--work-dir', run, '--resume')
    kept = sorted(path.name for path in run.glob('*.pth'))
    with monkeypatch.context() as patched:

        def interrupted(*_, **__):
            raise signals.Interrupted(signal.SIGTERM)

        patched.setattr(module, 'calibrate', interrupted)
        assert tool(*again) == 143 and not (run / CALIBRATION_FILE).exists()
    assert tool(*again) == 0 and (run / CALIBRATION_FILE).exists()
    assert sorted(path.name for path in run.glob('*.pth')) == kept


def test_a_resumed_run_describes_its_new_best_checkpoint(trained_run, run, tool):
    before = json.loads((run / CALIBRATION_FILE).read_text())
    more = ('--resume', '--allow-config-change', '--cfg-options', 'train_cfg.max_epochs=5')
    assert tool('train', trained_run[0], '--work-dir', run, *more) == 0
    after = json.loads((run / CALIBRATION_FILE).read_text())
    best = next(run.glob('best_*.pth'))
    assert before['checkpoint'] != after['checkpoint'] == best.name and after['sha256'] == sha256_of(best)
    assert load(run).calibration == after
