"""Data: whatever a config inherits, it trains on the classes of its prepared folder, through the one decoder."""

import copy
import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from flowercls.config import derive_config, load_config, resolve_config
from flowercls.config.data_keys import TAKES_CLASS_WEIGHT
from flowercls.core.errors import ConfigError, DataError

CLASSES = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']


# ---------------------------------------------------------------- datasets


def dataset(text):
    return f'train_dataloader = dict(dataset=dict(_delete_=True, {text}))'


def test_another_dataset_of_photos_gives_way_with_a_note(inherit, data_root):
    cfg, notes = inherit(dataset("type='StanfordCars', data_root='data/cars', split='train', pipeline=[]"))
    ours = cfg.train_dataloader.dataset
    assert (ours.type, ours.data_root, ours.ann_file) == ('ImageFolder', str(data_root), 'train.txt')
    assert f'train_dataloader.dataset: StanfordCars replaced by ImageFolder on {data_root}.' in notes


REPEATED = "type='RepeatDataset', times=2, dataset=dict(pipeline=[], "
GRAY = "pipeline=[dict(type='LoadImageFromFile', color_type='grayscale'), dict(type='PackInputs')]"


@pytest.mark.parametrize(
    ('message', 'options'),
    [
        (r'(?s)train_dataloader\.dataset: CIFAR10 .*Fix: .*ImageFolder', dict(base='resnet/resnet18_8xb16_cifar10.py')),
        (r'(?s)train_dataloader\.dataset: MNIST .*Fix: .*ImageFolder', dict(base='lenet/lenet5_mnist.py')),
        (r'dataset\.dataset: MultiLabelDataset', dict(text=dataset(REPEATED + "type='MultiLabelDataset')"))),
        ('views=1: RepeatDataset does not', dict(text=dataset(REPEATED + "type='ImageFolder', views=1)"))),
        (r"ImageFoldr \(did you mean 'ImageFolder'\?\)", dict(text=dataset("type='ImageFoldr'"))),
        (r"pipeline\.0\.color_type='grayscale'.*Fix: .*Grayscale", dict(text=dataset("type='ImageFolder', " + GRAY))),
        (
            r'data_root is elsewhere, data_root is .*/data',
            dict(text=dataset("type='ImageFolder', data_root='elsewhere'")),
        ),
    ],
)
def test_a_dataset_that_cannot_be_used_is_refused(inherit, message, options):
    with pytest.raises(ConfigError, match=message):
        inherit(**options)


# ---------------------------------------------------------------- another prepared folder for a resolved config


@pytest.fixture
def resolved(inherit):
    """A resolved config, as a run folder holds it."""
    inherit()[0].dump('config.py')
    return 'config.py'


@pytest.fixture
def other_root(make_root):
    return make_root('other folder', ['oak', 'elm'], sets=('train', 'val', 'test'))


def test_a_resolved_config_can_be_pointed_at_another_folder(resolved, other_root):
    cfg, notes = resolve_config(resolved, [f'data_root={other_root}'])
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    assert [loader.dataset.data_root for loader in loaders] == [str(other_root)] * 3
    # The old folder has no test set, so its validation set stood in; the new folder has one.
    assert [loader.dataset.ann_file for loader in loaders] == ['train.txt', 'val.txt', 'test.txt']
    assert cfg.test_dataloader.dataset.data_prefix == 'test_set'
    assert cfg.model.head.num_classes == 2 and any('metainfo.classes' in note for note in notes)


def test_a_test_set_that_only_the_old_folder_has_is_not_looked_for(resolved, data_root, other_root):
    (data_root / 'test.txt').touch()
    cfg, _ = resolve_config(resolved, [f'data_root={other_root}'])
    cfg.dump('config.py')
    cfg, _ = resolve_config('config.py', [f'data_root={other_root}'])
    assert cfg.test_dataloader.dataset.ann_file == 'test.txt'
    (other_root / 'test.txt').unlink()
    (data_root / 'test.txt').unlink()
    cfg, _ = resolve_config('config.py', [f'data_root={data_root}'])
    assert (cfg.test_dataloader.dataset.ann_file, cfg.test_dataloader.dataset.data_prefix) == ('val.txt', 'val_set')


