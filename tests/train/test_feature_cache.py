"""Training on kept features: the same bits, computed once, shared, and never half written."""

import pytest
import torch

from flowercls.features.store import FeatureStore, _fingerprint
from flowercls.models.classifier import StagedClassifier

CACHED = """
model = dict(frozen_stages={frozen!r}, precision='{precision}')
feature_cache = {cache}
cache_dir = '{folder}'
"""


@pytest.fixture
def train(tmp_path, write_config, tool):
    """Train with some stages frozen; returns the final weights and the run folder."""

    def run(name, cache, frozen=2, precision='fp32', extra='', folder='cache', code=0):
        text = CACHED.format(frozen=frozen, precision=precision, cache=cache, folder=tmp_path / folder)
        config = write_config(tmp_path, text + extra, name=f'{name}.py')
        assert tool('train', config, '--work-dir', tmp_path / name) == code
        if code:
            return None, None
        return torch.load(tmp_path / name / 'epoch_2.pth')['state_dict'], tmp_path / name

    return run


@pytest.fixture
def computed(monkeypatch):
    """Counts the photos whose features are computed."""
    counts = []
    original = FeatureStore._fill

    def fill(self, building, batches, num_photos):
        counts.append(num_photos)
        return original(self, building, batches, num_photos)

    monkeypatch.setattr(FeatureStore, '_fill', fill)
    return counts


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(('frozen', 'precision'), [(3, 'bf16'), ('all', 'fp32')])
def test_with_all_views_the_run_is_the_uncached_one_bit_for_bit(train, computed, frozen, precision):
    plain, plain_folder = train('plain', 'dict(views=0)', frozen, precision)
    assert computed == []
    cached, folder = train('cached', "dict(views='all')", frozen, precision)
    assert computed == [15, 45, 45] and same(plain, cached)
    assert (folder / 'predictions_val.csv').read_text() == (plain_folder / 'predictions_val.csv').read_text()


def test_views_are_those_of_the_dataset(train, computed):
    plain, _ = train('plain', 'dict(views=0)', extra="train_dataloader['dataset'] = dict(views=1)\n")
    cached, _ = train('cached', 'dict(views=1)')
    assert computed == [15, 45]
    for name in plain:  # the second epoch has another order, so other batches
        torch.testing.assert_close(cached[name], plain[name], rtol=1e-3, atol=1e-5)


def test_runs_share_what_they_have_in_common(train, computed):
    first, _ = train('first', 'dict(views=2)')
    assert computed == [15, 45, 45]
    again, _ = train('again', 'dict(views=2)')
    assert same(first, again)
    train('rate', 'dict(views=2)', extra='optim_wrapper = dict(optimizer=dict(lr=0.1))\n')
    train('fewer', 'dict(views=1)')
    assert computed == [15, 45, 45]
    train('seed', 'dict(views=1)', extra='randomness = dict(seed=1)\n')
    assert computed[3:] == [15, 45]  # another seed: other random starting weights, and other views
    train('deeper', 'dict(views=1)', frozen=3)
    assert computed[5:] == [15, 45]
    train('darker', 'dict(views=1)', extra='data_preprocessor = dict(mean=[9.0, 9.0, 9.0])\n')
    assert computed[7:] == [15, 45]


def test_balanced_classes_have_features_too(train, computed):
    extra = "train_dataloader['sampler'] = dict(balanced=True)\n"
    plain, _ = train('plain', 'dict(views=0)', extra=extra)
    cached, _ = train('cached', "dict(views='all')", extra=extra)
    assert same(plain, cached)
    train('views', 'dict(views=1)', extra=extra)


def test_the_last_batch_is_left_out_of_kept_features_too(train):
    drop = "train_dataloader['drop_last'] = True\n"
    plain, _ = train('plain', 'dict(views=0)', extra=drop)
    kept, _ = train('kept', "dict(views='all')", extra=drop)
    assert same(plain, kept)


def test_settings_that_are_no_weights_make_other_features(train, computed):
    model = StagedClassifier(
        dict(type='mmpretrain.VisionTransformer', arch='deit-t', img_size=32, patch_size=16),
        head=dict(type='mmpretrain.VisionTransformerClsHead', num_classes=2, in_channels=192),
        frozen_stages=1,
    )
    before = _fingerprint(model)
    assert _fingerprint(model) == before
    model.backbone.interpolate_mode = 'bilinear'
    assert _fingerprint(model) != before


def test_above_the_budget_nothing_is_kept(train, computed, capsys, tmp_path):
    plain, _ = train('plain', 'dict(views=0)')
    found, _ = train('small', "dict(views='all', budget='100KB')")
    assert same(plain, found) and computed == [] and not list((tmp_path / 'cache').glob('features*'))
    assert 'more than feature_cache.budget (0.10 MB)' in capsys.readouterr().out


def test_where_the_disk_is_nearly_full_nothing_is_kept(train, computed, capsys, monkeypatch):
    plain, _ = train('plain', 'dict(views=0)')
    monkeypatch.setattr(FeatureStore, 'bytes_free', lambda store: 100_000)
    found, _ = train('small', "dict(views='all')")
    assert same(plain, found) and computed == []
    assert 'more than half of the 0.10 MB free in' in capsys.readouterr().out


def test_less_precise_features_are_close(train):
    plain, _ = train('plain', 'dict(views=0)')
    cached, _ = train('cached', "dict(views='all', dtype='bf16')")
    assert not same(plain, cached)
    for name in plain:
        torch.testing.assert_close(cached[name], plain[name], rtol=0.1, atol=0.02)


def test_mixed_photos_cannot_be_kept(train, capsys):
    extra = "model['train_cfg'] = dict(augments=dict(type='Mixup', alpha=0.2))\n"
    train('mixed', 'dict(views=1)', extra=extra, code=2)
    assert 'feature_cache keeps the features of single photos' in capsys.readouterr().err


def test_resumed_runs_find_their_features(train, tool, tmp_path, computed):
    through, _ = train('through', "dict(views='all')")
    # What a run leaves that was interrupted after its first epoch.
    (tmp_path / 'stopped').mkdir()
    for path in (tmp_path / 'through').glob('*'):
        if path.is_file() and 'epoch_2' not in path.name:
            (tmp_path / 'stopped' / path.name).write_bytes(path.read_bytes())
    (tmp_path / 'stopped' / 'last_checkpoint').write_text(str(tmp_path / 'stopped' / 'epoch_1.pth'))
    resume = tmp_path / 'stopped' / 'epoch_1.pth'
    assert tool('train', tmp_path / 'through.py', '--work-dir', tmp_path / 'stopped', '--resume', resume) == 0
    assert computed == [15, 45, 45]
    assert same(through, torch.load(tmp_path / 'stopped' / 'epoch_2.pth')['state_dict'])


def test_a_run_does_not_go_on_with_other_bits_for_want_of_room(train, tool, tmp_path, capsys):
    train('lossy', "dict(views='all', dtype='bf16')")
    options = ('--cfg-options', 'train_cfg.max_epochs=3', 'feature_cache.budget=1KB')
    start = ('train', tmp_path / 'lossy.py', '--work-dir', tmp_path / 'lossy', '--resume', '--allow-config-change')
    assert tool(*start, *options) == 2
    assert 'begun with features kept as bf16' in capsys.readouterr().err
    assert tool(*start, *options[:-1]) == 0
