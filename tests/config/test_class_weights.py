"""Unequal classes: `class_weight='balanced'` as numbers that follow from the training list."""

import copy
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from flowercls.config import derive_config, load_config, resolve_config
from flowercls.config.data_keys import TAKES_CLASS_WEIGHT, balanced_weights
from flowercls.core.errors import ConfigError, DataError

CONFIG = Path(__file__).parent.parent.parent / 'configs' / 'resnet50_flower.py'
CLASSES = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']
LABELS = [0] * 7 + [1] * 2 + [2] * 5 + [3] + [4] * 5


@pytest.fixture
def unequal(data_root):
    """The small prepared folder, with photos in its lists."""
    lines = [f'{CLASSES[label]}/{i}.jpg {label}\n' for i, label in enumerate(LABELS)]
    (data_root / 'train.txt').write_text(''.join(lines), encoding='utf-8')
    return data_root


@pytest.fixture
def resolve(unequal):
    return lambda **more: resolve_config(
        CONFIG, {'data_root': str(unequal), 'model.head.loss.class_weight': 'balanced', **more}
    )


def test_balanced_weights_are_those_of_scikit_learn(resolve):
    cfg, notes = resolve()
    found = cfg.model.head.loss.class_weight
    assert found == pytest.approx([20 / 35, 2.0, 0.8, 4.0, 0.8])  # 20 photos / (5 classes x photos of the class)
    assert found == pytest.approx(compute_class_weight('balanced', classes=np.arange(5), y=LABELS))
    assert np.mean([found[label] for label in LABELS]) == pytest.approx(1.0)
    assert notes == []


def test_weights_written_down_stay_as_they_are(resolve, tmp_path):
    cfg, _ = resolve()
    again = copy.deepcopy(cfg)
    assert derive_config(again) == [] and again.to_dict() == cfg.to_dict()
    cfg.dump(tmp_path / 'config.py')
    assert load_config(tmp_path / 'config.py').to_dict() == cfg.to_dict()
    assert all(type(weight) is float for weight in cfg.model.head.loss.class_weight)


def test_the_list_that_the_training_set_reads_counts(resolve, unequal):
    (unequal / 'few.txt').write_text(''.join(f'{name}/x.jpg {i}\n' for i, name in enumerate(CLASSES)))
    cfg, _ = resolve(**{'train_dataloader.dataset.ann_file': 'few.txt'})
    assert cfg.model.head.loss.class_weight == [1.0] * 5


@pytest.mark.parametrize(
    'changes, said',
    [
        ({'model.head.loss': dict(type='FocalLoss', class_weight='balanced')}, 'FocalLoss takes no class weights. Fix'),
        ({'model.head.loss.class_weight': 'balance'}, "class_weight: expected 'balanced', one number a class"),
        ({'model.head.loss.class_weight': 3}, "class_weight: expected 'balanced', one number a class"),
        ({'model.head.loss.class_weight': [1.0, 2.0]}, 'has 2 numbers, there are 5 classes'),
    ],
)
def test_weights_that_cannot_be_used_are_refused(resolve, changes, said):
    with pytest.raises(ConfigError) as caught:
        resolve(**changes)
    assert said in str(caught.value)


def test_a_class_without_photos_and_lists_that_cannot_be_read_are_refused(resolve, unequal):
    with pytest.raises(DataError, match='no photo of rose in the training list.*Fix'):
        balanced_weights([0, 1, 3, 4], CLASSES)
    (unequal / 'train.txt').write_text('daisy/x.jpg 5\n')
    with pytest.raises(DataError, match='label 5 is outside 0..4.*Fix'):
        resolve()
    (unequal / 'train.txt').write_text('daisy/x.jpg\n')
    with pytest.raises(DataError, match='train.txt: cannot be read.*Fix'):
        resolve()


def test_both_remedies_at_once_are_told(resolve):
    _, notes = resolve(**{'train_dataloader.sampler.balanced': True})
    assert len(notes) == 1 and 'both favour rare classes' in notes[0] and 'Fix: ' in notes[0]


def test_the_losses_that_are_said_to_take_weights_do():
    from mmpretrain.models import losses

    classes = [value for value in vars(losses).values() if inspect.isclass(value)]
    takes = {value.__name__ for value in classes if 'class_weight' in inspect.signature(value).parameters}
    assert takes == set(TAKES_CLASS_WEIGHT)


def test_a_weighted_loss_is_averaged_over_photos_not_over_weights():
    from mmpretrain.models.losses import CrossEntropyLoss, LabelSmoothLoss

    scores, labels, weights = torch.randn(3, 2), torch.tensor([0, 0, 1]), [0.5, 4.0]
    each = torch.nn.functional.cross_entropy(scores, labels, reduction='none')
    expected = (0.5 * each[0] + 0.5 * each[1] + 4.0 * each[2]) / 3
    torch.testing.assert_close(CrossEntropyLoss(class_weight=weights)(scores, labels, avg_factor=3), expected)
    smooth = LabelSmoothLoss(0.0, num_classes=2, class_weight=weights)
    torch.testing.assert_close(smooth(scores, labels, avg_factor=3), expected)


def test_balanced_weights_of_a_resolved_config_follow_it_to_another_folder(resolve, unequal, tmp_path):
    cfg, _ = resolve()
    cfg.dump(tmp_path / 'config.py')
    other = tmp_path / 'other'
    other.mkdir()
    for name in ('classes.txt', 'val.txt'):
        (other / name).write_text((unequal / name).read_text())
    (other / 'train.txt').write_text(''.join(f'{name}/1.jpg {label}\n' for label, name in enumerate(CLASSES)))
    moved, _ = resolve_config(tmp_path / 'config.py', {'data_root': str(other)})
    assert moved.model.head.loss.class_weight == pytest.approx([1.0] * 5)
    cfg.model.head.loss.class_weight = own = [1.0, 2.0, 3.0, 4.0, 5.0]
    cfg.dump(tmp_path / 'config.py')
    moved, _ = resolve_config(tmp_path / 'config.py', {'data_root': str(other)})
    assert moved.model.head.loss.class_weight == own


@pytest.mark.parametrize('weight', [[1, 0, -1, 2, 1], [1, 1, 1, 1, 'x'], [1, 1, 1, 1, float('inf')]])
def test_weights_that_are_none_are_refused(resolve, weight):
    with pytest.raises(ConfigError, match="expected 'balanced' or numbers of at least 0"):
        resolve(**{'model.head.loss.class_weight': weight})