def test_a_dataset_of_a_third_folder_does_not_follow(resolved, other_root):
    with pytest.raises(ConfigError, match=r'val_dataloader\.dataset\.data_root is third'):
        resolve_config(resolved, [f'data_root={other_root}', 'val_dataloader.dataset.data_root=third'])


# ---------------------------------------------------------------- the one decoder


def test_other_decoders_give_way_with_a_note(inherit):
    cfg, notes = inherit(
        "tta_pipeline = [dict(type='LoadImageFromFile', to_float32=True), dict(type='PackInputs')]\n"
        "test_dataloader = dict(dataset=dict(pipeline=[dict(type='mmcv.LoadImageFromFile')]))"
    )
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.pipeline[0] == dict(type='LoadImage')
    assert cfg.tta_pipeline[0] == dict(type='LoadImage')
    assert cfg.data_preprocessor.to_rgb is True  # both decoders give BGR
    message = 'LoadImageFromFile replaced by LoadImage, the one decoder of all tools'
    assert f'train_dataloader.dataset.pipeline.0: {message}.' in notes
    assert f'tta_pipeline.0: {message}, without to_float32.' in notes


def test_the_decoder_that_takes_its_place_gives_the_same_pixels_and_refuses_damage(inherit, tmp_path):
    from mmpretrain.registry import TRANSFORMS

    import flowercls.registration  # noqa: F401

    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'photo.png')
    (tmp_path / 'damaged.png').write_bytes((tmp_path / 'photo.png').read_bytes()[:200])
    ours = TRANSFORMS.build(dict(inherit()[0].train_dataloader.dataset.pipeline[0]))
    theirs = TRANSFORMS.build(dict(type='LoadImageFromFile'))
    photo = str(tmp_path / 'photo.png')
    assert np.array_equal(ours({'img_path': photo})['img'], theirs({'img_path': photo})['img'])
    with pytest.raises(DataError, match=r'damaged\.png'):
        ours({'img_path': str(tmp_path / 'damaged.png')})


def test_a_config_that_is_only_loaded_keeps_what_it_says(write, data_root):
    cfg = load_config(write(f"_base_ = ['mmpretrain::resnet/resnet18_8xb32_in1k.py']\ndata_root = {str(data_root)!r}"))
    assert cfg.train_dataloader.dataset.type == 'ImageNet'


# ---------------------------------------------------------------- what our own classes take


def test_options_of_ours_outlive_the_exchange_of_what_they_were_given_to(inherit):
    cfg, _ = inherit('train_dataloader = dict(sampler=dict(balanced=True), dataset=dict(views=1, indices=8))')
    assert cfg.train_dataloader.sampler == dict(type='CounterSampler', shuffle=True, balanced=True)
    dataset = cfg.train_dataloader.dataset
    assert (dataset.type, dataset.views, dataset.indices) == ('ImageFolder', 1, 8)


# ---------------------------------------------------------------- the test set, and folds


def test_single_keys_of_a_test_loader_are_laid_over_the_one_that_is_derived(resolve):
    cfg, notes = resolve(test_dataloader__batch_size=2, test_dataloader__num_workers=0)
    assert (cfg.test_dataloader.batch_size, cfg.test_dataloader.persistent_workers) == (2, False)
    assert cfg.test_dataloader.dataset == cfg.val_dataloader.dataset and notes == []
    assert cfg.val_dataloader.batch_size == 64


def test_the_lists_of_a_fold_need_no_prefix(resolve):
    names = {f'{split}_dataloader.dataset.ann_file': f'folds/fold_0_{split}.txt' for split in ('train', 'val')}
    cfg, _ = resolve(**names)
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.ann_file, dataset.data_prefix) == (f'folds/fold_0_{split}.txt', '')


