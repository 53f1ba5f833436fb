"""A checkpoint in use gives the run's own scores; its facts travel."""

import json
import os
import shlex
import shutil

import numpy as np
import pytest
import torch

from flowercls.core.errors import DataError
from flowercls.core.layout import COMMAND_FILE
from flowercls.data.decode import decode_rgb
from flowercls.evaluate.predictions import Predictions
from flowercls.use.load import load


@pytest.fixture(scope='module')
def model(trained_run):
    return load(trained_run[1])


@pytest.fixture(scope='module')
def photos(drawn_root):
    return sorted((drawn_root / 'val_set').rglob('*.jpg'))


def test_validation_photos_get_the_scores_of_the_run_bit_for_bit(model, trained_run, drawn_root):
    recorded = Predictions.read_csv(trained_run[1] / 'predictions_val.csv')
    scores = model.scores(decode_rgb(drawn_root / 'val_set' / image) for image in recorded.images)
    assert scores.dtype == np.float32 and np.array_equal(scores, recorded.scores)


def test_photos_larger_than_the_photo_cache_are_shrunk_as_in_the_run(model):
    from flowercls.data.transforms import shrunk

    large = np.random.default_rng(0).integers(0, 256, (700, 500, 3), np.uint8)
    assert torch.equal(model.prepare(large), model.prepare(shrunk(large, 256)))
    assert model.cache_size == 256


def test_the_photos_of_the_run_are_found_also_where_the_folder_moved(model, drawn_root, photos, tmp_path):
    found = model.photos_of('val')
    assert [path for path, _ in found] == photos
    assert [model.class_names[label] for _, label in found] == [path.parent.name for path in photos]
    (tmp_path / 'moved').symlink_to(drawn_root)
    assert len(model.photos_of('train', tmp_path / 'moved')) == len(list((drawn_root / 'training_set').rglob('*.jpg')))
    with pytest.raises(DataError, match='prepare_data'):
        model.photos_of('val', tmp_path)


def test_features_are_the_input_of_the_last_layer(model, photos):
    prepared = [model.prepare(decode_rgb(photo)) for photo in photos[:3]]
    features = model.features(prepared)
    head = model.network.head.fc
    logits = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert features.shape == (3, 128) and np.allclose(scores, model.classify(prepared), atol=1e-5)


def test_precision_can_be_chosen(trained_run, model):
    assert (model.network.precision, load(trained_run[1], precision='bf16').network.precision) == ('fp32', 'bf16')


def test_facts_are_plain_and_name_no_folder_of_the_machine(model, trained_run):
    text = json.dumps(model.facts, allow_nan=False)
    assert str(trained_run[1].parent) not in text
    assert model.facts['figures']['n'] == 15 and model.facts['training']['epochs'] == 2
    assert (
        model.facts['sha256'] == json.loads((model.source.parent / f'{model.source.name}.json').read_text())['sha256']
    )


def test_the_command_in_the_facts_has_no_folders(trained_run, tmp_path):
    folder = shutil.copytree(trained_run[1], tmp_path / 'run')
    words = [
        '/opt/a b/python',
        'x.py',
        "a=['/home/me/w 1.pth', 2]",
        'b=[/home/me/x,/home/me/y]',
        "c={'d': 'C:\\\\me\\\\z'}",
    ]
    (folder / COMMAND_FILE).write_text(shlex.join([*words, '--work-dir=~/me/run', 'lr=1e-3']))
    command = shlex.split(load(folder).facts['training']['command'])
    assert command == ['python', 'x.py', "a=['w 1.pth', 2]", 'b=[x,y]', "c={'d': 'z'}", '--work-dir=run', 'lr=1e-3']


def test_a_run_folder_whose_name_is_no_text_has_facts_that_are(trained_run, tmp_path):
    folder = tmp_path / os.fsdecode(b'caf\xe9')
    try:
        shutil.copytree(trained_run[1], folder)
    except OSError:
        pytest.skip('the disk takes no such names')
    facts = load(folder).facts
    assert facts['name'] == 'caf?' and json.dumps(facts, ensure_ascii=False).encode()


def test_a_photo_may_be_a_path_an_image_or_pixels(model, photos):
    from PIL import Image

    path = photos[0]
    rgb = decode_rgb(path)
    answers = model.predict([path, str(path), Image.open(path), rgb])
    assert {tuple(answer.scores.values()) for answer in answers} == {tuple(model.predict(path).scores.values())}
    grey = model.predict([rgb[:, :, 0], np.repeat(rgb[:, :, :1], 3, axis=2)])
    assert grey[0].scores == grey[1].scores


def test_pixels_may_be_read_only_or_a_view(model, photos, recwarn):
    rgb = np.tile(decode_rgb(photos[0]), (8, 8, 1))  # larger than the photo cache holds
    locked = rgb.copy()
    locked.flags.writeable = False
    assert model.predict(locked).scores == model.predict(rgb).scores == model.predict(rgb[::-1][::-1]).scores
    assert model.predict(rgb[..., ::-1]).scores == model.predict(rgb[..., ::-1].copy()).scores
    assert not [warning for warning in recwarn if 'writable' in str(warning.message)]


@pytest.mark.parametrize('thing', [None, 7])
def test_what_is_neither_a_photo_nor_several_is_refused(thing, model):
    with pytest.raises(DataError, match='is no photo.*Fix: '):
        model.predict(thing)


@pytest.mark.parametrize(
    'thing',
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 7, torch.zeros(3, 4, 4)],
    ids=['floats', 'four channels', 'empty', 'number', 'tensor'],
)
def test_what_is_no_photo_is_refused(thing, model):
    with pytest.raises(DataError, match='is no photo.*Fix: '):
        model.predict([thing])


def test_a_strip_that_would_be_scaled_up_to_gigabytes_is_refused(model, tmp_path):
    from PIL import Image

    strip = Image.new('RGB', (2010, 10))
    strip.save(tmp_path / 'strip.png')
    for photo in (tmp_path / 'strip.png', strip, np.array(strip), np.array(strip)[:, :, 0]):
        with pytest.raises(DataError, match='too narrow.*Fix: '):
            model.predict(photo)
    assert model.predict(strip.crop((0, 0, 2000, 10))).image == ''


def test_an_image_that_a_phone_stored_sideways_is_turned(model, photos, tmp_path):
    from PIL import Image

    image = Image.open(photos[0]).resize((60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / 'a.png', exif=exif)
    assert model.predict(Image.open(tmp_path / 'a.png')).scores == model.predict(tmp_path / 'a.png').scores
