"""Measure how fast a config trains: mmpretrain's own Runner, ours, and a bare loop, in turns."""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowercls.commands.shared import Overrides
from flowercls.core import signals
from flowercls.core.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.runner import Runner
    from rich.table import Table

EXAMPLES = (
    'configs/resnet50_flower.py --out benchmark.json',
    'configs/resnet50_flower.py --cases full frozen-3 --repeats 3',
)
# By name: `model.frozen_stages` and `feature_cache.views`. mmpretrain cannot cache features.
CASES = {'full': (0, 0), **{f'frozen-{n}': (n, 0) for n in (1, 2, 3, 'all')}}
CASES |= {f'frozen-{n}-cached': (n, 1) for n in (1, 2, 3, 'all')}
STOCK, OURS, BARE = CONTESTANTS = ('stock', 'ours', 'bare')
ONLY_STEPS = {'train_cfg.max_epochs': 100_000, 'default_hooks.checkpoint': None}
MIN_STEPS, WARM_UP_S = 3, 2.0  # of a round
TABLE_WIDTH = 150  # where the output is not a terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument('config', help='a config file')
    parser.add_argument('--repeats', type=int, default=5, help='rounds of each contestant (default: 5)')
    parser.add_argument('--out', metavar='FILE', help='a JSON file to write, with every round, versions and hardware')
    parser.add_argument('--cases', nargs='+', choices=CASES, metavar='CASE', help=f'of {", ".join(CASES)}')
    parser.add_argument('--contestants', nargs='+', choices=CONTESTANTS, help='default: all three')
    parser.add_argument('--seconds', type=float, default=8.0, help='shortest duration of a round (default: 8)')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='override config keys')


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, return the exit code."""
    from rich.console import Console

    arguments = {**vars(options), 'overrides': options.cfg_options}
    del arguments['cfg_options']
    Console(width=None if sys.stdout.isatty() else TABLE_WIDTH).print(benchmark(**arguments))
    return 0


def after_interruption(interruption: signals.Interrupted, options: argparse.Namespace) -> str:
    """Return what the user may do next."""
    return 'the case that was being measured is not in the file'


def benchmark(
    config: str | Path,
    *,
    repeats: int = 5,
    out: str | None = None,
    cases: Sequence[str] | None = None,
    contestants: Sequence[str] | None = None,
    seconds: float = 8.0,
    overrides: Overrides = (),
) -> 'Table':
    """Train with mmpretrain's own Runner, ours and a bare loop in turns, and compare photos per second.

    Args:
        config: Path of the config file.
        repeats: Rounds of each contestant.
        out: A JSON file to write, with every round, versions and hardware.
        cases: Names in `CASES`; None is all of them.
        contestants: Some of ``'stock'``, ``'ours'``, ``'bare'``; None is all.
        seconds: Shortest duration of a round, which has at least three steps.
        overrides: As ``--cfg-options``.

    Raises:
        ConfigError: if the config is wrong, ``out`` exists, or a number is out of range.
    """
    from flowercls.config.loader import find_config
    from flowercls.config.overrides import parse_overrides
    from flowercls.config.resolve import Flags
    from flowercls.core.files import write_json
    from flowercls.train.run_config import resolve_for_run
    from flowercls.train.run_dir import make_folder

    if repeats < 1 or seconds <= 0:
        numbers = f'--repeats {repeats} --seconds {seconds}'
        raise ConfigError(f'{numbers}: expected at least one round, longer than 0 s. Fix: give larger numbers.')
    if out is not None:
        if Path(out).exists():
            raise ConfigError(f'--out {out}: exists already. Fix: name another file, or remove this one.')
        make_folder(Path(out).absolute().parent)
    path, extra = str(find_config(config)), parse_overrides(overrides)
    resolve_for_run(path, extra, Flags(no_validate=True))  # a mistake shows here, before any process starts
    results: dict[str, dict] = {}
    for case in cases or CASES:
        results[case.replace('-', ' ')] = summarise(_measure(case, path, extra, contestants, repeats, seconds))
        if out is not None:
            write_json(out, {'config': str(config), 'overrides': extra, 'hardware': _hardware(), 'cases': results})
    return as_table(results)


def _measure(
    case: str, config: str, extra: dict, contestants: Sequence[str] | None, repeats: int, seconds: float
) -> dict[str, list[dict]]:
    """Return the rounds of each contestant. They take turns, so a slow moment of the machine meets all of them."""
    from concurrent.futures import ProcessPoolExecutor

    frozen, views = CASES[case]
    rounds: dict[str, list[dict]] = {name: [] for name in contestants or CONTESTANTS}
    with tempfile.TemporaryDirectory(prefix='flowercls-benchmark-') as cache:
        overrides = {**extra, **ONLY_STEPS, 'cache_dir': cache}
        overrides |= {'model.frozen_stages': frozen, 'feature_cache.views': views}
        for number, name in itertools.product(range(1, repeats + 1), rounds):
            with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:  # each round starts afresh
                try:
                    figures = pool.submit(time_round, name, config, overrides, seconds).result()
                except BaseException:  # a signal does not wait for the end of the round
                    for process in multiprocessing.active_children():
                        process.kill()
                    raise
            rounds[name].append(figures)
            rate = figures['photos'] / figures['seconds']
            print(f'{case}: round {number}/{repeats}, {name} {rate:.1f} photos/s', flush=True)
    return rounds


def time_round(name: str, config: str, overrides: dict, seconds: float) -> dict[str, float]:
    """Train as one contestant, in a process of its own.

    Args:
        name: One of `CONTESTANTS`.
        config: Path of the config file.
        overrides: Config keys with their values.
        seconds: Shortest duration of the round.

    Returns:
        ``first_step_s``, the seconds until the first step was done, without the imports; then of the timed steps
        ``photos``, ``seconds`` and ``waited``, the seconds between steps, which are spent on data.
    """
    if name == STOCK:
        os.environ['THP_MEM_ALLOC_ENABLE'] = '0'  # torch's default; importing flowercls.train sets 1
    warnings.simplefilter('ignore')

    from flowercls.config.resolve import Flags
    from flowercls.train.run_config import resolve_for_run

    with tempfile.TemporaryDirectory(prefix='flowercls-benchmark-') as folder, contextlib.redirect_stdout(None):
        cfg = resolve_for_run(config, {**overrides, 'work_dir': folder}, Flags(no_validate=True))
        clock = new_clock(seconds)
        try:
            {STOCK: train_stock, OURS: train_ours, BARE: train_bare}[name](cfg, clock)
        except RoundOverError:
            start, _, timed = clock.phases
    return {'first_step_s': start['seconds'], **timed}


class RoundOverError(Exception):
    """A contestant has trained for long enough."""


def new_clock(seconds: float) -> 'Hook':
    """Return a hook that times the steps of a training in three phases: the first step, a warm-up, a round.

    Its ``phases`` hold ``photos``, ``seconds`` and ``waited`` of each phase.

    Args:
        seconds: Shortest duration of the round.
    """
    import torch
    from mmengine.hooks import Hook

    class Clock(Hook):
        """Raises a `RoundOverError` at the end of the last phase."""

        priority = 'LOWEST'  # the work of all other hooks is part of the step
        limits = ((1, 0.0), (1, WARM_UP_S), (MIN_STEPS, seconds))  # fewest steps and seconds of each phase

        def __init__(self) -> None:
            self.phases: list[dict[str, float]] = []
            self._start_phase()

        def _start_phase(self) -> None:
            self.started = self.ended = time.perf_counter()
            self.steps, self.photos, self.waited = 0, 0, 0.0

        def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
            self.waited += time.perf_counter() - self.ended

        def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
            self.steps += 1
            self.photos += len(data_batch['data_samples'])
            self.ended = time.perf_counter()
            min_steps, min_seconds = self.limits[len(self.phases)]
            if self.steps < min_steps or self.ended - self.started < min_seconds:
                return
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds = time.perf_counter() - self.started
            self.phases.append({'photos': self.photos, 'seconds': seconds, 'waited': self.waited})
            if len(self.phases) == len(self.limits):
                raise RoundOverError
            self._start_phase()

    return Clock()


def train_ours(cfg: 'Config', clock: 'Hook') -> None:
    """Train as `flowercls.train.trainer` does, without its run folder."""
    from flowercls.features.hook import use_cached_features
    from flowercls.train.resume import RandomInit
    from flowercls.train.runner import build_runner, use_photo_cache

    runner = build_runner(cfg)
    use_photo_cache(runner)
    runner.register_hook(clock)
    runner.prepare(RandomInit())
    use_cached_features(runner, cfg.get('feature_cache'))
    runner.train()


def train_stock(cfg: 'Config', clock: 'Hook') -> None:
    """Train with mmpretrain's own Runner."""
    runner = stock_runner(cfg)
    runner.register_hook(clock)
    runner.train()