# ---------------------------------------------------------------- classes


def test_class_names_and_their_number_come_from_classes_txt(resolve):
    cfg, notes = resolve()
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 5
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert cfg[name].dataset.metainfo == dict(classes=CLASSES)
    assert 'num_classes' not in cfg.model.backbone
    assert notes == []


def test_every_metric_and_loss_that_counts_classes_agrees(resolve):
    cfg, notes = resolve(
        val_evaluator=[dict(type='ConfusionMatrix', num_classes=9), dict(type='ClassificationReport')],
        **{'model.head.loss': dict(type='SeesawLoss', num_classes=1000)},
    )
    assert cfg.val_evaluator[0].num_classes == cfg.test_evaluator[0].num_classes == 5
    assert cfg.model.head.loss.num_classes == 5
    assert 'val_evaluator.0.num_classes is 5 instead of 9: see classes.txt.' in notes


def test_class_names_written_by_hand_give_way_with_a_note(resolve):
    cfg, notes = resolve(**{'train_dataloader.dataset.metainfo': dict(classes=CLASSES[::-1])})
    assert cfg.train_dataloader.dataset.metainfo.classes == CLASSES
    assert any('metainfo.classes' in note and 'see classes.txt' in note for note in notes)
    _, notes = resolve(**{'train_dataloader.dataset.metainfo': dict(classes=3)})
    assert any('instead of 3' in note for note in notes)


@pytest.mark.parametrize('part', ['train_dataloader.dataset.data_root', 'model.backbone.num_classes'])
def test_none_leaves_a_fact_to_the_prepared_folder(resolve, part, data_root):
    cfg, notes = resolve(**{part: None})
    assert cfg.train_dataloader.dataset.data_root == str(data_root) and notes == []


def test_the_test_set_is_used_where_there_is_one(resolve, data_root):
    before, _ = resolve()
    assert before.test_dataloader == before.val_dataloader
    (data_root / 'test.txt').touch()
    after, _ = resolve()
    assert after.test_dataloader.dataset.ann_file == 'test.txt'
    assert after.test_dataloader.dataset.data_prefix == 'test_set'
    assert after.val_dataloader.dataset.ann_file == 'val.txt'
    assert after.test_evaluator == after.val_evaluator and after.test_cfg == {}


def test_wrapped_datasets_are_reached(resolve):
    inner = dict(type='ImageFolder', ann_file='train.txt', data_prefix='training_set', pipeline=[])
    cfg, _ = resolve(**{'train_dataloader.dataset': dict(type='RepeatDataset', times=2, dataset=inner)})
    assert cfg.train_dataloader.dataset.dataset.metainfo.classes == CLASSES
    assert 'metainfo' not in {key for key in cfg.train_dataloader.dataset if key != 'dataset'}


def test_loaders_are_completed(resolve):
    cfg, _ = resolve(**{'val_dataloader.num_workers': 0, 'val_dataloader.persistent_workers': True})
    assert cfg.train_dataloader.collate_fn == dict(type='default_collate')
    assert cfg.train_dataloader.persistent_workers is True
    assert cfg.val_dataloader.persistent_workers is False  # torch refuses True without workers


@pytest.mark.parametrize('topk, kept', [((1, 5), (1,)), ((1, 4), (1, 4)), (5, (1,)), ((5, 9), (1,)), (1, 1)])
def test_top_k_of_all_classes_is_dropped(resolve, topk, kept):
    cfg, notes = resolve(**{'model.head.topk': topk, 'val_evaluator.0.topk': topk})
    assert cfg.model.head.topk == cfg.val_evaluator[0].topk == cfg.test_evaluator[0].topk == kept
    assert bool(notes) == (topk != kept)


