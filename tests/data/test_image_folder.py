import shutil

import pytest
import torchvision

from flowercls.core.errors import ConfigError, DataError
from flowercls.data.image_folder import ImageFolder
from flowercls.data.randomness import SampleKey
from flowercls.data.sampler import CounterSampler
from flowercls.data.transforms import LoadImage

PIPELINE = [
    dict(type='LoadImage'),
    dict(
        type='TorchvisionTransforms',
        transforms=[
            dict(type='RandomResizedCrop', size=32),
            dict(type='ColorJitter', hue=0.3),
            dict(type='RandomErasing'),
        ],
    ),
    dict(type='PackInputs'),
]


def dataset(root, ann_file='train.txt', data_prefix='training_set', **kwargs):
    return ImageFolder(data_root=str(root), ann_file=ann_file, data_prefix=data_prefix, **kwargs)


@pytest.fixture
def copy_of_drawn(drawn_root, tmp_path):
    return shutil.copytree(drawn_root, tmp_path / 'flower')


def test_samples_are_the_lines_of_the_annotation_file(drawn_root):
    data = dataset(drawn_root, 'val.txt', 'val_set')
    lines = (drawn_root / 'val.txt').read_text().splitlines()
    assert len(data) == len(lines) == 15
    for number, line in enumerate(lines):
        name, label = line.rsplit(' ', 1)
        info = data.get_data_info(number)
        assert info['img_path'] == str(drawn_root / 'val_set' / name) and info['gt_label'] == int(label)
    assert list(data.metainfo['classes']) == (drawn_root / 'classes.txt').read_text().split()


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('daisy/x.jpg 7', 'line 3: label 7'),
        ('daisy/x.jpg -1', 'line 3: label -1'),
        ('daisy/x.jpg', 'line 3.*<class>/<file>'),
        ('rose/x.jpg 0', 'line 3.*label 0, which is daisy'),
        ('../daisy/x.jpg 0', 'line 3.*leads out'),
        ('/etc/hostname 0', 'line 3.*leads out'),
        ('daisy/gone.jpg 0', '1 of 46 .*missing.*gone.jpg'),
    ],
)
def test_a_bad_line_is_named_before_any_photo_is_opened(copy_of_drawn, line, said):
    lines = (copy_of_drawn / 'train.txt').read_text().splitlines()
    (copy_of_drawn / 'train.txt').write_text('\n'.join([*lines[:2], line, *lines[2:]]) + '\n')
    with pytest.raises(DataError, match=said):
        dataset(copy_of_drawn)


def test_annotations_may_carry_a_byte_order_mark_and_windows_line_ends(copy_of_drawn):
    text = (copy_of_drawn / 'train.txt').read_text()
    (copy_of_drawn / 'train.txt').write_bytes(b'\xef\xbb\xbf' + text.replace('\n', '\r\n').encode())
    assert len(dataset(copy_of_drawn)) == 45


def test_blank_lines_in_the_list_of_classes_do_not_matter(copy_of_drawn):
    path = copy_of_drawn / 'classes.txt'
    path.write_text(path.read_text() + '\n')
    assert len(dataset(copy_of_drawn).metainfo['classes']) == 5


def test_classes_in_another_order_are_refused(drawn_root):
    classes = (drawn_root / 'classes.txt').read_text().split()
    with pytest.raises(DataError, match='expects tulip, sunflower'):
        dataset(drawn_root, metainfo=dict(classes=classes[::-1]))


def test_missing_and_empty_annotations_say_how_to_prepare_again(copy_of_drawn):
    (copy_of_drawn / 'train.txt').write_text('')
    with pytest.raises(DataError, match='no photos listed.*prepare_data.py'):
        dataset(copy_of_drawn)
    (copy_of_drawn / 'train.txt').unlink()
    with pytest.raises(DataError, match='no such file.*prepare_data.py'):
        dataset(copy_of_drawn)


def inputs(data, epoch, seed=0):
    sampler = CounterSampler(data, seed=seed)
    sampler.set_epoch(epoch)
    samples = [data[key] for key in sampler]
    return [(sample['data_samples'].sample_idx, sample['inputs']) for sample in samples]


@pytest.mark.parametrize('views', [1, 2])
def test_a_photo_has_as_many_views_as_asked_for_in_turn(drawn_root, views):
    data = dataset(drawn_root, pipeline=PIPELINE, views=views)
    free = dataset(drawn_root, pipeline=PIPELINE)
    epochs = [inputs(data, epoch) for epoch in range(4)]
    assert [number for number, _ in epochs[0]] != [number for number, _ in epochs[1]]  # the order is another each epoch
    seen = [dict(epoch) for epoch in epochs]
    for number in range(45):
        shown = [epoch[number] for epoch in seen]
        assert all((shown[epoch] == shown[epoch % views]).all() for epoch in range(4))
        assert views == 1 or (shown[0] != shown[1]).any()
    for view in range(views):  # the first views of the endless row that there is without a limit
        assert (free[SampleKey(9, 0, view)]['inputs'] == seen[view][9]).all()


@pytest.mark.parametrize('views', [0, -1, 1.5, True, '2'])
def test_a_number_of_views_that_cannot_be_is_refused(drawn_root, views):
    with pytest.raises(ConfigError, match=f'views={views!r}.*Fix'):
        dataset(drawn_root, views=views)


def test_augmentation_of_a_photo_does_not_depend_on_the_others(drawn_root):
    data = dataset(drawn_root, pipeline=PIPELINE)
    in_epoch = dict(inputs(data, epoch=2, seed=4))
    assert (data[SampleKey(7, seed=4, epoch=2)]['inputs'] == in_epoch[7]).all()
    assert (data[SampleKey(7, seed=5, epoch=2)]['inputs'] != in_epoch[7]).any()
    assert (data[SampleKey(7, seed=4, epoch=2, occurrence=1)]['inputs'] != in_epoch[7]).any()


def test_torchvision_reads_the_prepared_sets_with_the_same_classes(drawn_root):
    for folder, ann_file in (('training_set', 'train.txt'), ('val_set', 'val.txt')):
        theirs = torchvision.datasets.ImageFolder(drawn_root / folder)
        ours = dataset(drawn_root, ann_file, folder)
        assert theirs.classes == list(ours.metainfo['classes'])
        expected = sorted(
            (ours.get_data_info(i)['img_path'], ours.get_data_info(i)['gt_label']) for i in range(len(ours))
        )
        assert sorted(theirs.samples) == expected


def test_an_image_that_is_decoded_already_passes_through(drawn_root):
    photo = dataset(drawn_root, pipeline=[dict(type='LoadImage')])[0]
    again = LoadImage().transform(dict(img=photo['img'].copy()))
    assert (again['img'] == photo['img']).all() and again['img_shape'] == photo['img'].shape[:2]
