import cv2
import numpy as np
import pytest
import torch
from mmpretrain.datasets import PackInputs
from PIL import Image

from flowercls.core.errors import ConfigError
from flowercls.data.transforms import LoadImage, TorchvisionTransforms


@pytest.fixture
def photo(tmp_path):
    rgb = np.zeros((20, 30, 3), np.uint8)
    rgb[:, :15] = (250, 10, 20)
    rgb[:, 15:] = (5, 60, 200)
    Image.fromarray(rgb).save(tmp_path / 'p.png')
    return tmp_path / 'p.png', rgb


def test_images_are_bgr_as_opencv_reads_them(photo):
    path, rgb = photo
    results = LoadImage().transform(dict(img_path=str(path)))
    assert (results['img'] == cv2.imread(str(path))).all()
    assert results['img_shape'] == results['ori_shape'] == (20, 30)


def test_torchvision_transforms_see_rgb_and_give_bgr_back(photo):
    path, rgb = photo
    results = LoadImage().transform(dict(img_path=str(path)))
    grey = TorchvisionTransforms([dict(type='Grayscale', num_output_channels=3)]).transform(results)['img']
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B; on swapped channels it would be 33 instead of 83.
    assert grey[0, 0].tolist() == pytest.approx([0.299 * 250 + 0.587 * 10 + 0.114 * 20] * 3, abs=1)
    flip = TorchvisionTransforms([dict(type='RandomHorizontalFlip', p=1.0)])
    flipped = flip.transform(LoadImage().transform(dict(img_path=str(path))))
    assert (flipped['img'] == cv2.imread(str(path))[:, ::-1]).all()


def test_how_to_interpolate_is_given_by_name(photo):
    path, _ = photo
    colours = {}
    for name in ('nearest', 'bilinear'):
        turn = TorchvisionTransforms([dict(type='RandomRotation', degrees=(30, 30), interpolation=name)])
        turned = turn.transform(LoadImage().transform(dict(img_path=str(path))))['img']
        colours[name] = len(np.unique(turned.reshape(-1, 3), axis=0))
    assert colours['nearest'] == 3 < colours['bilinear']  # two halves and the border; bilinear mixes them
    with pytest.raises(ValueError, match='bilineer'):
        TorchvisionTransforms.build(dict(type='RandomRotation', degrees=30, interpolation='bilineer'))


@pytest.mark.parametrize('transforms', [None, 3, 'Resize', [3], dict(type='Resize')])
def test_transforms_are_a_list_of_dicts(transforms):
    with pytest.raises(ConfigError, match='list of dicts.*Fix'):
        TorchvisionTransforms(transforms)


def test_a_packed_photo_has_the_pixels_in_the_models_order(photo):
    path, rgb = photo
    results = LoadImage().transform(dict(img_path=str(path)))
    crop = TorchvisionTransforms([dict(type='CenterCrop', size=10)]).transform(results)
    packed = PackInputs().transform(crop)['inputs']
    assert crop['img_shape'] == (10, 10)
    assert torch.equal(packed, torch.from_numpy(rgb[5:15, 10:20, ::-1].copy()).permute(2, 0, 1))


def test_random_erasing_with_noise_meant_for_floats_is_refused():
    with pytest.raises(ConfigError, match='numbers around 0'):
        TorchvisionTransforms([dict(type='RandomErasing', value='random')])
    TorchvisionTransforms([dict(type='RandomErasing', value=[124, 116, 104])])
