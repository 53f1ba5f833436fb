"""Folders of finished runs and tests, made without training."""

import json

import numpy as np

from flowercls.evaluate.predictions import Predictions

CONFIG = """
model = dict(frozen_stages={frozen}, backbone=dict(type='ResNet', depth=50))
optim_wrapper = dict(optimizer=dict(type='SGD', lr={lr}))
load_from = {load_from!r}
data_root = {root!r}
randomness = dict(seed={seed})
train_dataloader = dict(num_workers={seed}, dataset=dict(ann_file={train!r}))
val_dataloader = dict(dataset=dict(ann_file={val!r}))
"""


def predictions_with(misses, images):
    labels = np.arange(len(images)) % 2
    predicted = labels.copy()
    predicted[list(misses)] ^= 1
    return Predictions(list(images), labels, np.eye(2, dtype=np.float32)[predicted], ['daisy', 'rose'])


def write_run(
    folder,
    misses,
    num_photos=568,
    images=None,
    frozen=0,
    lr=0.01,
    seed=0,
    manifest='abc',
    best=None,
    last=True,
    **config,
):
    """Make a run folder as a finished run leaves it.

    Args:
        misses: Numbers of the photos that the last epoch gets wrong.
        best: The same for the best epoch, if it is another one.
        last: Whether the run has kept the predictions of its last epoch.
    """
    folder.mkdir(parents=True)
    values = {
        'load_from': 'a/resnet50.pth',
        'root': 'data/flower',
        'train': 'train.txt',
        'val': 'val.txt',
        **config,
    }
    (folder / 'config.py').write_text(CONFIG.format(frozen=frozen, lr=lr, seed=seed, **values))
    images = images or [f'flower/{i:03d}.jpg' for i in range(num_photos)]
    if last:
        predictions_with(misses, images).write_csv(folder / 'predictions_val_last.csv')
    predictions = predictions_with(misses if best is None else best, images)
    predictions.write_csv(folder / 'predictions_val.csv')
    metrics = {**predictions.metrics(), 'epoch': 2, 'checkpoint': 'best.pth', 'split': 'val', 'seed': seed}
    (folder / 'metrics.json').write_text(json.dumps({**metrics, 'data_manifest': manifest}))
    epochs = [{'epoch': e, 'train_loss': 1 / e, 'step': e} for e in (1, 2)]
    epochs += [{'accuracy/top1': 90.0 + e, 'step': e} for e in (1, 2)]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, epochs)))
    return folder


def write_test(folder, misses, num_photos=200, split='test', checkpoint='best.pth', name='test_best', **more):
    """Add the results of tools/test.py to a run folder."""
    predictions = predictions_with(misses, [f'other/{i:03d}.jpg' for i in range(num_photos)])
    (folder / name).mkdir()
    predictions.write_csv(folder / name / 'predictions.csv')
    metrics = {**predictions.metrics(), 'checkpoint': checkpoint, 'split': split, 'data_manifest': 'abc', **more}
    (folder / name / 'metrics.json').write_text(json.dumps(metrics))
