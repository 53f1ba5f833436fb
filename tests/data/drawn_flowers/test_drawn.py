"""Drawn flowers: the same every time, and told apart by shape, not by colour."""

import json

import imagehash
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowercls.core.errors import ConfigError, DiskError
from flowercls.data.drawn_flowers.drawn import draw_flower, draw_flowers, ensure_drawn, prepare_drawn

SPECIES = ['daisy', 'dandelion', 'rose', 'sunflower', 'tulip']


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp('drawn') / 'raw'
    draw_flowers(folder, num_per_class=60)
    return folder


@pytest.fixture(scope='module')
def photos(raw):
    return [(Image.open(path).convert('RGB'), path.parent.name) for path in sorted(raw.glob('*/*.jpg'))]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def accuracy(features, labels):
    """Mean percentage of right answers of a logistic regression in five-fold cross-validation."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return 100 * cross_val_score(model, np.stack(features), labels, cv=folds).mean()


def colour_histogram(photo, mode):
    counts, _ = np.histogramdd(np.asarray(photo.convert(mode)).reshape(-1, 3), bins=8, range=[(0, 256)] * 3)
    return np.sqrt(counts.ravel() / counts.sum())  # the root tells more than the share itself


def edge_directions(photo):
    """Shares of edge directions in the cells of a 4 x 4 grid of the grey photo: shape without colour."""
    grey = np.asarray(photo.convert('L').resize((64, 64)), np.float64)
    down, right = np.gradient(grey)
    direction = ((np.arctan2(down, right) % np.pi) / np.pi * 8).astype(int) % 8
    row, column = np.indices(grey.shape) // 16
    cells = np.bincount(((row * 4 + column) * 8 + direction).ravel(), np.hypot(down, right).ravel(), minlength=128)
    return np.sqrt(cells / cells.sum())


def test_there_is_a_folder_of_numbered_photos_for_each_species(raw):
    assert sorted(path.name for path in raw.iterdir()) == SPECIES
    for species in SPECIES:
        assert sorted(path.name for path in (raw / species).iterdir()) == [f'{species}_{i:04d}.jpg' for i in range(60)]


def test_the_same_seed_draws_the_same_bytes_and_another_seed_none_of_them(tmp_path):
    for name, seed in (('first', 0), ('again', 0), ('other', 1)):
        draw_flowers(tmp_path / name, num_per_class=3, seed=seed)
    first = contents(tmp_path / 'first')
    assert contents(tmp_path / 'again') == first
    other = contents(tmp_path / 'other')
    assert other.keys() == first.keys()
    assert not set(other.values()) & set(first.values())


def test_a_photo_does_not_depend_on_how_many_are_drawn(raw, tmp_path):
    draw_flowers(tmp_path, num_per_class=2)
    many = contents(raw)
    assert all(many[name] == content for name, content in contents(tmp_path).items())


def test_sizes_and_proportions_vary_around_the_one_asked_for(photos):
    sizes = [photo.size for photo, _ in photos]
    assert len(set(sizes)) > 100
    wide = sum(width > height for width, height in sizes)
    assert 0.3 < wide / len(sizes) < 0.7
    assert all(0.85 * 96 <= min(size) <= 1.2 * 96 and max(size) <= 1.5 * min(size) + 1 for size in sizes)


def test_another_size_is_drawn_when_asked_for(tmp_path):
    draw_flowers(tmp_path, num_per_class=1, image_size=40)
    assert all(34 <= min(Image.open(path).size) <= 48 for path in tmp_path.glob('*/*.jpg'))


def test_one_flower_has_exactly_the_size_asked_for():
    assert draw_flower('rose', np.random.default_rng(0), 50, 33).size == (50, 33)


def test_no_two_photos_are_near_duplicates(photos):
    hashes = np.array([imagehash.dhash(photo).hash.ravel() for photo, _ in photos])
    distance = (hashes[:, None] != hashes[None]).sum(axis=-1)
    closest = distance[np.triu_indices(len(hashes), k=1)].min()
    assert closest > 4, 'prepare would put them into one group'


def test_shape_tells_the_species_and_colour_does_not(photos):
    labels = [species for _, species in photos]
    by_shape = accuracy([edge_directions(photo) for photo, _ in photos], labels)
    by_colour = max(accuracy([colour_histogram(photo, mode) for photo, _ in photos], labels) for mode in ('RGB', 'HSV'))
    assert by_colour <= 70
    assert by_shape > max(75, by_colour + 15)


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Image.Image, 'save', full)
    with pytest.raises(DiskError, match='daisy.*disk is full'):
        draw_flowers(tmp_path / 'raw', num_per_class=1)


def manifest_of(folder):
    return json.loads((folder / 'manifest.json').read_text())


def test_how_flowers_were_drawn_is_recorded_and_nothing_of_photos_that_were_not(tmp_path, drawn_root):
    drawing = {'num_per_class': 3, 'image_size': 16, 'seed': 5}
    prepare_drawn(tmp_path / 'flower', drawing, workers=0)
    assert manifest_of(tmp_path / 'flower')['drawn'] == drawing
    assert 'drawn' not in manifest_of(drawn_root)


@pytest.mark.parametrize('manifest', ['[]', 'null', '{"drawn": 3}', '{"drawn": {}}', '{', '{"drawn": null}'])
def test_a_manifest_of_something_else_is_left_to_its_reader(tmp_path, manifest):
    (tmp_path / 'manifest.json').write_text(manifest)
    assert ensure_drawn(str(tmp_path), {}) == str(tmp_path)


def test_nothing_is_drawn_for_a_folder_that_is_taken(tmp_path, monkeypatch):
    (tmp_path / 'mine.jpg').write_bytes(b'mine')
    monkeypatch.setattr(
        'flowercls.data.drawn_flowers.drawn.draw_flowers', lambda *_, **__: pytest.fail('flowers were drawn')
    )
    with pytest.raises(ConfigError, match='is there already'):
        prepare_drawn(tmp_path)