def stock_runner(cfg: 'Config') -> 'Runner':
    """Build the training of mmpretrain as its own train.py does, in float32, with its own classes and transforms.

    Args:
        cfg: Ours, resolved and checked. Photos, model, batch size, optimizer and ``work_dir`` are taken over. The
            modules that ``model.frozen_stages`` freezes are frozen as mmpretrain's backbones freeze theirs: without
            gradient, in evaluation mode.
    """
    import torch
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    from flowercls.models.freezing import frozen_modules, frozen_parameters
    from flowercls.models.stages import cut

    class KeepInEval(Hook):
        def before_train_epoch(self, runner) -> None:
            for module in frozen_modules(runner.model, stages, frozen):
                module.training = False

    ours, size, workers = cfg.train_dataloader, cfg.get('input_size', 224), cfg.train_dataloader.get('num_workers', 0)
    pipeline = [  # of mmpretrain's configs/_base_/datasets/imagenet_bs32.py
        {'type': 'LoadImageFromFile'},
        {'type': 'RandomResizedCrop', 'scale': size},
        {'type': 'RandomFlip', 'prob': 0.5, 'direction': 'horizontal'},
        {'type': 'PackInputs'},
    ]
    dataset = {'type': 'CustomDataset', 'data_root': cfg.data_root, 'with_label': True, 'pipeline': pipeline}
    dataset['data_prefix'] = ours.dataset.data_prefix
    loader = {'batch_size': ours.batch_size, 'num_workers': workers, 'persistent_workers': workers > 0}
    loader |= {'sampler': {'type': 'DefaultSampler', 'shuffle': True}, 'collate_fn': {'type': 'default_collate'}}
    model = {**cfg.model.to_dict(), 'type': 'ImageClassifier'}
    frozen, *_ = (model.pop(key, 0) for key in ('frozen_stages', 'precision', 'channels_last'))
    stock = {
        'default_scope': 'mmpretrain',
        'custom_imports': {'imports': ['flowercls.registration']},  # a torchvision backbone is ours
        'model': model,
        'data_preprocessor': cfg.data_preprocessor.to_dict(),
        'train_dataloader': {**loader, 'pin_memory': torch.cuda.is_available(), 'dataset': dataset},
        'train_cfg': cfg.train_cfg.to_dict(),
        'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': cfg.optim_wrapper.optimizer.to_dict()},
        # No checkpoints, as in ours; mmengine adds its other default hooks.
        'default_hooks': {'logger': {'type': 'LoggerHook', 'interval': 100}, 'checkpoint': None},
        'log_level': 'WARNING',
        'work_dir': cfg.work_dir,
    }
    runner = Runner.from_cfg(Config(stock))
    if frozen:
        stages = cut(runner.model.backbone)
        for parameter in frozen_parameters(runner.model, stages, frozen):
            parameter.requires_grad_(False)
        runner.register_hook(KeepInEval())
    return runner


