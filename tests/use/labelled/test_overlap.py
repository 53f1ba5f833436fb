"""Photos of a test that a model has seen are found by their bytes, whatever they are called."""

import hashlib
import json
import re

import pytest

from flowercls.core.prepared_folder import manifest_hash
from flowercls.use.labelled.overlap import find_data, seen_photos
from flowercls.use.model import Model
from flowercls.use.photos import Photos


def digest(content):
    return hashlib.sha256(content.encode()).hexdigest()


class Trained(Model):
    """A model that knows what it was trained on."""

    def __init__(self, source, data_root, manifest, checkpoint='best_accuracy_top1_epoch_3.pth', lists=None):
        self.source, self.data_root, self.lists = source, data_root, lists or {}
        name = None if data_root else 'flower'  # an export
        self.facts = {'checkpoint': checkpoint, 'training': {'data_manifest': manifest, 'data': name}}

    def photos_of(self, split, data_root=None):
        return [(data_root / name, 0) for name in self.lists.get(split, [])]


@pytest.fixture
def prepared(tmp_path):
    """A prepared folder: b.jpg was converted, so its bytes are others than those of the raw file."""
    root = tmp_path / 'project' / 'data' / 'flower'
    root.mkdir(parents=True)
    rows = [('training_set/rose/a.jpg', 'a', 'a'), ('training_set/rose/b.jpg', 'raw b', 'b'),
            ('val_set/rose/c.jpg', 'raw c', 'c'), ('test_set/rose/d.jpg', 'd', 'd')]  # fmt: skip
    images = [{'file': file, 'raw_sha256': digest(raw), 'sha256': digest(own)} for file, raw, own in rows]
    (root / 'manifest.json').write_text(json.dumps({'images': images}))
    return root


@pytest.fixture
def model(prepared, monkeypatch):
    monkeypatch.chdir(prepared.parent.parent)
    return Trained(prepared.parent.parent / 'work_dirs/run/best.pth', 'data/flower', manifest_hash(prepared))


@pytest.fixture
def photos_in():
    """Write photos with these contents into a folder."""

    def make(folder, contents):
        folder.mkdir(parents=True, exist_ok=True)
        names = [f'{number}.jpg' for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            (folder / name).write_text(content)
        return Photos([folder / name for name in names], names, [()] * len(names))

    return make


def test_photos_are_told_by_both_hashes_whatever_their_names(model, tmp_path, photos_in):
    seen = seen_photos(model, tmp_path / 'x', photos_in(tmp_path / 'x', ['new', 'b', 'raw b', 'c', 'raw c', 'd', 'a']))
    assert (seen.trained_on, seen.chose_epoch, seen.unknown) == ([1, 2, 6], [3, 4], None)
    assert seen.all == {1, 2, 3, 4, 6}


def test_validation_photos_did_not_choose_the_last_epoch(model, tmp_path, photos_in):
    model.facts['checkpoint'] = 'epoch_3.pth'
    seen = seen_photos(model, tmp_path / 'x', photos_in(tmp_path / 'x', ['c', 'a']))
    assert (seen.trained_on, seen.chose_epoch) == ([1], [])


def test_what_a_config_lists_was_trained_on_whatever_the_sets_are(model, tmp_path, photos_in):
    """A fold of a cross-validation trains on photos of both sets."""
    model.lists = {'train': ['val_set/rose/c.jpg'], 'val': ['training_set/rose/a.jpg']}
    seen = seen_photos(model, tmp_path / 'x', photos_in(tmp_path / 'x', ['a', 'b', 'c']))
    assert (seen.trained_on, seen.chose_epoch) == ([2], [0])


@pytest.mark.parametrize('inside', ['', 'val_set', 'val_set/rose'])
def test_a_prepared_folder_tells_what_its_photos_were_made_from(model, tmp_path, photos_in, inside):
    """The same raw photos were prepared otherwise: the bytes are others, the raw files are the same."""
    other, name = tmp_path / 'other', 'val_set/rose/0.jpg'
    photos = photos_in(other / 'val_set/rose', ['b converted otherwise', 'new'])
    photos.images = [str(path.relative_to(other / inside)) for path in photos.paths]
    (other / 'manifest.json').write_text(json.dumps({'images': [{'file': name, 'raw_sha256': digest('raw b')}]}))
    assert seen_photos(model, other / 'new' / '..' / inside, photos).trained_on == [0]


def test_a_folder_with_a_manifest_of_nonsense_is_compared_by_its_own_bytes(model, tmp_path, photos_in):
    photos = photos_in(tmp_path / 'x', ['a', 'raw c'])
    (tmp_path / 'x' / 'manifest.json').write_text('{"images": 3}')
    seen = seen_photos(model, tmp_path / 'x', photos)
    assert (seen.trained_on, seen.chose_epoch) == ([0], [1])


def test_the_data_of_a_training_are_found_from_its_run_folder_too(model, prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digest = manifest_hash(prepared)
    assert find_data(model.source, 'data/flower', digest).samefile(prepared)
    assert find_data(model.source, 'flower', digest).samefile(prepared)  # all that an export knows
    assert find_data(model.source, '/home/someone/else/flower', digest).samefile(prepared)
    assert find_data(model.source, None, digest, prepared) == prepared
    for unknown in ('of another manifest', None):
        assert find_data(model.source, 'data/flower', unknown, prepared, tmp_path) is None


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda model, root: (root / 'manifest.json').unlink(), 'data/flower.*not found from here'),
        (lambda model, root: (root / 'manifest.json').write_text('{}'), 'has changed'),
        (lambda model, root: model.facts['training'].update(data_manifest=None), 'does not say'),
    ],
)
def test_what_cannot_be_checked_is_said(model, prepared, tmp_path, photos_in, change, words):

    change(model, prepared)
    seen = seen_photos(model, tmp_path / 'x', photos_in(tmp_path / 'x', ['a']))
    assert re.search(words, seen.unknown) and not seen.all