def test_a_layer_in_the_backbone_gets_the_number_of_classes(inherit):
    cfg, _ = inherit(base='vgg/vgg11_8xb32_in1k.py')
    assert cfg.model.backbone.num_classes == 5
    assert cfg.model.head.type == 'ClsHead' and 'num_classes' not in cfg.model.head


def test_a_custom_dataset_keeps_the_list_it_names(inherit):
    cfg, _ = inherit(dataset("type='CustomDataset', ann_file='folds/fold_0_train.txt', data_prefix='', pipeline=[]"))
    kept = cfg.train_dataloader.dataset
    assert (kept.type, kept.ann_file, kept.data_prefix) == ('ImageFolder', 'folds/fold_0_train.txt', '')


# ---------------------------------------------------------------- class weights

LABELS = [0] * 7 + [1] * 2 + [2] * 5 + [3] + [4] * 5


@pytest.fixture
def unequal(make_root):
    """A prepared folder whose training list has photos."""
    return make_root('unequal', labels=LABELS)


@pytest.fixture
def balanced(unequal, resolve):
    return lambda **more: resolve(**{'data_root': str(unequal), 'model.head.loss.class_weight': 'balanced', **more})


def test_balanced_weights_are_those_of_scikit_learn(balanced):
    cfg, notes = balanced()
    weights = cfg.model.head.loss.class_weight
    assert weights == pytest.approx([20 / 35, 2.0, 0.8, 4.0, 0.8])  # 20 photos / (5 classes x photos of the class)
    assert weights == pytest.approx(compute_class_weight('balanced', classes=np.arange(5), y=LABELS))
    assert np.mean([weights[label] for label in LABELS]) == pytest.approx(1.0)
    assert notes == []


def test_weights_written_down_stay_as_they_are(balanced, tmp_path):
    cfg, _ = balanced()
    again = copy.deepcopy(cfg)
    assert derive_config(again) == [] and again.to_dict() == cfg.to_dict()
    cfg.dump(tmp_path / 'config.py')
    assert load_config(tmp_path / 'config.py').to_dict() == cfg.to_dict()
    assert all(type(weight) is float for weight in cfg.model.head.loss.class_weight)


def test_the_list_that_the_training_set_reads_counts(balanced, unequal, make_root):
    (make_root('equal', labels=range(5)) / 'train.txt').rename(unequal / 'few.txt')
    cfg, _ = balanced(**{'train_dataloader.dataset.ann_file': 'few.txt'})
    assert cfg.model.head.loss.class_weight == [1.0] * 5


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'model.head.loss': dict(type='FocalLoss', class_weight='balanced')}, 'FocalLoss takes no class weights. Fix'),
        ({'model.head.loss.class_weight': [1.0, 2.0]}, 'has 2 numbers, there are 5 classes'),
    ],
)
def test_weights_that_cannot_be_used_are_refused(balanced, changes, message):
    with pytest.raises(ConfigError, match=message):
        balanced(**changes)


def test_a_class_without_photos_is_refused(balanced, make_root):
    root = make_root('without roses', labels=[0, 1, 3, 4])
    with pytest.raises(DataError, match='no photo of rose in the training list.*Fix'):
        balanced(data_root=str(root))


def test_both_remedies_at_once_are_told(balanced):
    _, notes = balanced(**{'train_dataloader.sampler.balanced': True})
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


@pytest.mark.parametrize(('weights', 'moved'), [(None, [1.0] * 5), ([1.0, 2.0, 3.0, 4.0, 5.0],) * 2])
def test_balanced_weights_follow_a_resolved_config_to_another_folder(balanced, make_root, tmp_path, weights, moved):
    cfg, _ = balanced()
    if weights:  # the user's own, which stay
        cfg.model.head.loss.class_weight = weights
    cfg.dump(tmp_path / 'config.py')
    cfg, _ = resolve_config(tmp_path / 'config.py', {'data_root': str(make_root('equal', labels=range(5)))})
    assert cfg.model.head.loss.class_weight == pytest.approx(moved)