def train_bare(cfg: 'Config', clock: 'Hook') -> None:
    """Train in a plain loop on one batch of random numbers: the upper bound of the speed.

    Precision, memory layout, batch size and optimizer come from ``cfg``. With a feature cache
    the batch is an output of the frozen stages.
    """
    import torch
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS
    from torch import nn

    from flowercls.train.optimizer import fused_options
    from flowercls.train.runner import set_num_threads

    set_num_threads()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(cfg.model)).to(device).train()
    size = cfg.get('input_size', 224)
    inputs = torch.randn(cfg.train_dataloader.batch_size, 3, size, size, device=device)
    if model.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if cfg.feature_cache.views:
        inputs = model.extract_frozen(inputs)
        model.accept_features()
    labels = torch.arange(len(inputs), device=device) % cfg.data_preprocessor.num_classes
    options = {**fused_options(cfg.optim_wrapper.optimizer), **cfg.optim_wrapper.optimizer}
    optimizer = getattr(torch.optim, options.pop('type'))([p for p in model.parameters() if p.requires_grad], **options)
    batch = {'data_samples': labels}
    for number in itertools.count():
        clock.before_train_iter(None, number)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        clock.after_train_iter(None, number, batch)


def summarise(rounds: dict[str, list[dict]]) -> dict[str, Any]:
    """Return the figures of one case, as in the JSON file.

    Args:
        rounds: By contestant, what `time_round` returned.

    Returns:
        ``contestants``: for each, photos per second of every round with median, lowest and highest, the median share of
        time spent waiting for data, and the seconds to the first step (``again_s``: in the second round, which finds
        the caches of the first).
        ``to_stock`` and ``to_bare``: medians of the ratios of rounds that ran one after the other; None without that
        contestant.
    """
    figures, rates = {}, {}
    for name, timed in rounds.items():
        rates[name] = [r['photos'] / r['seconds'] for r in timed]
        figures[name] = {
            'first_step_s': timed[0]['first_step_s'],
            'again_s': timed[1]['first_step_s'] if len(timed) > 1 else None,
            'photos_per_s': rates[name],
            'median': statistics.median(rates[name]),
            'lowest': min(rates[name]),
            'highest': max(rates[name]),
            'waiting': statistics.median(r['waited'] / r['seconds'] for r in timed),
        }
    ratios = {STOCK: None, BARE: None}
    for opponent in ratios.keys() & rates.keys() if OURS in rates else ():
        ratios[opponent] = statistics.median(a / b for a, b in zip(rates[OURS], rates[opponent], strict=True))
    return {'contestants': figures, 'to_stock': ratios[STOCK], 'to_bare': ratios[BARE]}


