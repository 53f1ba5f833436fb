"""Evaluating a checkpoint, also with test-time augmentation."""

import json

import numpy as np
import pytest
from mmengine.config import Config, ConfigDict

from flowercls.config.resolve import Flags
from flowercls.core.errors import ConfigError
from flowercls.models.classifier import StagedClassifier
from flowercls.train import tester
from flowercls.train.run_config import resolve_for_run

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
def evaluate(trained_run, write_config, tmp_path_factory):
    """Evaluate the trained model with a config's extra text, and without pictures."""

    def test(extra, **options):
        folder = tmp_path_factory.mktemp('tested')
        cfg = resolve_for_run(write_config(folder, extra), (), Flags())
        return tester.test(cfg, trained_run[1] / 'epoch_2.pth', work_dir=folder, **options)

    return test


@pytest.fixture(scope='module')
def straight(evaluate):
    """Scores of the photos as they are."""
    return evaluate(STRAIGHT + LOADER)


def test_scores_are_the_average_of_photo_and_mirror_image(evaluate, straight):
    mirrored, averaged = evaluate(MIRRORED + LOADER), evaluate(STRAIGHT + LOADER, tta=True)
    assert np.abs(straight.predictions.scores - mirrored.predictions.scores).max() > 1e-3
    mean = (straight.predictions.scores + mirrored.predictions.scores) / 2
    assert averaged.predictions.scores == pytest.approx(mean, abs=1e-6)
    written = [json.loads((result.folder / 'metrics.json').read_text())['tta'] for result in (straight, averaged)]
    assert written == [False, True]


def test_the_config_may_say_how_to_augment(evaluate, straight):
    averaged = evaluate(TWICE_STRAIGHT, tta=True)
    assert averaged.predictions.scores == pytest.approx(straight.predictions.scores, abs=1e-6)


def test_a_set_without_a_pipeline_of_its_own_is_a_config_error():
    cfg = Config({'test_dataloader': ConfigDict(dataset=dict(type='ConcatDataset', datasets=[]))})
    with pytest.raises(ConfigError, match='--tta: .* tta_pipeline'):
        tester.use_tta_pipeline(cfg)


def test_a_loader_worker_that_dies_in_a_test_is_told(trained_run, tool, tmp_path, monkeypatch, said):
    def test_step(*_):
        raise RuntimeError('DataLoader worker (pid 1) is killed by signal: Killed.')

    monkeypatch.setattr(StagedClassifier, 'test_step', test_step)
    assert tool('test', trained_run[0], trained_run[1] / 'epoch_2.pth', '--work-dir', tmp_path) == 9
    message = said()
    assert 'test_dataloader.num_workers' in message and '--resume' not in message
