"""The benchmark on a tiny network: its figures mean nothing there, but the clock, the ratios and the contestants do."""

import importlib
import io
import json

import pytest
from rich.console import Console

from flowercls.config.resolve import Flags
from flowercls.train.run_config import resolve_for_run
from flowercls.train.runner import build_runner

benchmark = importlib.import_module('flowercls.commands.benchmark')  # the package has a function of that name


class Time:
    """A clock that moves only when told to."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def phases(monkeypatch):
    """Train with steps of 2 s, after 1 s for data each; returns the phases that the clock has timed."""
    time = Time()
    monkeypatch.setattr(benchmark, 'time', time)

    def train(seconds):
        clock = benchmark.new_clock(seconds)
        with pytest.raises(benchmark.RoundOverError):
            while True:
                time.now += 1
                clock.before_train_iter(None, 0)
                time.now += 2
                clock.after_train_iter(None, 0, {'data_samples': [None] * 32})
        return clock.phases

    return train


@pytest.mark.parametrize(('seconds', 'steps'), [(0.5, benchmark.MIN_STEPS), (10, 4)])
def test_the_clock_times_the_first_step_and_a_whole_round(phases, seconds, steps):
    step = {'photos': 32, 'seconds': 3.0, 'waited': 1.0}
    assert phases(seconds) == [step, step, {key: steps * value for key, value in step.items()}]


def rounds(*rates, waited=0.0):
    starts = (2.5, 1.25, 1.0)
    return [
        {'first_step_s': start, 'photos': rate * 2, 'seconds': 2.0, 'waited': waited}
        for start, rate in zip(starts, rates, strict=False)
    ]


def test_ratios_are_medians_over_rounds_in_turns():
    case = benchmark.summarise(
        {'stock': rounds(1, 2, 4), 'ours': rounds(6, 8, 12, waited=0.1), 'bare': rounds(8, 8, 12)}
    )
    assert case['to_stock'] == 4.0 and case['to_bare'] == 1.0  # of 6, 4, 3 and 0.75, 1, 1
    out = io.StringIO()
    only_ours = benchmark.summarise({'ours': rounds(5)})
    Console(file=out, width=160).print(benchmark.as_table({'full': case, 'frozen 3': only_ours}))
    (line,) = [line for line in out.getvalue().splitlines() if 'full' in line]
    assert [cell.strip() for cell in line.strip('│').split('│')] == [
        'full', '2.0 (1.0-4.0)', '8.0 (6.0-12.0)', '8.0 (8.0-12.0)', '4.00', '1.00', '5.0 %', '2.5 s, 1.2 s',
    ]  # fmt: skip
    assert only_ours['to_stock'] is None and '5.0 (5.0-5.0)' in out.getvalue() and '2.5 s │' in out.getvalue()


@pytest.mark.parametrize('frozen', [0, 2, 'all'])
def test_stock_trains_the_same_parameters_on_the_same_photos(write_config, tmp_path, frozen):
    cfg = resolve_for_run(write_config(tmp_path), {'model.frozen_stages': frozen}, Flags(no_validate=True))
    cfg.work_dir = str(tmp_path / 'run')
    runners = [build_runner(cfg), benchmark.stock_runner(cfg)]
    trained, in_training, photos, batch_sizes = [], [], [], []
    for runner in runners:
        runner.model.train()
        runner.call_hook('before_train_epoch')
        trained.append([name for name, p in runner.model.named_parameters() if p.requires_grad])
        modules = [name for name, m in runner.model.named_modules() if m.training and name.startswith('backbone.')]
        in_training.append([name for name in modules if name.count('.') > 1])
        loader = runner.build_dataloader(runner._train_dataloader)
        infos = [loader.dataset.get_data_info(i) for i in range(len(loader.dataset))]
        photos.append(sorted(info['img_path'].rpartition('/')[2] for info in infos))
        batch_sizes.append(loader.batch_size)
    for ours, stock in (trained, in_training, photos, batch_sizes):
        assert ours == stock
    assert type(runners[1].model).__module__.startswith('mmpretrain.')


def test_ours_trains_on_cached_features(write_config, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, 'WARM_UP_S', 0)
    overrides = {
        **benchmark.ONLY_STEPS,
        'model.frozen_stages': 2,
        'feature_cache.views': 1,
        'cache_dir': str(tmp_path / 'cache'),
    }
    cfg = resolve_for_run(write_config(tmp_path), overrides, Flags(no_validate=True))
    cfg.work_dir = str(tmp_path / 'run')
    with pytest.raises(benchmark.RoundOverError):
        benchmark.train_ours(cfg, benchmark.new_clock(seconds=0.01))
    assert list((tmp_path / 'cache').glob('features-*/*.npy'))


def test_mistakes_are_found_before_anything_is_measured(write_config, tool, tmp_path, capsys):
    config = write_config(tmp_path)
    assert tool('benchmark', config, '--cfg-options', 'optim_wrapper.optimiser.lr=1') == 2
    assert "'optimizer'" in capsys.readouterr().err
    assert tool('benchmark', config, '--repeats', 0) == 2
    (tmp_path / 'there.json').write_text('mine')
    assert tool('benchmark', config, '--out', tmp_path / 'there.json') == 2
    assert (tmp_path / 'there.json').read_text() == 'mine'


@pytest.mark.slow  # three processes, each of which imports torch and mmpretrain
def test_all_contestants_train(write_config, tool, tmp_path, capsys):
    options = ('--repeats', 1, '--seconds', 0.01, '--cases', 'frozen-all-cached')
    assert tool('benchmark', write_config(tmp_path), *options, '--out', tmp_path / 'figures.json') == 0
    figures = json.loads((tmp_path / 'figures.json').read_text())
    assert figures['hardware']['cores'] >= 1 and list(figures['cases']) == ['frozen all cached']
    case = figures['cases']['frozen all cached']
    assert list(case['contestants']) == ['stock', 'ours', 'bare']
    for contestant in case['contestants'].values():
        assert len(contestant['photos_per_s']) == 1 and contestant['median'] > 0
    assert case['to_stock'] > 0 and case['to_bare'] > 0
    assert 'frozen all cached' in capsys.readouterr().out
