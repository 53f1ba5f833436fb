"""Whatever a config inherits, it trains on its prepared folder, and its photos go through the one decoder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowercls.config import load_config, resolve_config
from flowercls.core.errors import ConfigError, DataError

OURS = Path(__file__).parent.parent.parent / 'configs' / 'resnet50_flower.py'
PHOTO_DATASET = "type='StanfordCars', data_root='data/cars', split='train', pipeline=[dict(type='LoadImageFromFile')]"


@pytest.fixture
def inherit(write, data_root):
    """Resolve a config over one of mmpretrain's."""

    def resolve_child(text='', base='resnet/resnet18_8xb32_in1k.py'):
        return resolve_config(write(f"_base_ = ['mmpretrain::{base}']\ndata_root = {str(data_root)!r}\n{text}\n"))

    return resolve_child


# ---------------------------------------------------------------- datasets


def test_another_dataset_of_photos_gives_way_with_a_note(inherit, data_root):
    cfg, notes = inherit(f'train_dataloader = dict(dataset=dict(_delete_=True, {PHOTO_DATASET}))')
    dataset = cfg.train_dataloader.dataset
    assert (dataset.type, dataset.data_root, dataset.ann_file) == ('ImageFolder', str(data_root), 'train.txt')
    assert f'train_dataloader.dataset: StanfordCars replaced by ImageFolder on {data_root}.' in notes


@pytest.mark.parametrize(
    'base, name', [('resnet/resnet18_8xb16_cifar10.py', 'CIFAR10'), ('lenet/lenet5_mnist.py', 'MNIST')]
)
def test_a_dataset_whose_pipeline_needs_its_own_pictures_is_refused(inherit, base, name):
    with pytest.raises(ConfigError, match=rf'(?s)train_dataloader\.dataset: {name} .*Fix: .*ImageFolder'):
        inherit(base=base)


def test_several_labels_a_photo_are_refused_inside_a_wrapper_too(inherit):
    inner = "dict(type='MultiLabelDataset', pipeline=[])"
    with pytest.raises(ConfigError, match=r'train_dataloader\.dataset\.dataset: MultiLabelDataset'):
        inherit(f"train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=2, dataset={inner}))")


def test_a_misspelt_dataset_is_answered_with_the_nearest_name(inherit):
    with pytest.raises(ConfigError, match=r"ImageFoldr \(did you mean 'ImageFolder'\?\)"):
        inherit("train_dataloader = dict(dataset=dict(type='ImageFoldr'))")


@pytest.mark.parametrize(
    'text, said',
    [
        ('dataset=dict(views=0)', 'dataset.views: expected a whole number of at least 1, or None.*got 0'),
        ("sampler=dict(balanced='yes')", "sampler.balanced: expected True or False, got 'yes'"),
    ],
)
def test_views_and_balance_that_cannot_be_are_refused(inherit, text, said):
    with pytest.raises(ConfigError, match=f'train_dataloader.{said}'):
        inherit(f'train_dataloader = dict({text})')


# ---------------------------------------------------------------- another prepared folder for a resolved config


@pytest.fixture
def resolved(write, data_root):
    """A resolved config, as a run folder holds it."""
    base = "_base_ = ['mmpretrain::resnet/resnet18_8xb32_in1k.py']"
    cfg, _ = resolve_config(write(f'{base}\ndata_root = {str(data_root)!r}'))
    cfg.dump('config.py')
    return 'config.py'


@pytest.fixture
def other_root(tmp_path):
    folder = tmp_path / 'other folder'
    folder.mkdir()
    for name in ('train.txt', 'val.txt', 'test.txt'):
        (folder / name).touch()
    (folder / 'classes.txt').write_text('oak\nelm\n')
    return folder


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
    said = 'LoadImageFromFile replaced by LoadImage, the one decoder of all tools'
    assert f'train_dataloader.dataset.pipeline.0: {said}.' in notes
    assert f'tta_pipeline.0: {said}, without to_float32.' in notes


def test_a_decoder_that_leaves_colour_out_is_refused(inherit):
    pipeline = "[dict(type='LoadImageFromFile', color_type='grayscale'), dict(type='PackInputs')]"
    with pytest.raises(ConfigError, match=r"pipeline\.0\.color_type='grayscale'.*Fix: .*Grayscale"):
        inherit(f'train_dataloader = dict(dataset=dict(pipeline={pipeline}))')


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


def test_views_under_a_wrapper_that_hides_the_epoch_are_refused(inherit):
    wrapped = (
        "dict(_delete_=True, type='RepeatDataset', times=2, dataset=dict(type='ImageFolder', views=1, pipeline=[]))"
    )
    with pytest.raises(ConfigError, match='views=1: RepeatDataset hides the epoch'):
        inherit(f'train_dataloader = dict(dataset={wrapped})')


# ---------------------------------------------------------------- the test set, and folds


def test_single_keys_of_a_test_loader_are_laid_over_the_one_that_is_derived(data_root):
    overrides = {'data_root': str(data_root), 'test_dataloader.batch_size': 2, 'test_dataloader.num_workers': 0}
    cfg, notes = resolve_config(OURS, overrides)
    assert (cfg.test_dataloader.batch_size, cfg.test_dataloader.persistent_workers) == (2, False)
    assert cfg.test_dataloader.dataset == cfg.val_dataloader.dataset and notes == []
    assert cfg.val_dataloader.batch_size == 64


def test_the_lists_of_a_fold_need_no_prefix(data_root):
    names = {f'{split}_dataloader.dataset.ann_file': f'folds/fold_0_{split}.txt' for split in ('train', 'val')}
    cfg, _ = resolve_config(OURS, {'data_root': str(data_root), **names})
    for split in ('train', 'val'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.ann_file, dataset.data_prefix) == (f'folds/fold_0_{split}.txt', '')
