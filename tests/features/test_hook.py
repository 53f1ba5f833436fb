"""Training on cached features: the same bits, computed once, and never too many for the disk."""

import pytest
import torch
from torch.utils.data import SequentialSampler

from flowercls.core.errors import ConfigError
from flowercls.features.hook import CachedFeatures
from flowercls.features.store import FeatureStore

DROP_LAST = "train_dataloader['drop_last'] = True\n"
BALANCED = "train_dataloader['sampler'] = dict(balanced=True)\n"


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ('frozen', 'precision', 'extra'),
    [pytest.param(3, 'bf16', '', marks=pytest.mark.slow), ('all', 'fp32', BALANCED), (2, 'fp32', DROP_LAST)],
)
def test_with_all_views_the_run_is_the_uncached_one_bit_for_bit(train, computed, tmp_path, frozen, precision, extra):
    plain = train('dict(views=0)', frozen, precision, extra, work_dir='plain')
    assert computed == []
    cached = train("dict(views='all')", frozen, precision, extra, work_dir='cached')
    assert computed == [15, 45, 45] and equal(plain, cached)
    predictions = [(tmp_path / run / 'predictions_val.csv').read_text() for run in ('plain', 'cached')]
    assert predictions[0] == predictions[1]


@pytest.mark.slow  # four trainings
def test_a_fixed_number_of_views_is_computed_once_and_shared_by_runs(train, computed):
    plain = train('dict(views=0)', extra="train_dataloader['dataset'] = dict(views=1)\n", work_dir='plain')
    cached = train('dict(views=1)')
    assert computed == [15, 45]
    for name in plain:  # the second epoch has another order, so other batches
        torch.testing.assert_close(cached[name], plain[name], rtol=1e-3, atol=1e-5)
    assert equal(train('dict(views=1)', work_dir='again'), cached)
    assert computed == [15, 45]


def test_lossy_features_are_close(train):
    plain = train('dict(views=0)', work_dir='plain')
    cached = train("dict(views='all', dtype='bf16')")
    assert not equal(plain, cached)
    for name in plain:
        torch.testing.assert_close(cached[name], plain[name], rtol=0.1, atol=0.02)


def test_above_the_budget_nothing_is_cached(train, computed, capsys, tmp_path):
    plain = train('dict(views=0)', work_dir='plain')
    assert equal(train("dict(views='all', budget='100KB')"), plain)
    assert computed == [] and not list((tmp_path / 'cache').glob('features*'))
    assert 'feature_cache.budget (0.10 MB)' in capsys.readouterr().out


def test_on_a_nearly_full_disk_nothing_is_cached(build, monkeypatch):
    runner = build('dict(views=1)', extra=BALANCED)
    features = CachedFeatures(runner, runner.cfg.feature_cache)
    assert features.obstacle() is None
    monkeypatch.setattr(FeatureStore, 'bytes_free', lambda store: 100_000)
    assert 'half of the 0.10 MB free' in features.obstacle()


def test_a_sampler_that_does_not_count_views_is_refused(build):
    runner = build('dict(views=1)')
    vars(runner.train_dataloader)['sampler'] = SequentialSampler(range(45))
    with pytest.raises(ConfigError, match='SequentialSampler'):
        CachedFeatures(runner, runner.cfg.feature_cache)


def test_a_resumed_run_finds_its_features(train, tmp_path, computed):
    through = train("dict(views='all')", work_dir='through')
    resumed = train("dict(views='all')", work_dir='resumed', resume_from=tmp_path / 'through' / 'epoch_1.pth')
    assert computed == [15, 45, 45] and equal(through, resumed)


def test_a_resumed_run_does_not_change_to_other_bits(train, tmp_path):
    train("dict(views='all', dtype='bf16')")
    resume = dict(work_dir='resumed', resume_from=tmp_path / 'run' / 'epoch_1.pth')
    with pytest.raises(ConfigError, match='cached as bf16'):
        train("dict(views='all', dtype='bf16', budget='1KB')", **resume)
    train("dict(views='all', dtype='bf16')", **resume)
