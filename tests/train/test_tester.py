import json

import numpy as np
import pytest
from mmengine.config import Config, ConfigDict

from flowercls.core.errors import ConfigError
from flowercls.evaluate.predictions import Predictions
from flowercls.models.classifier import StagedClassifier
from flowercls.train.tester import use_tta_pipeline

MIRRORED = """
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='TorchvisionTransforms', transforms=[dict(type='Resize', size=(40, 40))]),
    dict(type='RandomFlip', prob=1.0),
    dict(type='PackInputs'),
]
"""
STRAIGHT = MIRRORED.replace('prob=1.0', 'prob=0.0')
LOADER = 'test_dataloader = dict(dataset=dict(pipeline=test_pipeline))\n'
TWICE_STRAIGHT = """
tta_model = dict(type='mmpretrain.AverageClsScoreTTA')
tta_pipeline = [
    dict(type='LoadImage'),
    dict(type='TorchvisionTransforms', transforms=[dict(type='Resize', size=(40, 40))]),
    dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip', prob=0.0)] * 2, [dict(type='PackInputs')]]),
]
"""


@pytest.fixture(scope='module')
def scores(trained_run, write_config, tool, tmp_path_factory):
    """Test the trained model with a config's extra text and options; returns scores and metrics."""
    checkpoint = trained_run[1] / 'epoch_2.pth'

    def test(extra, *options):
        folder = tmp_path_factory.mktemp('tested')
        assert tool('test', write_config(folder, extra), checkpoint, '--work-dir', folder, *options) == 0
        predictions = Predictions.read_csv(folder / 'test_epoch_2' / 'predictions.csv')
        return predictions.scores, json.loads((folder / 'test_epoch_2' / 'metrics.json').read_text())

    return test


def test_scores_are_the_average_of_photo_and_mirror_image(scores):
    straight, metrics = scores(STRAIGHT + LOADER)
    mirrored, _ = scores(MIRRORED + LOADER)
    averaged, augmented = scores(STRAIGHT + LOADER, '--tta')
    assert np.abs(straight - mirrored).max() > 1e-3
    assert averaged == pytest.approx((straight + mirrored) / 2, abs=1e-6)
    assert metrics['tta'] is False and augmented['tta'] is True


def test_the_config_may_say_how_to_augment(scores):
    straight, _ = scores(STRAIGHT + LOADER)
    averaged, _ = scores(TWICE_STRAIGHT, '--tta')
    assert averaged == pytest.approx(straight, abs=1e-6)


def test_a_set_without_a_pipeline_of_its_own_is_a_config_error():
    cfg = Config({'test_dataloader': ConfigDict(dataset=dict(type='ConcatDataset', datasets=[]))})
    with pytest.raises(ConfigError, match='--tta: .* tta_pipeline'):
        use_tta_pipeline(cfg)


def test_a_loader_worker_that_dies_in_a_test_is_told(trained_run, tool, tmp_path, monkeypatch, said):
    def test_step(*_):
        raise RuntimeError('DataLoader worker (pid 1) is killed by signal: Killed.')

    monkeypatch.setattr(StagedClassifier, 'test_step', test_step)
    assert tool('test', trained_run[0], trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path) == 9
    message = said()
    assert 'test_dataloader.num_workers' in message and '--resume' not in message