def as_table(cases: dict[str, dict]) -> 'Table':
    """Return the figures of all cases as a table for a terminal."""
    from rich.table import Table

    table = Table(caption='medians, in brackets lowest and highest; ratios are medians over rounds run in turns')
    for column in ('case', *CONTESTANTS, 'ours / stock', 'ours / bare', 'waiting', 'first step, then'):
        table.add_column(column, justify='left' if column == 'case' else 'right')
    for name, case in cases.items():
        row = [name]
        for contestant in CONTESTANTS:
            f = case['contestants'].get(contestant)
            row.append(f'{f["median"]:.1f} ({f["lowest"]:.1f}-{f["highest"]:.1f})' if f else '-')
        row += [f'{case[key]:.2f}' if case[key] else '-' for key in ('to_stock', 'to_bare')]
        if ours := case['contestants'].get(OURS):
            again = '' if ours['again_s'] is None else f', {ours["again_s"]:.1f} s'
            row += [f'{100 * ours["waiting"]:.1f} %', f'{ours["first_step_s"]:.1f} s{again}']
        table.add_row(*row)
    return table


def _hardware() -> dict[str, Any]:
    """Return the machine and the versions that figures hold for."""
    import mmengine
    import mmpretrain
    import torch
    import torchvision

    from flowercls.core.workers import usable_cpus

    cpu_info = Path('/proc/cpuinfo')
    lines = cpu_info.read_text(encoding='utf-8').splitlines() if cpu_info.is_file() else []
    cpu_names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    machine = {'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None}
    machine |= {'cpu': next(cpu_names, platform.processor()), 'cores': usable_cpus()}
    versions = {library.__name__: library.__version__ for library in (torch, torchvision, mmengine, mmpretrain)}
    return {**machine, 'python': platform.python_version(), **versions}
